"""How much each searched name has to do with the objective, as a share of what can be told."""

from html import escape
from importlib.util import find_spec

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.marks import bars, light
from flowsearch.results import Results

CAPTION = (
    "How much of the objective's differences between completed trials goes with each searched name, with 95% "
    "intervals where there are trials enough. A name that applies to some trials only is judged among those, as is "
    "written beside it."
)
_COLUMNS = ["name", "importance", "low", "high", "trials", "method", "scope"]
_BAR = 30
"""Pixels of a name."""


def data(results: Results) -> pd.DataFrame:
    """A row per searched name: `importance` from 0 to 1 with its interval `low` to `high`, over `trials` trials of the
    `scope` that the name applies to, by `method`; the most important first."""
    if find_spec("flowsearch.analysis.importance") is None:
        return pd.DataFrame(columns=_COLUMNS)
    from flowsearch.analysis.importance import importance

    frame = importance(results)
    return frame.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def draw(frame: pd.DataFrame) -> go.Figure:
    """Bars, the most important name on top."""
    method = f" ({frame['method'].iloc[0]})" if len(frame) else ""
    figure = theme.figure(f"importance, a share of 1{escape(method)}", "searched name", height=110 + _BAR * len(frame))
    scope = [f", {text}" if text and text != "all" else "" for text in frame["scope"].fillna("").astype(str)]
    names = [escape(name + among) for name, among in zip(frame["name"].astype(str), scope, strict=True)]
    error = bars(frame, "importance")
    figure.add_bar(
        y=names,
        x=light(frame["importance"]),
        orientation="h",
        error_x=error,
        customdata=frame["trials"].tolist(),
        marker={"color": "#2f86c5"},
        hovertemplate="%{y}<br>%{x:.2f}, over %{customdata} trials<extra></extra>",
        showlegend=False,
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(rangemode="tozero", showgrid=True)
    return figure
