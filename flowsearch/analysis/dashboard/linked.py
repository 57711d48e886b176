"""The pages of the trials' table and of the figures, which select and filter each other."""

from dash import dcc, html
from dash.development.base_component import Component

from flowsearch.analysis.dashboard import bits, plots, table
from flowsearch.analysis.dashboard.address import Address
from flowsearch.analysis.dashboard.places import nowhere, plot
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


def figures(watched: Watched, address: Address) -> Component:
    """The page of all figures, with the table that they are linked with."""
    view = watched.view()
    if view.trials.empty:
        return nowhere("No trial has been recorded yet. Figures appear with the first ones.", reload=True)
    made, jumps = [], []
    for section in plots.sections(view):
        wide = len(section.pieces) > 1 or section.anchor in _WIDE
        made.append(
            bits.section(section.title, *_by_task(section), note=section.caption(), anchor=section.anchor, wide=wide)
        )
        jumps.append(html.Li(html.A(section.title, href=f"#{section.anchor}")))
    note = "Draw a box or a lasso over points in any figure: the table and the other figures show only those trials."
    return html.Div(
        [
            _selection(note),
            html.Div(table.grid(view, address, short=True), className="linked"),
            bits.tagged(html.Nav(html.Ul(jumps), className="jumps"), aria_label="Figures"),
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
