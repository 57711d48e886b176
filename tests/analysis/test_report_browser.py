"""The report in a browser: opened as a file, offline, in a wide and a narrow window, light and dark."""

from pathlib import Path
from typing import Any

import pytest
from made_up import make_study

from flowsearch.analysis import write_report
from flowsearch.results import load

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = make_study(tmp_path_factory.mktemp("results") / "s", trials=40, epochs=3, images=4)
    return write_report(study)


def opened(chromium: Any, report: Path, width: int = 1200, scheme: str = "light") -> tuple[Any, list[str]]:
    """The page, scrolled through once, and what its console said in error."""
    page = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True).new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto(report.as_uri())
    for top in range(0, page.evaluate("document.documentElement.scrollHeight"), 600):
        page.evaluate(f"window.scrollTo(0, {top})")
        page.wait_for_timeout(60)
    _expect(page.locator(".plot:not(:has(.main-svg))")).to_have_count(0)
    return page, errors


def _expect(locator: Any) -> Any:
    # Playwright's own waiting runs no text as code, which the page's policy refuses.
    from playwright.sync_api import expect

    return expect(locator)


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_every_figure_is_drawn_and_nothing_is_wider_than_the_window(
    chromium: Any, report: Path, width: int, scheme: str
) -> None:
    page, errors = opened(chromium, report, width, scheme)
    assert errors == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    drawn = page.locator(".plots > .plot > .js-plotly-plot, .plots > .plot .svg-container").all()
    assert max(one.bounding_box()["width"] for one in drawn) <= width
    ink = page.evaluate("getComputedStyle(document.querySelector('.plot .xtitle')).fill")
    assert ink == {"light": "rgb(29, 33, 38)", "dark": "rgb(228, 231, 235)"}[scheme]
    page.close()


def test_a_brush_over_two_axes_keeps_the_trials_that_pass_both(chromium: Any, report: Path) -> None:
    page, errors = opened(chromium, report)
    trials = load(report.parent).completed
    place = page.locator(".wide .plot")
    place.scroll_into_view_if_needed()
    ticks = place.evaluate("(place) => place.layout.xaxis.ticktext")
    where = """(place, [axis, height]) => {
        const { xaxis, yaxis } = place._fullLayout, box = place.getBoundingClientRect();
        return [box.left + xaxis._offset + xaxis.c2p(axis), box.top + yaxis._offset + yaxis.c2p(height)];
    }"""

    def drag(name: str, low: float, high: float) -> None:
        (x, bottom), (_, top) = (place.evaluate(where, [ticks.index(name), height]) for height in (low, high))
        page.mouse.move(x - 12, bottom)
        page.mouse.down()
        page.mouse.move(x + 12, top, steps=6)
        page.mouse.up()

    def wait_for(kept: Any) -> None:
        _expect(page.locator("#count")).to_contain_text(f"{kept.sum()} of ")

    glow, untied = trials["prox"] == "glow", trials["weights"] == "untied"
    drag("prox", 0.01, 0.32)
    wait_for(glow)
    page.keyboard.down("Shift")
    drag("weights", 0.51, 0.99)
    page.keyboard.up("Shift")
    assert 0 < (glow & untied).sum() < glow.sum()
    wait_for(glow & untied)
    shown = page.evaluate("[...document.querySelectorAll('.trials tbody tr')].filter((row) => !row.hidden).length")
    assert shown == (glow & untied).sum()
    assert errors == []
    page.close()
