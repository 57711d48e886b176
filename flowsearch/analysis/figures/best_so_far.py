"""The study's objective, trial by trial, and the best so far."""

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.marks import points
from flowsearch.analysis.selection import groups
from flowsearch.analysis.wording import label
from flowsearch.results import Results

CAPTION = "Each point is a completed trial, in the order in which they ended; the line is the best until then."


def data(results: Results) -> pd.DataFrame:
    """Completed trials in order of their end: `number` from 1, `value`, `best` so far, and what names the trial."""
    metric, more = results.objective
    trials = results.ranked().sort_values(["ended", "trial_id"], kind="stable").reset_index(drop=True)
    if metric not in trials:
        trials[metric] = pd.Series(dtype=float)
    value = trials[metric].astype(float)
    frame = trials[["trial_id", "label", "task"]].assign(group=groups(trials), metric=metric, value=value)
    frame["number"] = range(1, len(frame) + 1)
    frame["best"] = value.cummax() if more else value.cummin()
    return frame


def draw(frame: pd.DataFrame) -> go.Figure:
    """Points by method under the line of the best so far."""
    metric = str(frame["metric"].iloc[0]) if len(frame) else "val_psnr"
    figure = theme.figure("completed trials", label(metric), xaxis_rangemode="tozero")
    figure.update_xaxes(dtick=1 if len(frame) <= 12 else None)
    figure.add_scatter(
        x=frame["number"], y=frame["best"], mode="lines", line={"shape": "hv", "width": 2}, name="best so far"
    )
    for trace in points(frame, x="number", y="value", hover="trial %{customdata}<br>%{y:.2f}"):
        figure.add_trace(trace)
    return figure
