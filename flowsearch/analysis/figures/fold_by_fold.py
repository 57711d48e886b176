"""What the best trials learned for each fold: step size, shrinkage, and the PSNR that the fold reaches."""

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.marks import by_group, light, trial_ids
from flowsearch.analysis.selection import groups
from flowsearch.analysis.wording import label
from flowsearch.results import Results, schema
from flowsearch.results.configurations import best_of_each

CAPTION = (
    "Step size mu, lambda where the map has one, and validation PSNR after each fold, at the best epoch of the best "
    "trial of each unrolled network."
)
QUANTITIES = ("mu", "lambda", "psnr")


def data(results: Results, quantity: str = "psnr", task: str | None = None) -> pd.DataFrame:
    """A row per fold of each unrolled network's best trial at its best epoch: `fold` from 1 and `quantity`."""
    chosen = results.tasks if task is None else [task]
    best = pd.concat([best_of_each(results, "label", one) for one in chosen] or [results.completed])
    best = best.assign(group=groups(best))[["trial_id", "label", "task", "group"]]
    # The trial's own: a configuration's is the mean over its repeats.
    best = best.merge(results.trials[["trial_id", "best_epoch"]], on="trial_id")
    rows = results.folds[["trial_id", "epoch", "fold", quantity]].merge(best, on="trial_id")
    last = rows.groupby("trial_id")["epoch"].transform("max")
    rows = rows[rows["epoch"] == rows["best_epoch"].fillna(last)]
    return rows.dropna(subset=[quantity]).sort_values(["trial_id", "fold"], ignore_index=True)


def draw(frame: pd.DataFrame, quantity: str = "psnr") -> go.Figure:
    """A line over the folds for each unrolled network."""
    figure = theme.figure("fold", label(quantity, schema.FOLDS), height=320)
    figure.update_xaxes(dtick=1 if len(frame) and frame["fold"].max() <= 12 else None)
    for name, style, rows in by_group(frame):
        figure.add_scatter(
            x=light(rows["fold"]),
            y=light(rows[quantity]),
            customdata=trial_ids(rows),
            mode="lines+markers",
            line={"color": style.color, "width": 2},
            marker={"symbol": style.symbol, "size": 8},
            name=name,
            showlegend=True,
            hovertemplate=f"{name}, trial %{{customdata}}<br>fold %{{x}}: %{{y:.4g}}<extra></extra>",
        )
    return figure
