"""The Dash application: the frame around the pages, which page an address shows, and what keeps it up to date.

The browser asks every two seconds whether the study's folder has changed (`server.poll`). If it has, each live section
and each figure in view is asked for again, and only what came out different is sent; nothing else is drawn anew.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dash import ALL, MATCH, ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component
from flask import request
from plotly.io.json import to_json_plotly

from flowsearch.analysis import theme
from flowsearch.analysis.dashboard import bits, compare, index, overview, plots, table, trial
from flowsearch.analysis.dashboard.address import (
    COMPARE,
    FIGURES,
    INDEX,
    OVERVIEW,
    PAGES,
    TRIAL,
    TRIALS,
    Address,
    parse,
)
from flowsearch.analysis.dashboard.library import Library
from flowsearch.analysis.dashboard.standing import Spending, Used, standing
from flowsearch.analysis.dashboard.watch import Watched
from flowsearch.analysis.figures import Grid

_HTML = """<!doctype html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
{%favicon%}
{%css%}
</head>
<body>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""
_GRID_SCRIPT = "/_dash-component-suites/dash_ag_grid/async-community.js"
_METAS = [
    {"name": "viewport", "content": "width=device-width, initial-scale=1"},
    {"name": "color-scheme", "content": "light dark"},
]
_WIDE = ("parallel-coordinates",)
"""Sections whose only figure wants the whole width."""
_OPEN = 2
"""Tasks whose figures are open at first, in each section."""
_KEPT_PAGES = 16
"""Pages that are kept as they were made, until the study changes."""
_GRAPH: Any = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["autoScale2d", "toggleSpikelines"],
}


def nothing_spent(path: Path, running: bool) -> Sequence[Used]:
    """What is known of a budget without the ledger's reader."""
    return ()


class Pages:
    """Makes the pages of a library."""

    def __init__(self, library: Library, spent: Spending = nothing_spent) -> None:
        self.library, self._spent = library, spent
        self._made: OrderedDict[tuple[str, str], bits.Children] = OrderedDict()
        self._lock = threading.Lock()

    def address(self, pathname: str | None, search: str | None) -> Address:
        """What the browser's address means here."""
        return parse(pathname, search, several=self.library.several)

    def of(self, where: dict[str, Any]) -> tuple[Address, Watched | None]:
        """The address that a page was made from, and its study."""
        address = self.address(where["pathname"], where["search"])
        return address, None if address.page == INDEX else self.library.study(address.study)

    def content(self, address: Address) -> bits.Children:
        """The page, or a sentence that says why there is none."""
        if address.page == INDEX:
            return index.layout(self.library, live)
        try:
            watched = self.library.study(address.study)
        except (KeyError, ValueError) as error:
            return _nowhere(f"There is no study of this name here: {error}")
        key = (address.href, watched.version)
        with self._lock:
            if key in self._made:
                return self._made[key]
        made = self._page(watched, address)
        with self._lock:
            self._made[key] = made
            while len(self._made) > _KEPT_PAGES:
                self._made.popitem(last=False)
        return made

    def _page(self, watched: Watched, address: Address) -> bits.Children:
        if address.page == OVERVIEW:
            return overview.layout(self._overview(watched, address), live, plot)
        if address.page == TRIALS:
            return _trials(watched, address)
        if address.page == FIGURES:
            return _figures(watched, address)
        if address.page == COMPARE:
            return compare.layout(compare.Compare(watched, address), live, plot)
        if address.page == TRIAL:
            try:
                return trial.layout(trial.TrialPage(watched, address), live, plot)
            except KeyError:
                return _nowhere(f"This study has no trial {address.trial} yet.")
        return _nowhere("There is no such page.")

    def live(self, name: str, where: dict[str, Any]) -> bits.Children:
        """A live section's content now."""
        address, watched = self.of(where)
        if watched is None:
            return index.content(self.library)
        page = name.partition("-")[0]
        made: Any
        if page == "overview":
            made = self._overview(watched, address)
        elif page == "trial":
            made = trial.TrialPage(watched, address)
        else:
            made = compare.Compare(watched, address)
        content: bits.Children = made.sections[name]()
        return content

    def state(self, address: Address) -> str:
        """The study's state in a word."""
        if address.page == INDEX:
            return ""
        try:
            watched = self.library.study(address.study)
            return standing(watched.view(), watched.is_running).words
        except (KeyError, ValueError):
            return ""

    def _overview(self, watched: Watched, address: Address) -> overview.Overview:
        return overview.Overview(watched, address, self._spent(watched.path, watched.is_running))


class _Application(Dash):
    """Dash whose first answer tells the browser of the table's script, which it would ask for late.

    Plotly's, the largest, is left for after the first sight of a page: nothing is painted while it is being read."""

    def interpolate_index(self, *arguments: Any, **parts: Any) -> Any:
        """See `Dash.interpolate_index`."""
        if request.path.rstrip("/").endswith((f"/{TRIALS}", f"/{FIGURES}")):
            parts["css"] = f'{parts.get("css", "")}<link rel="preload" as="script" href="{_GRID_SCRIPT}">'
        return super().interpolate_index(*arguments, **parts)


