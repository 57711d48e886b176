"""What each value of a searched name does to the PSNR, beside a reference: differences with their intervals."""

from collections.abc import Hashable
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.axes import searched
from flowsearch.analysis.figures.marks import bars, light, markup
from flowsearch.analysis.statistics import effect
from flowsearch.analysis.wording import label, left_out
from flowsearch.results import Results
from flowsearch.results.forms import number

_CAPTION = (
    "How much each value of a name adds to the test PSNR beside its reference, an ablation's baseline or else the "
    "first value, with 95% intervals. Filled marks compare configurations that differ in nothing else. Hollow ones are "
    "differences of means within each method and proximal map: other settings differ too, and the search chose them."
)
_MOST_VALUES = 6
"""A name with more values than this is told by its slice."""
_ROW = 26
"""Pixels of a value."""


def caption(results: Results) -> str:
    """How to read the figure, and what it leaves out."""
    lost = left_out(results)
    return _CAPTION + (f" {lost}: a gain is one where nothing like that happens." if lost else "")


def data(results: Results, metric: str = "test_psnr", task: str | None = None) -> pd.DataFrame:
    """The rows of `effect` of every searched name with few values, the reference's left out: `factor`, `value`,
    `reference`, `difference` from `low` to `high`, whether it is `matched`, and over how many `n`."""
    found = []
    for axis in searched(results, task):
        if results.completed[axis.name].nunique() <= _MOST_VALUES:
            table = effect(results, axis.name, metric, task)
            found.append(table[table["value"] != table["reference"]])
    if not found:
        return pd.DataFrame(columns=_COLUMNS)
    frame = pd.concat(found, ignore_index=True)
    frame = frame.dropna(subset=["difference"]).assign(metric=metric)
    frame = frame.assign(low=frame["difference_low"], high=frame["difference_high"])
    frame["n"] = frame["pairs"].where(frame["matched"].astype(bool), frame["n"])
    return frame[_COLUMNS].reset_index(drop=True)


def draw(frame: pd.DataFrame) -> go.Figure:
    """A row per value, those of a name together, about the line of no difference."""
    metric = str(frame["metric"].iloc[0]) if len(frame) else "test_psnr"
    height = 100 + _ROW * (len(frame) + frame["factor"].nunique())
    figure = theme.figure(f"difference in {label(metric)}", "name, value", height=height)
    for matched in (True, False):
        rows = frame[frame["matched"].astype(bool) == matched]
        if rows.empty:
            continue
        against = [f"{number(row.value)} – {number(row.reference)}" for row in rows.itertuples()]
        figure.add_scatter(
            y=[rows["factor"].map(markup).tolist(), list(map(markup, against))],
            x=light(rows["difference"]),
            mode="markers",
            error_x=bars(rows, "difference"),
            marker={"size": 9, "symbol": "circle" if matched else "circle-open", "line": {"width": 1.5}},
            name="matched" if matched else "means",
            showlegend=True,
            text=[_told(row, matched) for row in rows.to_dict("records")],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.add_vline(x=0, line={"width": 1, "dash": "dot"})
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=True)
    return figure


_COLUMNS = ["task", "factor", "value", "reference", "difference", "low", "high", "matched", "n", "over", "metric"]


def _told(row: dict[Hashable, Any], matched: bool) -> str:
    kind = "pair" if matched else "configuration"
    many = "" if row["n"] == 1 else "s"
    ends = "no interval" if pd.isna(row["low"]) else f"95% interval {row['low']:+.2f} to {row['high']:+.2f}"
    text = f"{row['factor']}: {number(row['value'])} against {number(row['reference'])}"
    return f"{markup(text)}<br>{row['difference']:+.2f} ({ends})<br>{row['n']} {kind}{many}"
