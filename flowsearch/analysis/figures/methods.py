"""PSNR of every completed trial by method, on the test images and out of distribution."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.marks import by_group
from flowsearch.analysis.selection import best_of_tasks, groups
from flowsearch.analysis.wording import label
from flowsearch.results import Results

CAPTION = (
    "Each point is a completed trial; the ring marks the best of its kind by the study's objective. First the test "
    "images of the training distribution, then those out of distribution."
)
_SPREAD = 0.28


def data(results: Results, split: str = "test") -> pd.DataFrame:
    """Completed trials with their PSNR on `split` (test or ood), and which is the `best` of its group."""
    trials = results.completed.dropna(subset=[f"{split}_psnr"])
    frame = trials[["trial_id", "label", "task"]].assign(group=groups(trials), psnr=trials[f"{split}_psnr"])
    frame["best"] = frame["trial_id"].isin(best_of_tasks(results))
    return frame.reset_index(drop=True)


def draw(frame: pd.DataFrame, split: str = "test") -> go.Figure:
    """A strip of points per group, spread sideways so that none hides another."""
    figure = theme.figure("method", label(f"{split}_psnr"), showlegend=False)
    names = []
    for place, (name, style, rows) in enumerate(by_group(frame)):
        names.append(name)
        spread = np.linspace(-_SPREAD, _SPREAD, len(rows)) if len(rows) > 1 else np.zeros(1)
        for ring in (False, True):
            part = rows[rows["best"]] if ring else rows
            figure.add_scatter(
                x=place + spread[rows["best"].to_numpy(dtype=bool)] if ring else place + spread,
                y=part["psnr"],
                customdata=part["trial_id"].map(str),
                mode="markers",
                marker={"size": 15, "symbol": "circle-open", "line": {"width": 2}}
                if ring
                else {"size": 9, "symbol": style.symbol, "color": style.color, "opacity": 0.85},
                name=name,
                hovertemplate=f"{name}, trial %{{customdata}}<br>%{{y:.2f}} dB<extra></extra>",
                hoverinfo="skip" if ring else None,
            )
    figure.update_xaxes(
        tickmode="array", tickvals=list(range(len(names))), ticktext=names, range=[-0.6, max(len(names), 1) - 0.4]
    )
    return figure