def create(library: Library, spent: Spending = nothing_spent) -> Dash:
    """The application over `library`; `spent` knows what studies have used of their budgets."""
    pages = Pages(library, spent)
    app = _Application(
        "flowsearch",
        assets_folder=str(Path(__file__).parent / "assets"),
        index_string=_HTML,
        meta_tags=_METAS,
        title="flowsearch",
        update_title="",
        suppress_callback_exceptions=True,
        serve_locally=True,
        include_pages_meta=False,
        add_log_handler=False,
        enable_mcp=False,
    )
    app.layout = _frame(library)
    _pages(app, pages)
    _live(app, pages)
    _in_browser(app)
    return app


def live(name: str, content: bits.Children) -> Component:
    """A section that is kept up to date."""
    parts = [
        html.Div(content, id={"type": "live", "name": name}),
        dcc.Store(id={"type": "live-want", "name": name}),
        dcc.Store(id={"type": "live-seen", "name": name}, data=_digest(content)),
    ]
    return bits.tagged(html.Div(parts, className="live"), data_live=name)


def plot(name: str) -> Component:
    """A figure's place; it is drawn when it comes into view."""
    room = {"minHeight": f"{plots.height(name)}px"}
    parts = [
        html.Div(id={"type": "plot-slot", "name": name}, style=room, className="graph"),
        html.P("Nothing to show yet.", className="empty"),
        dcc.Store(id={"type": "plot-want", "name": name}),
        dcc.Store(id={"type": "plot-data", "name": name}),
    ]
    place = html.Div(parts, id={"type": "plot-place", "name": name}, className="plot waiting")
    return bits.tagged(place, data_plot=name)


def _frame(library: Library) -> Component:
    """What stays while the pages change."""
    home = [dcc.Link("Studies", href="/", className="up")] if library.several else []
    links = [html.Li(dcc.Link(title, id=f"to-{page}", href="/", className="tab")) for page, title in PAGES.items()]
    stores = {"where": None, "state": None, "mode": "light", "shown": None, "again": 0}
    templates = {mode: theme.template(mode).to_plotly_json() for mode in theme.MODES}
    return html.Div(
        [
            dcc.Location(id="location", refresh=False),
            *(dcc.Store(id=name, data=data) for name, data in stores.items()),
            dcc.Store(id="templates", data=templates),
            dcc.Store(id="graph", data=dcc.Graph(config=_GRAPH, responsive=True).to_plotly_json()),
            html.A("Skip to the page", href="#page", className="skip"),
            html.Header(
                [
                    html.Div(
                        [
                            *home,
                            html.H1("flowsearch", id="title"),
                            html.Span(id="study-state"),
                            html.Span("connection lost, trying again", id="lost", role="status"),
                        ],
                        className="name",
                    ),
                    bits.tagged(html.Nav(html.Ul(links), id="tabs"), aria_label="Pages"),
                ]
            ),
            html.Main(id="page", tabIndex=-1),
            bits.tagged(html.Div(id="announce", role="status"), aria_live="polite"),
        ],
        id="frame",
    )


def _trials(watched: Watched, address: Address) -> Component:
    view = watched.view()
    if view.trials.empty:
        return _nowhere("No trial has been recorded yet. They appear here by themselves.", reload=True)
    return html.Div([_selection(), table.grid(view, address), _hint()], className="page-trials")


def _hint() -> Component:
    text = (
        "Click a head to sort, with Ctrl by several; filters stand under the heads. Tick trials to compare them. "
        "Of running trials, val PSNR is that of the last epoch."
    )
    return html.P(text, className="note")


