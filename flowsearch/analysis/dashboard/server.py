"""Serves the dashboard by waitress: the application, the pictures, and the question whether anything has changed."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dash import Dash
from flask import Flask, Response, abort, request

from flowsearch.analysis.dashboard import security
from flowsearch.analysis.dashboard.address import INDEX, Address
from flowsearch.analysis.dashboard.app import create
from flowsearch.analysis.dashboard.copied import Copy, Held, never
from flowsearch.analysis.dashboard.library import Library
from flowsearch.analysis.dashboard.pages import Pages, nothing_spent
from flowsearch.analysis.dashboard.pictures import SPLITS, content, picture
from flowsearch.analysis.dashboard.standing import Spending
from flowsearch.analysis.dashboard.watch import Watched, once
from flowsearch.storage import is_uri

HOST = "127.0.0.1"
PORT = 8050
_THREADS = 32
"""More than a few browsers ask at once: those that wait for their turn at one study keep no other from its pages."""
_KEPT = "private, max-age=31536000, immutable"
_NOT_KEPT = "no-store"


@dataclass(frozen=True)
class Served:
    """A dashboard that listens."""

    url: str
    """Its address, with the token where there is one."""
    run: Callable[[], None]
    """Serve until interrupted."""
    close: Callable[[], None]
    """Stop listening."""


def prepare(
    path: Path | str,
    *,
    host: str = HOST,
    port: int = PORT,
    token: str | None = None,
    spent: Spending = nothing_spent,
    held: Held = never,
) -> Served:
    """Listen for a dashboard over the study in `path`, or over the folder of studies; port 0 takes a free one.

    Of a URI a copy is shown, which follows it; `held` tells whether a study there is being run. Beyond this machine a
    token is needed; one is made where none is given. Raises `ValueError` where `path` is no folder or the port is
    taken.
    """
    from waitress import create_server

    if token is None and not security.is_loopback(host):
        token = security.new_token()
    if token is not None and len(token) < 8:
        raise ValueError("a token keeps others out, so it has 8 characters or more; leave it out to have one made")
    copy = Copy(str(path), held) if is_uri(path) else None
    library = Library(Path(path)) if copy is None else Library(copy.path, copy.where)
    server = wsgi(library, host=host, token=token, spent=spent)
    if copy is not None:
        server.before_request(copy.look)
    logging.getLogger("waitress").setLevel(logging.ERROR)
    try:
        listening = create_server(server, host=host, port=port, threads=_THREADS, ident=None)
    except OSError as error:
        if copy is not None:
            copy.close()
        raise ValueError(
            f"cannot listen on {host}, port {port} ({error.strerror}); choose another --port, or 0"
        ) from None
    shown = f"[{host}]" if ":" in host else host
    query = f"?token={token}" if token else ""
    if not library.several:
        once(lambda: _warm(library.study()))

    def close() -> None:
        listening.close()
        if copy is not None:
            copy.close()

    return Served(f"http://{shown}:{listening.effective_port}/{query}", listening.run, close)


def wsgi(library: Library, *, host: str = HOST, token: str | None = None, spent: Spending = nothing_spent) -> Flask:
    """The WSGI application."""
    # What cannot be read is said on the page; a warning for each reading would fill the terminal.
    warnings.filterwarnings("ignore", category=UserWarning)
    pages = Pages(library, spent)
    app: Dash = create(pages)
    server: Flask = app.server
    app._setup_server()  # so that all inline scripts are known
    _routes(server, pages)
    security.guard(server, host=host, token=token, script_hashes=app.csp_hashes())
    return server


def _routes(server: Flask, pages: Pages) -> None:
    library = pages.library

    @server.get("/poll")
    def poll() -> Response | tuple[str, int]:
        """The study's version, empty where there is no study, its state, and whether there are several; nothing where
        the version is the `known`."""
        study = request.args.get("study", "")
        version = library.version(study)
        if version == request.args.get("known", ""):
            return "", 204
        address = Address(page=INDEX) if library.several and not study else Address(study=study)
        return _json({"version": version, "status": pages.state(address), "several": library.several})

    @server.get("/picture/<study>/<trial>/<int:attempt>/<split>/<int:image>/<kind>.png")
    def png(study: str, trial: str, attempt: int, split: str, image: int, kind: str) -> Response:
        """A picture that a trial kept. Under the address of another one, from a page made before the study was removed
        and made again, a browser must not keep it."""
        try:
            watched = library.study("" if study == "-" and not library.several else study)
        except (KeyError, ValueError):
            abort(404)
        found = picture(watched, trial, attempt, split, image, kind) if split in SPLITS else None
        if found is None:
            abort(404)
        kept = _KEPT if request.query_string.decode() == content(found) else _NOT_KEPT
        return Response(found, mimetype="image/png", headers={"Cache-Control": kept})


def _json(value: dict[str, Any]) -> Response:
    from flask import jsonify

    answer: Response = jsonify(value)
    answer.headers["Cache-Control"] = _NOT_KEPT
    return answer


def _warm(watched: Watched) -> None:
    """Read what the first pages need before anyone asks."""
    view = watched.view()
    _ = view.trials
    _ = view.epochs
