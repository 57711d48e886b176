"""The frame around the pages: the study's name, the tabs, and what the browser keeps."""

from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from flowsearch.analysis import theme
from flowsearch.analysis.dashboard import bits
from flowsearch.analysis.dashboard.address import INDEX, PAGES, Address
from flowsearch.analysis.dashboard.library import Library

_GRAPH: Any = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["autoScale2d", "toggleSpikelines"],
}


def frame(library: Library) -> Component:
    """What stays while the pages change; with one study it has other links than with a folder of studies."""
    stores = {"where": None, "state": None, "mode": "light", "shown": None, "again": None}
    templates = {mode: theme.template(mode).to_plotly_json() for mode in theme.MODES}
    return html.Div(
        [
            dcc.Location(id="location", refresh=False),
            *(dcc.Store(id=name, data=data) for name, data in stores.items()),
            dcc.Store(id="templates", data=templates),
            dcc.Store(id="graph", data=dcc.Graph(config=_GRAPH, responsive=True).to_plotly_json()),
            html.A("Skip to the page", href="#page", className="skip"),
            head(library, Address(page=INDEX), "flowsearch", ""),
            html.Main(id="page", tabIndex=-1),
            bits.tagged(html.Div(id="announce", role="status"), aria_live="polite"),
        ],
        id="frame",
    )


def head(library: Library, address: Address, name: str, status: str) -> Component:
    """The study's name and state, and the tabs, at an address; base.js keeps to it at the next."""
    home = [dcc.Link("Studies", href="/", className="up")] if library.several else []
    links = []
    for page, title in PAGES.items():
        href = "/" if address.page == INDEX else address.at(page).href
        link = dcc.Link(title, id=f"to-{page}", href=href, className="tab current" if page == address.page else "tab")
        links.append(html.Li(link))
    return html.Header(
        [
            html.Div(
                [
                    *home,
                    html.H1(name, id="title"),
                    bits.tagged(bits.badge(status), id="study-state"),
                    html.Span("connection lost, trying again", id="lost", role="status"),
                ],
                className="name",
            ),
            bits.tagged(html.Nav(html.Ul(links), id="tabs", hidden=address.page == INDEX), aria_label="Pages"),
        ]
    )