def _figures(watched: Watched, address: Address) -> Component:
    view = watched.view()
    if view.trials.empty:
        return _nowhere("No trial has been recorded yet. Figures appear with the first ones.", reload=True)
    made, jumps = [], []
    for section in plots.sections(view):
        wide = len(section.pieces) > 1 or section.anchor in _WIDE
        made.append(
            bits.section(section.title, *_by_task(section), note=section.caption, anchor=section.anchor, wide=wide)
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


def _nowhere(text: str, *, reload: bool = False) -> Component:
    page = html.Div(html.Section(html.P(text, className="empty"), className="card wide"), className="cards")
    return bits.tagged(page, data_reload="yes") if reload else page


def _pages(app: Dash, pages: Pages) -> None:
    @app.callback(
        Output("page", "children"),
        Output("where", "data"),
        Output("state", "data"),
        Input("location", "pathname"),
        Input("location", "search"),
        Input("again", "data"),
        prevent_initial_call=True,
    )
    def show(pathname: str | None, search: str | None, _: Any) -> tuple[Any, ...]:
        address = pages.address(pathname, search)
        return pages.content(address), _where(pages, address, pathname, search), address.state()


def _where(pages: Pages, address: Address, pathname: str | None, search: str | None) -> dict[str, Any]:
    name, version, order = "flowsearch", "", None
    if address.page != INDEX:
        try:
            watched = pages.library.study(address.study)
            view, version = watched.view(), watched.version
            name, (metric, more) = view.name, view.objective
            order = [[metric, "desc" if more else "asc"]]
        except (KeyError, ValueError):
            name = address.study
    return {
        "pathname": pathname,
        "search": search,
        "study": address.study,
        "page": address.page,
        "trial": address.trial,
        "name": name,
        "version": version,
        "status": pages.state(address),
        "order": order,
        "base": Address(study=address.study).path if address.page != INDEX else "/",
    }


def _live(app: Dash, pages: Pages) -> None:
    @app.callback(
        Output({"type": "live", "name": MATCH}, "children"),
        Output({"type": "live-seen", "name": MATCH}, "data"),
        Input({"type": "live-want", "name": MATCH}, "data"),
        State({"type": "live-want", "name": MATCH}, "id"),
        State({"type": "live-seen", "name": MATCH}, "data"),
        State("where", "data"),
        prevent_initial_call=True,
    )
    def again(want: Any, own: dict[str, str], seen: str, where: dict[str, Any]) -> tuple[Any, Any]:
        content = pages.live(own["name"], where)
        digest = _digest(content)
        return (no_update, no_update) if digest == seen else (content, digest)

    @app.callback(
        Output({"type": "plot-data", "name": MATCH}, "data"),
        Input({"type": "plot-want", "name": MATCH}, "data"),
        State({"type": "plot-want", "name": MATCH}, "id"),
        State({"type": "plot-data", "name": MATCH}, "data"),
        State("where", "data"),
        prevent_initial_call=True,
    )
    def drawn(want: dict[str, Any], own: dict[str, str], kept: dict[str, Any] | None, where: dict[str, Any]) -> Any:
        address, watched = pages.of(where)
        if watched is None or not want:
            return no_update
        trials = (address.trial,) if address.page == TRIAL else address.chosen[: compare.MOST]
        made = plots.draw(watched, own["name"], trials, want.get("ids"))
        if want.get("digest") == made.digest:
            return no_update
        return {"digest": made.digest, "figure": made.figure, "html": made.html}

    @app.callback(
        Output("grid", "rowTransaction"),
        Output("grid-seen", "data"),
        Input("grid-want", "data"),
        State("grid-seen", "data"),
        State("grid", "columnDefs"),
        State("where", "data"),
        prevent_initial_call=True,
    )
    def rows(want: Any, seen: dict[str, str] | None, columns: list[dict[str, Any]], where: dict[str, Any]) -> Any:
        _, watched = pages.of(where)
        if watched is None or not want:
            return no_update, no_update
        made = table.rows(watched.view(), [column["field"] for column in columns if "field" in column])
        digests = {row["trial_id"]: _digest(row) for row in made}
        if seen is None or seen == digests:
            return no_update, digests if seen is None else no_update
        changed = [row for row in made if seen.get(row["trial_id"]) != digests[row["trial_id"]]]
        update = [row for row in changed if row["trial_id"] in seen]
        add = [row for row in changed if row["trial_id"] not in seen]
        return {"update": update, "add": add, "async": False}, digests


def _in_browser(app: Dash) -> None:
    """What the page's scripts do without asking the server."""

    def on(name: str, *ends: Any, prevent: bool = True) -> None:
        app.clientside_callback(ClientsideFunction("flowsearch", name), *ends, prevent_initial_call=prevent)

    plot_data, plot_place = {"type": "plot-data", "name": MATCH}, {"type": "plot-place", "name": MATCH}
    on("arrived", Output("announce", "children"), Input("where", "data"), State("state", "data"))
    on(
        "draw",
        Output({"type": "plot-slot", "name": MATCH}, "children"),
        Output(plot_place, "className"),
        Input(plot_data, "data"),
        Input("mode", "data"),
        State("templates", "data"),
        State("graph", "data"),
        State(plot_data, "id"),
    )
    on("pointed", Output("state", "data", allow_duplicate=True), Input({"type": "plot", "name": ALL}, "selectedData"))
    on(
        "tabled",
        Output("state", "data", allow_duplicate=True),
        Input("grid", "filterModel"),
        Input("grid", "columnState"),
        Input("grid", "selectedRows"),
    )
    on("counted", Output("shown", "data"), Input("grid", "virtualRowData"))
    on("unselected", Output("state", "data", allow_duplicate=True), Input("clear-selection", "n_clicks"))
    on("unfiltered", Output("grid", "filterModel"), Input("clear-filters", "n_clicks"))
    on("chosen", Output("location", "search"), Input("chosen", "value"))


def _digest(content: Any) -> str:
    return hashlib.blake2b(to_json_plotly(content).encode(), digest_size=8).hexdigest()
