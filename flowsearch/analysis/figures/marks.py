"""Marks that several figures share. What stands for a trial carries its id as `customdata`."""

from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.theme import Style


def markup(text: object) -> str:
    """Text so that Plotly, which reads markup, shows it as it is. Plotly knows no `&quot;`, and quotes mean nothing."""
    return escape(str(text), quote=False)


def by_group(frame: pd.DataFrame) -> Iterator[tuple[str, Style, pd.DataFrame]]:
    """Name (as `markup`), style and rows of each of the frame's `group`s, in order of their names."""
    known = theme.styles(frame["label"])
    for name, rows in frame.groupby("group", sort=True):
        yield markup(name), known[str(rows["label"].iloc[0])], rows


def points(
    frame: pd.DataFrame, *, x: str, y: str, hover: str, text: str | None = None, interval: bool = False
) -> Iterator[go.Scatter]:
    """Markers, a trace a group; `hover` may show `%{customdata}`, the trial, and `%{text}`, the column of that name.
    With `interval` bars from the column `low` to `high`."""
    crowded = len(frame) > 150
    for name, style, rows in by_group(frame):
        yield go.Scatter(
            x=light(rows[x]),
            y=light(rows[y]),
            customdata=trial_ids(rows),
            text=None if text is None else rows[text].map(markup).tolist(),
            mode="markers",
            marker={
                "color": style.color,
                "symbol": style.symbol,
                "size": 6 if crowded else 9,
                "opacity": 0.6 if crowded else 0.85,
            },
            error_y=bars(rows, y, style.color) if interval else None,
            name=name,
            legendgroup=name,
            hovertemplate=f"{name}<br>{hover}<extra></extra>",
        )


def trial_ids(rows: pd.DataFrame) -> list[str]:
    """The rows' trials, as traces carry them."""
    return rows["trial_id"].map(markup).tolist()


def bars(rows: pd.DataFrame, y: str, color: str | None = None) -> dict[str, Any]:
    """Error bars from `low` to `high`; none where there is no interval: a bar without length would look certain."""
    value = rows[y].astype(float)
    look: dict[str, Any] = {"thickness": 1.25, "width": 3} | ({"color": color} if color else {})
    up, down = rows["high"] - value, value - rows["low"]
    return {"type": "data", "symmetric": False, "array": light(up), "arrayminus": light(down)} | look


def band(
    x: pd.Series, low: pd.Series, high: pd.Series, *, color: str = "#7f7f7f", shape: str = "linear", name: str = ""
) -> list[go.Scatter]:
    """The area between `low` and `high`, as two traces without a mark of their own."""
    common: dict[str, Any] = {"mode": "lines", "hoverinfo": "skip", "showlegend": False, "legendgroup": name or None}
    line = {"width": 0, "shape": shape, "color": color}
    return [
        go.Scatter(x=light(x), y=light(low), line=line, name=name, **common),
        go.Scatter(
            x=light(x), y=light(high), line=line, fill="tonexty", fillcolor=faded(color, 0.18), name=name, **common
        ),
    ]


def faded(color: str, opacity: float) -> str:
    """A hexadecimal colour with an opacity."""
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def light(values: pd.Series) -> npt.NDArray[np.float32 | np.int32]:
    """Values as a page carries them: in half the bytes, whole ones as they are, others to seven digits."""
    known = values.to_numpy(dtype=np.float64, na_value=np.nan)
    whole = bool((known % 1 == 0).all() and (np.abs(known) < 2**31).all())
    return known.astype(np.int32 if whole else np.float32)
