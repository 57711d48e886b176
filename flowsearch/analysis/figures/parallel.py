"""Parallel coordinates: every completed trial as a line over all searched names to the objectives."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.axes import ABSENT, Axis, metric_axis, searched
from flowsearch.analysis.figures.marks import by_group, trial_ids
from flowsearch.analysis.selection import groups, of_task
from flowsearch.results import Results, schema
from flowsearch.results.configurations import objectives

CAPTION = (
    "A line is a completed trial: its value of each searched name, then its objectives. Drag a box over a piece of an "
    "axis to see only the lines that pass there, with Shift over another axis too; a double click lets go. Where a "
    "name does not apply to a trial, its line runs through “absent”, below the axis. Lines through one choice are "
    "spread."
)
Array = npt.NDArray[np.float32]
_WIDTH = 105
"""Pixels that an axis wants."""
_TRACES = 50
_ABSENT_AT = -0.16
_SPREAD = 0.3
"""Half the room of a choice that its lines take; also that of `absent`, where a choice has a tenth of the axis."""


def axes(results: Results, task: str | None = None) -> tuple[Axis, ...]:
    """The searched names, then the objectives that trials have."""
    known, trials = {one.name for one in schema.METRIC_COLUMNS}, of_task(results.completed, task)
    metrics = [name for name in objectives(results) if name in known and trials[name].notna().any()]
    return (*searched(results, task), *(metric_axis(name, trials[name]) for name in metrics))


def data(results: Results, shown: Sequence[Axis], task: str | None = None) -> pd.DataFrame:
    """A row per completed trial: its value of each axis' name, missing where the name does not apply to it.

    Empty where there are fewer than two axes.
    """
    trials = of_task(results.completed, task)
    if len(shown) < 2:
        trials = trials.iloc[:0]
    frame = trials[["trial_id", "label", "task"]].assign(group=groups(trials))
    return frame.assign(**{axis.name: trials[axis.name] for axis in shown}).reset_index(drop=True)


def heights(frame: pd.DataFrame, shown: Sequence[Axis]) -> pd.DataFrame:
    """How high each trial's line meets each axis: from 0 to 1, below 0 where the name does not apply."""
    return pd.DataFrame({axis.name: _heights(axis, frame[axis.name]) for axis in shown}, frame.index)


def draw(frame: pd.DataFrame, shown: Sequence[Axis], selected: Collection[str] | None = None) -> go.Figure:
    """Lines by method; those of trials that are not `selected` are faint. `meta` holds the least width, in pixels."""
    figure = theme.figure("", "", height=430, dragmode="select")
    figure.update_layout(meta={"min_width": _WIDTH * len(shown), "brushed": True})
    figure.update_layout(margin={"l": 24, "r": 24, "t": 84, "b": 12}, legend={"y": 1.14})
    figure.update_yaxes(visible=False, range=[_ABSENT_AT - 0.06, 1.04], fixedrange=True)
    figure.update_xaxes(
        side="top", showline=False, ticks="", range=[-0.25, len(shown) - 0.35], fixedrange=True, tickmode="array"
    )
    figure.update_xaxes(tickvals=list(range(len(shown))), ticktext=[axis.title for axis in shown])
    met = heights(frame, shown)
    faint = float(np.clip(40 / max(1, len(frame)), 0.12, 0.6))
    chosen = frame["trial_id"].isin(selected) if selected is not None else pd.Series(True, frame.index)
    # Lines of one trace cross without getting darker; so there are several, but not one for each trial.
    size = max(1, len(frame) // _TRACES)
    for name, style, rows in by_group(frame):
        for on in (False, True):
            part = rows[chosen[rows.index] == on]
            if part.empty:
                continue
            first = on or not chosen[rows.index].any()
            for place in range(0, len(part), size):
                x, y, trials = _lines(part.iloc[place : place + size], met)
                figure.add_scatter(
                    x=x,
                    y=y,
                    customdata=trials,
                    mode="lines+markers",
                    line={"color": style.color, "width": 1},
                    marker={"color": style.color, "symbol": style.symbol, "size": 4},
                    opacity=(min(1.0, 2 * faint) if selected is not None else faint) if on else 0.05,
                    name=name,
                    legendgroup=name,
                    showlegend=first and place == 0,
                    hovertemplate=f"{name}, trial %{{customdata}}<extra></extra>",
                )
    for place, axis in enumerate(shown):
        _draw_axis(figure, place, axis, frame[axis.name])
    return figure


def _lines(rows: pd.DataFrame, met: pd.DataFrame) -> tuple[Array, Array, list[str]]:
    """The rows' lines one after the other, with a gap after each."""
    across = met.shape[1]
    y = np.full((len(rows), across + 1), np.nan, dtype=np.float32)
    y[:, :across] = met.loc[rows.index]
    x = np.tile(np.arange(across + 1, dtype=np.float32), (len(rows), 1))
    trials = [trial_id for trial_id in trial_ids(rows) for _ in range(across + 1)]
    return x.ravel(), y.ravel(), trials


def _heights(axis: Axis, values: pd.Series) -> pd.Series:
    numbers = axis.numbers(values)
    # The place of each trial among those of its choice.
    turn = 2 * numbers.fillna(-1).groupby(numbers.fillna(-1)).rank(method="first", pct=True) - 1
    if axis.kind == "choice":
        met = (numbers + 0.5 + _SPREAD * turn) / len(axis.choices)
    else:
        low, high = _range(numbers)
        met = (numbers - low) / (high - low)
    return met.fillna(_ABSENT_AT + 0.1 * _SPREAD * turn)


def _range(numbers: pd.Series) -> tuple[float, float]:
    known = numbers.dropna()
    if known.empty:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _draw_axis(figure: go.Figure, place: int, axis: Axis, values: pd.Series) -> None:
    """A line, and what its heights mean."""
    numbers = axis.numbers(values)
    low, high = (0.0, 1.0) if axis.kind == "choice" else _range(numbers)
    figure.add_shape(type="line", x0=place, x1=place, y0=0, y1=1, line={"width": 1}, opacity=0.5, layer="below")
    ticks, texts = axis.ticks(numbers)
    marks = [
        ((tick + 0.5) / len(axis.choices) if axis.kind == "choice" else (tick - low) / (high - low), text)
        for tick, text in zip(ticks, texts, strict=True)
    ]
    if numbers.isna().any():
        marks.append((_ABSENT_AT, f"<i>{ABSENT}</i>"))
    for height, text in marks:
        figure.add_annotation(
            x=place,
            y=height,
            text=text,
            showarrow=False,
            xanchor="left",
            xshift=5,
            font={"size": 11},
            captureevents=False,
        )
