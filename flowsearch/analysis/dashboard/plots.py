"""The figures that the pages show, by name: those of the registry, and those of one trial or of a few."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.dashboard import trial_figures
from flowsearch.analysis.dashboard.watch import Watched
from flowsearch.analysis.figures import PROGRESS, SECTIONS, Plot, Section

_OF_TRIALS = {"trial": trial_figures.TRIAL, "compare": trial_figures.COMPARE}


@dataclass(frozen=True)
class Drawn:
    """A figure as JSON without its template, which the page has; None where there is nothing to show."""

    figure: dict[str, Any] | None
    digest: str


def sections() -> tuple[Section, ...]:
    """The registry's sections in the order of the page."""
    return (PROGRESS, *SECTIONS)


@lru_cache(maxsize=1)
def registry() -> dict[str, Plot]:
    """The registry's plots by name."""
    return {plot.name: plot for section in sections() for plot in section.plots}


def draw(watched: Watched, name: str, trials: Sequence[str], shown: Sequence[str] | None) -> Drawn:
    """The plot `name`: a name of the registry, of the trials `shown` (all with None); or `trial/...` and `compare/...`,
    of the `trials` of the page. Raises `KeyError` where there is no such plot."""
    where, _, what = name.partition("/")
    if not what:
        plot = registry()[name]
        return _drawn(lambda: plot.data(watched.view(shown)), plot.draw)
    make = _OF_TRIALS[where][what]
    return _drawn(lambda: make.data(watched, tuple(trials)), make.draw)


def height(name: str) -> int:
    """The place that the plot takes before it is drawn, in pixels."""
    where, _, what = name.partition("/")
    return _OF_TRIALS[where][what].height if what else theme.HEIGHT


def _drawn(data: Callable[[], pd.DataFrame], draw_it: Callable[[pd.DataFrame], go.Figure]) -> Drawn:
    frame = data()
    if frame.empty:
        return Drawn(None, "empty")
    figure = draw_it(frame)
    figure.layout.template = None
    text = figure.to_json()
    made = json.loads(text)
    made.setdefault("layout", {})
    if any(_stands_for_trials(trace) for trace in made.get("data", ())):
        made["layout"].setdefault("dragmode", "select")
    return Drawn(made, hashlib.blake2b(text.encode(), digest_size=8).hexdigest())


def _stands_for_trials(trace: dict[str, Any]) -> bool:
    """Whether a box drawn over the trace selects trials."""
    return trace.get("type", "scatter") == "scatter" and "markers" in str(trace.get("mode")) and "customdata" in trace
