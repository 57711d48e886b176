"""What the browser tests of the dashboard share."""

import time
from typing import Any

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
