"""How much each searched name has to do with reaching a good objective."""

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.marks import bars, light, markup
from flowsearch.analysis.importance import ALL, importance
from flowsearch.analysis.wording import left_out
from flowsearch.results import Results

_CAPTION = (
    "What it takes to be among the best fifth of the completed configurations, by PED-ANOVA: the share that each "
    "searched name has. A whisker is how much it varies with which configurations there are, ± 1.96 standard "
    "deviations over halves of them; few of them draw all shares towards each other, which no whisker shows. A name "
    "that only some configurations have, or that was searched for some only, is judged among those, and shares are of "
    "one within such a group only. A hatched bar is no longer than chance makes one in twenty times."
)
_BAR = 26
"""Pixels of a name."""


def caption(results: Results) -> str:
    """How to read the figure, and what it leaves out."""
    lost = left_out(results)
    return _CAPTION + (f" {lost}: a name that decides this looks less important than it is." if lost else "")


def data(results: Results, task: str | None = None) -> pd.DataFrame:
    """The rows of `flowsearch.analysis.importance` that have a number: by `scope` each `name` with its `share`, `low`
    to `high`, whether it is `above_chance`, and the `n` configurations that say so; the most important first."""
    frame = importance(results, task=task).dropna(subset=["name", "share"])
    return frame.reset_index(drop=True)


def draw(frame: pd.DataFrame) -> go.Figure:
    """Bars, those of a scope together."""
    height = 110 + _BAR * (len(frame) + frame["scope"].nunique())
    figure = theme.figure("share", "searched name", height=height)
    known = theme.styles(frame["scope"])
    for scope, rows in frame.groupby("scope", sort=False):
        among = "all configurations" if scope == ALL else str(scope)
        pattern = ["" if above else "/" for above in rows["above_chance"].fillna(False)]
        color = known[str(scope)].color
        figure.add_bar(
            y=[[markup(f"{among}, n = {rows['n'].iloc[0]}")] * len(rows), rows["name"].map(markup).tolist()],
            x=light(rows["share"]),
            orientation="h",
            error_x=bars(rows, "share"),
            marker={"color": color, "pattern": {"shape": pattern, "fillmode": "replace"}},
            customdata=rows["n"].tolist(),
            hovertemplate="%{y}<br>%{x:.2f}, over %{customdata} configurations<extra></extra>",
            showlegend=False,
        )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(rangemode="tozero", showgrid=True)
    return figure
