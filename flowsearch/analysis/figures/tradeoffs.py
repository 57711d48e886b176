"""Two metrics against each other, and the configurations that none beats in both: the Pareto front."""

import textwrap

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.marks import light, markup, points, trial_ids
from flowsearch.analysis.selection import groups
from flowsearch.analysis.wording import described, label
from flowsearch.results import Results, schema
from flowsearch.results.configurations import configurations, front, objectives, within_limits
from flowsearch.results.forms import decibels, hovered

FRONT_CAPTION = (
    "Each point is a completed configuration that keeps to the study's limits, a mean over its repeats where it has "
    "any. The line joins the Pareto front: the configurations that no other equals or beats in both. Methods without "
    "parameters have no place on the axis of these. Point at one to see what it is."
)
CAPTION = (
    "What quality costs: each point is a completed configuration that keeps to the study's limits, and the line joins "
    "those that no other equals or beats in both. Methods without parameters have no place on the axis of these. The "
    "validation images decide, so that the test images stay out of every choice."
)
_LOG_FROM = 30
"""Costs that differ by this factor are drawn on a logarithmic axis."""
_MEGABYTE = 1e6


def data(results: Results, x: str, y: str, task: str | None = None) -> pd.DataFrame:
    """Completed configurations with metrics `x` and `y`, whether each is on the `front`, and its `text`.

    Which way is better is what the study says of its objectives, and what the schema says of other metrics.
    """
    if x not in results.trials or y not in results.trials:
        return pd.DataFrame(columns=["trial_id", "label", "group", "x", "y", "front", "text"])
    trials = configurations(results, task).dropna(subset=[x, y])
    trials = trials[within_limits(results, trials)]
    frame = trials[["trial_id", "label", "task", "repeats", "test_psnr"]].assign(group=groups(trials))
    frame["x"], frame["y"] = trials[x].astype(float), trials[y].astype(float)
    known = objectives(results)
    better = {end: known.get(name, name not in schema.MINIMIZED) for end, name in (("x", x), ("y", y))}
    frame["front"] = front(frame, better)
    # Only what is on the front says all that it is: a page of a thousand trials stays small.
    frame["text"] = [
        described(trial) if on else "" for on, (_, trial) in zip(frame["front"], trials.iterrows(), strict=True)
    ]
    if x in schema.MINIMIZED:
        frame = frame[frame["x"] > 0]  # 0 parameters have no place on a logarithmic axis; they may beat others
    return frame.reset_index(drop=True)


def draw(frame: pd.DataFrame, x: str, y: str) -> go.Figure:
    """Points by method, and a line over the front."""
    frame = frame.assign(x=frame["x"] / _scale(x), y=frame["y"] / _scale(y))
    figure = theme.figure(_title(x), _title(y))
    for axis, name in (("x", x), ("y", y)):
        if name in schema.MINIMIZED and len(frame) and frame[axis].max() > _LOG_FROM * frame[axis].min() > 0:
            figure.update_layout({f"{axis}axis": {"type": "log", "dtick": 1, "minor": {"ticks": "outside"}}})
    best = frame[frame["front"]].sort_values("x")
    if len(best):
        figure.add_scatter(
            x=light(best["x"]), y=light(best["y"]), mode="lines", line={"width": 1.5}, name="front", hoverinfo="skip"
        )
    hover = "trial %{customdata}<br>" + "<br>".join(
        f"{_title(name)}: {hovered(name, axis, unit=False)}" for axis, name in (("x", x), ("y", y))
    )
    figure.add_traces(list(points(frame, x="x", y="y", hover=hover)))
    if len(best):
        test = ["" if np.isnan(value) else f"<br>test PSNR {decibels(value)} dB" for value in best["test_psnr"]]
        figure.add_scatter(
            x=light(best["x"]),
            y=light(best["y"]),
            customdata=trial_ids(best),
            text=[f"{text}{more}" for text, more in zip(best["text"].map(_broken), test, strict=True)],
            mode="markers",
            marker={"size": 14, "symbol": "circle-open", "line": {"width": 1.75}},
            name="front",
            showlegend=False,
            hovertemplate=f"%{{text}}<br>{hover}<extra></extra>",
        )
    return figure


def _scale(name: str) -> float:
    return _MEGABYTE if name.endswith("_bytes") else 1.0


def _title(name: str) -> str:
    return label(name).replace("(bytes)", "(MB)")


def _broken(text: str, most: int = 48) -> str:
    """Plain text as a hover's lines."""
    return "<br>".join(markup(line) for line in textwrap.wrap(text, most))
