"""What pages are made of: sections that are kept up to date, places of figures, and a page that says why it is none."""

from collections.abc import Callable, Mapping
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component
from plotly.io.json import to_json_plotly

from flowsearch.analysis.dashboard import bits, plots


def live(name: str, content: bits.Children) -> Component:
    """A section that is kept up to date."""
    parts = [
        html.Div(content, id={"type": "live", "name": name}),
        dcc.Store(id={"type": "live-want", "name": name}),
        dcc.Store(id={"type": "live-seen", "name": name}, data=digest(content)),
    ]
    return bits.tagged(html.Div(parts, className="live"), data_live=name)


def all_live(sections: Mapping[str, Callable[[], bits.Children]]) -> dict[str, Component]:
    """The sections of a page by name, each kept up to date."""
    return {name: live(name, build()) for name, build in sections.items()}


def titled(name: str, title: str | None) -> Component:
    """A figure's place, under its title where it has one."""
    return html.Div([*([html.H3(title)] if title else []), plot(name)])


def plot(name: str) -> Component:
    """A figure's place; it is drawn when it comes into view."""
    room = {"minHeight": f"{plots.height(name)}px"}
    parts = [
        html.Div(id={"type": "plot-slot", "name": name}, style=room, className="graph"),
        bits.empty("Nothing to show yet."),
        dcc.Store(id={"type": "plot-want", "name": name}),
        dcc.Store(id={"type": "plot-data", "name": name}),
    ]
    place = html.Div(parts, id={"type": "plot-place", "name": name}, className="plot waiting")
    return bits.tagged(place, data_plot=name)


def nowhere(text: str, *, reload: bool = False) -> Component:
    """A page of one sentence; with `reload` it is made again once the study has changed."""
    page = bits.cards(html.Section(bits.empty(text), className="card wide"))
    return bits.tagged(page, data_reload="yes") if reload else page


def digest(content: Any) -> str:
    """A short name of what is shown: the same content has the same one."""
    return plots.digest(to_json_plotly(content))
