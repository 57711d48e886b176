"""What the tests of the dashboard share."""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flowsearch.analysis.dashboard.pages import Pages

DESKTOP, NARROW = (1400, 900), (390, 844)


def open_at(page: Any, url: str) -> None:
    """Go to an address and wait until the page itself is there, and no longer its plain HTML."""
    page.goto(url)
    page.wait_for_selector("#page > *")
    page.wait_for_selector("#first", state="detached")


def until(page: Any, script: str, seconds: float = 20.0) -> None:
    """Wait until `script` holds in the page. Playwright's own way evaluates text in it, which its policy refuses."""
    end = time.monotonic() + seconds
    while not page.evaluate(script):
        assert time.monotonic() < end, f"not within {seconds:g} s: {script}"
        page.wait_for_timeout(50)


def aged(root: Path, seconds: float = 100.0) -> None:
    """As if nothing had happened in the folder for a while."""
    then = datetime.now(UTC).timestamp() - seconds
    for path in (root, *root.rglob("*")):
        os.utime(path, (then, then))


def text_of(pages: Pages, path: str, search: str = "") -> str:
    """A page as the browser gets it."""
    from plotly.io.json import to_json_plotly

    return json.dumps(json.loads(to_json_plotly(pages.content(pages.address(path, search)))), ensure_ascii=False)
