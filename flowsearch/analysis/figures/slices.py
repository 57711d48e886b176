"""The study's objective against one searched name, whatever the others were."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.axes import Axis
from flowsearch.analysis.figures.marks import points
from flowsearch.analysis.selection import groups, of_task
from flowsearch.analysis.wording import label
from flowsearch.results import Results
from flowsearch.results.configurations import objectives
from flowsearch.results.forms import hovered, number

CAPTION = (
    "The objective of each completed trial against each searched name, the other names being what they were in that "
    "trial. A name that applies to some trials only (a ResNet has no depth of a flow) shows those. Points of "
    "one choice, or of one of a few whole numbers, lie side by side."
)


def data(results: Results, axis: Axis, metric: str | None = None, task: str | None = None) -> pd.DataFrame:
    """A row per completed trial that has the axis' name and the metric: `setting`, where it lies (`x`) and `value`."""
    metric = metric or next(iter(objectives(results)))
    trials = of_task(results.completed, task)
    if metric not in trials:
        trials = trials.assign(**{metric: np.nan})
    trials = trials.dropna(subset=[metric, axis.name])
    frame = trials[["trial_id", "label", "task"]].assign(group=groups(trials), metric=metric)
    frame["setting"], frame["x"] = trials[axis.name].map(number), axis.numbers(trials[axis.name])
    frame["value"] = trials[metric].astype(float)
    return frame.sort_values("trial_id", ignore_index=True)


def draw(frame: pd.DataFrame, axis: Axis) -> go.Figure:
    """Points by method over the name's values."""
    metric = str(frame["metric"].iloc[0]) if len(frame) else "val_psnr"
    figure = theme.figure(axis.heading, label(metric), height=300)
    places, texts = axis.ticks(frame["x"])
    figure.update_xaxes(tickmode="array", tickvals=places, ticktext=texts)
    if axis.has_cells(frame["x"]) and places:
        figure.update_xaxes(range=[places[0] - 0.5, places[-1] + 0.5])
    frame = frame.assign(x=axis.spread(frame["x"]))
    hover = f"trial %{{customdata}}<br>{axis.name} %{{text}}<br>{hovered(metric, 'y')}"
    figure.add_traces(list(points(frame, x="x", y="value", hover=hover, text="setting")))
    return figure
