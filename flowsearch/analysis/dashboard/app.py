"""The Dash application: the frame around the pages, and what keeps the one that is open up to date.

The browser asks every two seconds whether the study's folder has changed (`server.poll`). If it has, each live section
and each figure in view is asked for again, and only what came out different is sent; nothing else is drawn anew.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dash import ALL, MATCH, ClientsideFunction, Dash, Input, Output, State, ctx, no_update
from flask import request

from flowsearch.analysis.dashboard import compare, plots, table
from flowsearch.analysis.dashboard.address import FIGURES, INDEX, TRIAL, TRIALS
from flowsearch.analysis.dashboard.frame import frame
from flowsearch.analysis.dashboard.pages import Pages
from flowsearch.analysis.dashboard.places import digest

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
    app.layout = lambda: frame(pages.library)
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
        where = pages.where(address, pathname, search)  # before the content: what changes meanwhile is asked for again
        return pages.content(address), where, address.state()


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
        with pages.of(where) as (address, watched):
            if watched is None and address.page != INDEX:
                return no_update, no_update
            content = pages.live(own["name"], address, watched)
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
        with pages.of(where) as (address, watched):
            if watched is None or not want:
                return no_update
            trials = (address.trial,) if address.page == TRIAL else compare.chosen(watched.view(), address)
            made = plots.draw(watched, own["name"], trials, want.get("ids"))
        if made is None or made.digest == want.get("digest"):
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
        with pages.of(where) as (_, watched):
            if watched is None or not want:
                return no_update, no_update, no_update
            view = watched.view()
            columns = table.widened(view, known, [one["colId"] for one in shown or ()])
            made = table.rows(view, [column["field"] for column in columns or known])
        transaction, now = table.changes(made, seen)
        return columns or no_update, *((transaction, now) if now != seen else (no_update, no_update))

    @app.callback(
        Output("chosen", "options"),
        Input("chosen-want", "data"),
        State("chosen", "options"),
        State("where", "data"),
        prevent_initial_call=True,
    )
    def choices(want: Any, known: list[dict[str, str]], where: dict[str, Any]) -> Any:
        with pages.of(where) as (address, watched):
            now = None if watched is None else compare.options(watched.view(), address)
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
    live_seen = {"type": "live-seen", "name": MATCH}
    on("renewed", Input(live_seen, "data"), State(live_seen, "id"))
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
