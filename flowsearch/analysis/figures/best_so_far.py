"""The study's objective, configuration by configuration, and the best so far."""

import math

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.marks import band, points
from flowsearch.analysis.selection import groups
from flowsearch.analysis.wording import label
from flowsearch.results import Results
from flowsearch.results.configurations import configurations, objectives, within_limits
from flowsearch.results.forms import hovered
from flowsearch.statistics import student_interval

CAPTION = (
    "Each point is a completed configuration that keeps to the study's limits, in the order in which they ended; the "
    "line is the best until then. Where configurations were repeated with other seeds, points are means over the "
    "repeats, bars and band their 95% intervals by Student's t."
)


def data(results: Results, task: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """Completed configurations that keep to the study's limits, in order of their end.

    `number` from 1; `value`, the mean over `repeats`, with its interval `low` to `high` (missing for a single one);
    `best`, `best_low`, `best_high` so far; `trial_id` of the first repeat. `metric`: default the first objective.
    """
    first = next(iter(objectives(results)))
    metric = metric or first
    more = objectives(results).get(metric, True)
    trials = configurations(results, task)
    if metric not in trials:
        trials = trials.assign(**{metric: float("nan")})
    trials = trials[within_limits(results, trials)].dropna(subset=[metric])
    trials = trials.sort_values(["ended", "trial_id"], kind="stable").reset_index(drop=True)
    value = trials[metric].astype(float)
    frame = trials[["trial_id", "label", "task", "repeats"]].assign(group=groups(trials), metric=metric, value=value)
    frame["number"] = range(1, len(frame) + 1)
    frame["low"], frame["high"] = _intervals(results, trials, metric)
    frame["best"] = value.cummax() if more else value.cummin()
    leader = frame.index.to_series().where(value == frame["best"]).ffill()
    for end in ("low", "high"):
        frame[f"best_{end}"] = frame[end].reindex(leader).to_numpy(dtype=float)
    return frame


def draw(frame: pd.DataFrame) -> go.Figure:
    """Points by method under the line of the best so far."""
    metric = str(frame["metric"].iloc[0]) if len(frame) else "val_psnr"
    repeated = bool(len(frame)) and frame["repeats"].max() > 1
    figure = theme.figure("completed configurations" if repeated else "completed trials", label(metric))
    figure.update_xaxes(rangemode="tozero", dtick=1 if len(frame) <= 12 else None)
    if repeated:
        known = frame.dropna(subset=["best_low", "best_high"])
        figure.add_traces(band(known["number"], known["best_low"], known["best_high"], shape="hv"))
    figure.add_scatter(
        x=frame["number"], y=frame["best"], mode="lines", line={"shape": "hv", "width": 2}, name="best so far"
    )
    hover = f"trial %{{customdata}}<br>{hovered(metric, 'y')}"
    figure.add_traces(list(points(frame, x="number", y="value", hover=hover, interval=repeated)))
    return figure


def _intervals(results: Results, trials: pd.DataFrame, metric: str) -> tuple[list[float], list[float]]:
    """The ends of each configuration's interval over its repeats; missing for a single one."""
    known = results.completed.set_index("trial_id")[metric] if metric in results.completed else None
    ends = []
    for ids in trials["trials"]:
        values = [] if known is None or len(ids) < 2 else known[list(ids)].dropna().astype(float).tolist()
        interval = student_interval(values) if len(values) > 1 else None
        ends.append((math.nan, math.nan) if interval is None else (interval.low, interval.high))
    return [low for low, _ in ends], [high for _, high in ends]
