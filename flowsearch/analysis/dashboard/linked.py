"""The pages of the trials' table and of the figures, which select and filter each other."""

from collections.abc import Callable
from functools import partial

from dash import dcc, html
from dash.development.base_component import Component

from flowsearch.analysis.dashboard import bits, plots, table
from flowsearch.analysis.dashboard.address import Address
from flowsearch.analysis.dashboard.places import all_live, nowhere, plot
from flowsearch.analysis.dashboard.watch import Watched
from flowsearch.analysis.figures import Grid

_WIDE = ("parallel-coordinates",)
"""Sections whose only figure wants the whole width."""
_OPEN = 2
"""Tasks whose figures are open at first, in each section."""


def trials(watched: Watched, address: Address) -> Component:
    """The page of the table."""
    view = watched.view()
    if view.trials.empty:
        return nowhere("No trial has been recorded yet. They appear here by themselves.", reload=True)
    return html.Div([_selection(), table.grid(view, address), _hint()], className="page-trials")


def _hint() -> Component:
    text = (
        "Click a head to sort, with Ctrl by several; filters stand under the heads. Tick trials to compare them. "
        "Of running trials, val PSNR is that of the last epoch."
    )
    return bits.note(text)


class Figures:
    """The sections of the figures' page; each has its figures' places, and is made again where there are others."""

    def __init__(self, watched: Watched, address: Address) -> None:
        self.view, self.address = watched.view(), address
        self._known = plots.known(self.view)

    @property
    def sections(self) -> dict[str, Callable[[], bits.Children]]:
        """The sections by name, in order; the first one leads to the others."""
        made = {f"figures-{one.anchor}": partial(self._section, one) for one in self._known}
        return {"figures-jumps": self.jumps} | made

    def jumps(self) -> bits.Children:
        """Links to the sections that have figures."""
        links = [html.Li(html.A(one.title, href=f"#{one.anchor}")) for one in self._known if one.pieces]
        return bits.tagged(html.Nav(html.Ul(links), className="jumps"), aria_label="Figures")

    def _section(self, one: plots.Shown) -> bits.Children:
        """Figures under their heading; nothing where there are none."""
        if not one.pieces:
            return None
        wide = len(one.pieces) > 1 or one.anchor in _WIDE
        return bits.section(one.title, *_by_task(one), note=one.caption(self.view), anchor=one.anchor, wide=wide)


def figures(watched: Watched, address: Address) -> Component:
    """The page of all figures, with the table that they are linked with."""
    page = Figures(watched, address)
    if page.view.trials.empty:
        return nowhere("No trial has been recorded yet. Figures appear with the first ones.", reload=True)
    jumps, *made = all_live(page.sections).values()
    note = "Draw a box or a lasso over points in any figure: the table and the other figures show only those trials."
    return html.Div(
        [
            _selection(note),
            html.Div(table.grid(page.view, address, short=True), className="linked"),
            jumps,
            html.Div(made, className="cards figures"),
        ],
        className="page-figures",
    )


def _by_task(section: plots.Shown) -> list[Component]:
    """A section's figures; of several tasks each task's under its name, the first ones open."""
    by_task: dict[str | None, list[Component]] = {}
    for piece in section.pieces:
        heading = [html.H4(piece.title)] if isinstance(piece, Grid) and piece.title else []
        by_task.setdefault(piece.task, []).append(html.Div([*heading, plot(piece.name)]))
    places = [(task, html.Div(made, className="plots")) for task, made in by_task.items()]
    if len(places) < 2:
        return [made for _, made in places]
    return [
        html.Details([html.Summary(str(task)), made], open=number < _OPEN) for number, (task, made) in enumerate(places)
    ]


def _selection(note: str = "") -> Component:
    """How many trials are shown and why, and what can be done with them."""
    return html.Div(
        [
            html.Span(id="shown-count", role="status"),
            html.Button("Clear selection", id="clear-selection", type="button", hidden=True),
            html.Button("Clear filters", id="clear-filters", type="button", hidden=True),
            dcc.Link("Compare", id="compare-chosen", href="/", className="button hidden"),
            html.Span(note, className="note"),
        ],
        className="selection",
    )
