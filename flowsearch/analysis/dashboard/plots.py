"""The figures that the pages show, by name: those of the registry, and those of one trial or of a few."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.dashboard import trial_figures
from flowsearch.analysis.dashboard.watch import Watched
from flowsearch.analysis.figures import GRIDS, SECTIONS, Grid, Plot, spoken
from flowsearch.results import Results

_OF_TRIALS = {"trial": trial_figures.TRIAL, "compare": trial_figures.COMPARE}


@dataclass(frozen=True)
class Shown:
    """A section of the page: its heading, how to read it, and its figures or grids of pictures."""

    title: str
    anchor: str
    caption: Callable[[Results], str]
    pieces: tuple[Plot | Grid, ...]


@dataclass(frozen=True)
class Drawn:
    """A figure as JSON without its template, which the page has, or a grid as HTML; neither where there is nothing to
    show."""

    digest: str
    figure: dict[str, Any] | None = None
    html: str = ""
    spoken: str = ""
    """What somebody hears of the figure who does not see it."""


def sections(results: Results) -> Iterator[Shown]:
    """The registry's sections, in their order; without figures where the study has none of that kind by now."""
    for one in SECTIONS:
        yield Shown(one.title, one.anchor, one.said, tuple(one.plots(results)))
    for grid in GRIDS:
        yield Shown(grid.title, grid.anchor, grid.said, tuple(grid.grids(results)))


_OF_VIEW: WeakKeyDictionary[Results, tuple[Shown, ...]] = WeakKeyDictionary()


def known(view: Results) -> tuple[Shown, ...]:
    """All of `sections`; told once for each view, since an open page asks for them with every figure."""
    if view not in _OF_VIEW:
        _OF_VIEW[view] = tuple(sections(view))
    return _OF_VIEW[view]


def draw(watched: Watched, name: str, trials: Sequence[str], shown: Sequence[str] | None) -> Drawn | None:
    """What is called `name`: in the registry, of the trials `shown` (all with None); or `trial/...` and `compare/...`,
    of the `trials` of the page. None where the study no longer has it: which figures there are depends on its trials,
    and its section of an open page is about to be made again."""
    where, _, what = name.partition("/")
    if what:
        make = _OF_TRIALS[where][what]
        return _figure(make.data(watched, tuple(trials)), make.draw, make.title)
    pieces = {one.name: (section.title, one) for section in known(watched.view()) for one in section.pieces}
    if name not in pieces:
        return None
    title, piece = pieces[name]
    frame = piece.data(watched.view(shown))
    if isinstance(piece, Plot):
        return _figure(frame, piece.draw, title, piece.task)
    made = piece.draw(frame) if len(frame) else ""
    return Drawn(digest(made), html=made)


def height(name: str) -> int:
    """The room that a figure takes before it is drawn, in pixels."""
    where, _, what = name.partition("/")
    return _OF_TRIALS[where][what].height if what else theme.HEIGHT


def _figure(
    frame: pd.DataFrame, draw_it: Callable[[pd.DataFrame], go.Figure], title: str, task: str | None = None
) -> Drawn:
    if frame.empty:
        return Drawn("empty")
    figure = draw_it(frame)
    figure.layout.template = None
    text = figure.to_json()
    made = json.loads(text)
    if any(_stands_for_trials(trace) for trace in made["data"]):
        made["layout"].setdefault("dragmode", "select")
    return Drawn(digest(text), made, spoken=spoken(title, task, figure))


def _stands_for_trials(trace: dict[str, Any]) -> bool:
    """Whether a box drawn over the trace selects trials."""
    return trace.get("type", "scatter") == "scatter" and "markers" in str(trace.get("mode")) and "customdata" in trace


def digest(text: str) -> str:
    """A short name of a text: the same text has the same one."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
