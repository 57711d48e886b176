"""A made-up study, a dashboard that serves it from a thread, and a headless Chromium to look at it with."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from looking import DESKTOP, open_at
from made_up import make_study

from flowsearch.analysis.dashboard import Served, prepare


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of 14 trials, one failed and one diverged; never changed by a test."""
    return make_study(tmp_path_factory.mktemp("results") / "made", images=8)


@pytest.fixture(scope="session")
def serving() -> Iterator[Callable[..., Served]]:
    """Serve a folder from a thread of this process, with what `prepare` takes, on a free port."""
    begun: list[tuple[Served, threading.Thread]] = []

    def serve(path: Path, **options: Any) -> Served:
        served = prepare(path, port=0, **options)
        thread = threading.Thread(target=served.run, daemon=True)
        thread.start()
        begun.append((served, thread))
        return served

    yield serve
    for served, _ in begun:
        served.close()


@pytest.fixture
def browse(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a page of a window's size and colours; whatever its console says in error fails the test."""
    contexts, said = [], []

    def opened(url: str, size: tuple[int, int] = DESKTOP, scheme: str = "light", context: Any = None) -> Any:
        if context is None:
            context = chromium.new_context(
                viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, reduced_motion="reduce"
            )
            context.set_default_timeout(20_000)
            contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        open_at(page, url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == [], said


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are read again whatever that costs."""
    monkeypatch.setattr("flowsearch.analysis.dashboard.watch._SHARE", 1e9)
