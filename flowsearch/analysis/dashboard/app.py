"""The Dash application: the frame around the pages, which page an address shows, and what keeps it up to date.

The browser asks every two seconds whether the study's folder has changed (`server.poll`). If it has, each live section
and each figure in view is asked for again, and only what came out different is sent; nothing else is drawn anew.
"""

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dash import ALL, MATCH, ClientsideFunction, Dash, Input, Output, State, ctx, html, no_update
from flask import request

from flowsearch.analysis.dashboard import bits, compare, index, linked, overview, plots, table, trial
from flowsearch.analysis.dashboard.address import (
    COMPARE,
    FIGURES,
    INDEX,
    OVERVIEW,
    TRIAL,
    TRIALS,
    Address,
    parse,
)
from flowsearch.analysis.dashboard.frame import frame, head
from flowsearch.analysis.dashboard.library import Library
from flowsearch.analysis.dashboard.markup import markup
from flowsearch.analysis.dashboard.places import digest, nowhere
from flowsearch.analysis.dashboard.standing import Spending, Used, standing
from flowsearch.analysis.dashboard.watch import Watched

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
_GRID = re.compile(r'<script src="([^"]*/dash_ag_grid/[^"]*)"></script>')
_GRID_REST = "/_dash-component-suites/dash_ag_grid/async-community.js"
_METAS = [
    {"name": "viewport", "content": "width=device-width, initial-scale=1"},
    {"name": "color-scheme", "content": "light dark"},
]
_KEPT_PAGES = 16
"""Pages that are kept as they were made, until the study changes."""


def nothing_spent(path: Path, running: bool) -> Sequence[Used]:
    """What is known of a budget without the ledger's reader."""
    return ()


class Pages:
    """Makes the pages of a library; `spent` knows what studies have used of their budgets."""

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
            return index.layout(self.library)
        try:
            watched = self.library.study(address.study)
        except (KeyError, ValueError) as error:
            return nowhere(f"There is no study of this name here: {error}", reload=True)
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
            return overview.layout(self._overview(watched, address))
        if address.page == TRIALS:
            return linked.trials(watched, address)
        if address.page == FIGURES:
            return linked.figures(watched, address)
        if address.page == COMPARE:
            return compare.layout(compare.Compare(watched, address))
        if address.page == TRIAL:
            try:
                return trial.layout(trial.TrialPage(watched, address))
            except KeyError:
                return nowhere(f"This study has no trial {address.trial} yet.", reload=True)
        return nowhere("There is no such page.")

    def live(self, name: str, where: dict[str, Any]) -> bits.Children:
        """A live section's content now."""
        address, watched = self.of(where)
        if watched is None:
            return index.content(self.library)
        pages: dict[str, Callable[[Watched, Address], Any]] = {}
        pages |= {OVERVIEW: self._overview, TRIAL: trial.TrialPage, COMPARE: compare.Compare}
        content: bits.Children = pages[name.partition("-")[0]](watched, address).sections[name]()
        return content

    def first(self, pathname: str, search: str) -> str:
        """A page as plain HTML, which the browser shows until its scripts have made the page itself."""
        address = self.address(pathname, search)
        try:
            about = _where(self, address, pathname, search)
            shown = [head(self.library, address, about["name"], about["status"]), html.Main(self.content(address))]
        except Exception:  # the page itself will meet it too, and is where it is logged
            return ""
        return f'<div id="first">{markup(shown)}</div>'

    def state(self, address: Address) -> str:
        """The study's state in a word."""
        if address.page == INDEX:
            return ""
        try:
            watched = self.library.study(address.study)
            return standing(watched.view(), watched.is_running).words
        except (KeyError, ValueError):
            return ""

    def places(self, address: Address) -> list[str] | None:
        """The figures that a study's page has by now, where that depends on the study's trials."""
        if address.page not in (OVERVIEW, FIGURES):
            return None
        try:
            found = plots.sections(self.library.study(address.study).view())
        except (KeyError, ValueError):
            return None
        return [piece.name for one in (found[:1] if address.page == OVERVIEW else found) for piece in one.pieces]

    def _overview(self, watched: Watched, address: Address) -> overview.Overview:
        return overview.Overview(watched, address, self._spent(watched.path, watched.is_running))


class _Application(Dash):
    """Dash whose pages are there before its scripts are, as plain HTML, and which leaves the largest scripts, Plotly's
    and the table's, for later: nothing is painted while a script is being read. `table.js` asks for the table's when
    there is a table. A Dash that writes the table's script in another way reads it at once, as all others."""

    first: Callable[[str, str], str]
    """The page at a path and a query, as plain HTML."""

    def interpolate_index(self, *arguments: Any, **parts: Any) -> Any:
        """See `Dash.interpolate_index`."""
        soon = request.path.rstrip("/").endswith((f"/{TRIALS}", f"/{FIGURES}"))
        links = '<link id="grid-script" rel="{0}" as="script" href="{1}"><link rel="{0}" as="script" href="{2}">'
        if found := _GRID.search(parts["scripts"]):
            parts["scripts"] = parts["scripts"].replace(found[0], "")
            parts["css"] = parts.get("css", "") + links.format("preload" if soon else "prefetch", found[1], _GRID_REST)
        parts["app_entry"] += self.first(request.path, request.query_string.decode())
        return super().interpolate_index(*arguments, **parts)


def create(pages: Pages) -> Dash:
    """The application over the pages of a library."""
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
    app.layout = frame(pages.library)
    app.first = pages.first
    _pages(app, pages)
    _live(app, pages)
    _in_browser(app)
    return app


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
    def show(pathname: str | None, search: str | None, again: Any) -> tuple[Any, ...]:
        # What was filtered or selected since is in the browser's address alone; the first time all inputs are new.
        if ctx.triggered_id == "again" and again is not None:
            search = again
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
        now = digest(content)
        return (no_update, no_update) if now == seen else (content, now)

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
        return {"digest": made.digest, "figure": made.figure, "html": made.html, "spoken": made.spoken}

    @app.callback(
        Output("grid", "columnDefs"),
        Output("grid", "rowTransaction"),
        Output("grid-seen", "data"),
        Input("grid-want", "data"),
        State("grid-seen", "data"),
        State("grid", "columnDefs"),
        State("grid", "columnState"),
        State("where", "data"),
        prevent_initial_call=True,
    )
    def rows(
        want: Any, seen: dict[str, str], known: list[dict[str, Any]], shown: list[dict[str, Any]] | None, where: Any
    ) -> tuple[Any, Any, Any]:
        _, watched = pages.of(where)
        if watched is None or not want:
            return no_update, no_update, no_update
        view = watched.view()
        columns = table.widened(view, known, [one["colId"] for one in shown or ()])
        made = table.rows(view, [column["field"] for column in columns or known])
        now = table.digests(made)
        changed = [row for row in made if seen.get(row["trial_id"]) != now[row["trial_id"]]]
        update = [row for row in changed if row["trial_id"] in seen]
        add = [row for row in changed if row["trial_id"] not in seen]
        transaction = {"update": update, "add": add, "async": False}
        return columns or no_update, *((transaction, now) if changed else (no_update, no_update))

    @app.callback(
        Output("chosen", "options"),
        Input("chosen-want", "data"),
        State("chosen", "options"),
        State("where", "data"),
        prevent_initial_call=True,
    )
    def choices(want: Any, known: list[dict[str, str]], where: dict[str, Any]) -> Any:
        _, watched = pages.of(where)
        now = None if watched is None else compare.options(watched.view())
        return no_update if now in (None, known) else now


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
