"""Pictures in rows and columns, as an HTML table that holds them: each with what stands under it."""

import base64
from html import escape
from typing import NamedTuple

import pandas as pd

from flowsearch.analysis.selection import best_trials
from flowsearch.results import Results
from flowsearch.results.forms import missing

_MANY = 6
"""Columns, from which on pictures are smaller."""


class Picture(NamedTuple):
    """A cell: PNG bytes, what is said under it, and what it shows for those who cannot see it. `strong`: in bold."""

    png: bytes
    under: str = ""
    about: str = ""
    strong: bool = False


class Head(NamedTuple):
    """What stands over a column, and a smaller line below it."""

    title: str
    note: str = ""


def table(
    heads: list[Head], rows: list[list[Picture | None]], sides: list[Head] | None = None, *, small: bool = False
) -> str:
    """The grid; `sides` stand before its rows. A missing picture leaves its cell empty. Empty without rows.

    Many pictures in a row are smaller, and all of them where `small`.
    """
    if not rows:
        return ""
    over = "".join(f'<th scope="col">{_head(head)}</th>' for head in heads)
    over = f"<thead><tr>{'<td></td>' if sides else ''}{over}</tr></thead>" if heads else ""
    body = []
    for place, row in enumerate(rows):
        side = f'<th scope="row">{_head(sides[place])}</th>' if sides else ""
        body.append(f"<tr>{side}{''.join(map(_cell, row))}</tr>")
    many = " many" if small or max(map(len, rows)) > _MANY else ""
    return f'<div class="scroll"><table class="panels{many}">{over}<tbody>{"".join(body)}</tbody></table></div>'


def within(frame: pd.DataFrame, row: str, most: int, limit: int) -> pd.DataFrame:
    """The rows of the grid whose pictures fit `limit` bytes, in order: at most `most`, always one."""
    sizes = frame.groupby(row, sort=False)["png"].agg(lambda pngs: sum(map(len, pngs))).cumsum()
    kept = sizes.index[: max(1, min(most, int((sizes <= limit).sum())))]
    return frame[frame[row].isin(kept)].reset_index(drop=True)


def pictures(results: Results, trial_ids: pd.Series) -> pd.DataFrame:
    """The pictures that were kept of these trials or priors."""
    wanted = {str(trial_id) for trial_id in trial_ids}
    # What the other grids show is read along with it, in one go.
    results.pictures(wanted | best_trials(results) | set(results.trials["prior"].dropna()))
    return results.pictures(wanted)


def _head(head: Head) -> str:
    return f"{escape(head.title)}<small>{escape(head.note) or '&nbsp;'}</small>"


def _cell(picture: Picture | None) -> str:
    if picture is None or missing(picture.png):
        return "<td></td>"
    source = base64.b64encode(picture.png).decode("ascii")
    under = f"<b>{escape(picture.under)}</b>" if picture.strong else escape(picture.under)
    under = f"<span>{under}</span>" if under else ""
    about = escape(picture.about, quote=True)
    return f'<td><img alt="{about}" src="data:image/png;base64,{source}">{under}</td>'
