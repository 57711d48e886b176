"""Marks that several figures share."""

from collections.abc import Iterator
from html import escape

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.theme import Style


def by_group(frame: pd.DataFrame) -> Iterator[tuple[str, Style, pd.DataFrame]]:
    """Name (escaped: Plotly reads markup), style and rows of each of the frame's `group`s, in order of their names."""
    known = theme.styles(frame["label"])
    for name, rows in frame.groupby("group", sort=True):
        yield escape(str(name)), known[str(rows["label"].iloc[0])], rows


def points(frame: pd.DataFrame, *, x: str, y: str, hover: str) -> Iterator[go.Scatter]:
    """Markers, a trace a group; `hover` may show `%{customdata}`, the trial."""
    for name, style, rows in by_group(frame):
        yield go.Scatter(
            x=rows[x],
            y=rows[y],
            customdata=rows["trial_id"].map(escape),
            mode="markers",
            marker={"color": style.color, "symbol": style.symbol, "size": 9, "opacity": 0.85},
            name=name,
            hovertemplate=f"{name}<br>{hover}<extra></extra>",
        )
