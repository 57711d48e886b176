"""Pages as plain HTML, before the browser has read a script, or without any."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dash import dcc, html
from looking import DESKTOP
from made_up import make_study

from flowsearch.analysis.dashboard.library import Library
from flowsearch.analysis.dashboard.markup import markup
from flowsearch.analysis.dashboard.server import wsgi
from flowsearch.results import load


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (None, ""),
        ("a < b & c", "a &lt; b &amp; c"),
        (["x ", html.B(3), None], "x <b>3</b>"),
        (html.Div("x", className="a b"), '<div class="a b">x</div>'),
        (html.Td(1, colSpan=2), '<td colspan="2">1</td>'),
        (dcc.Link("all", href="/trials?sort=folds:asc&x=1"), '<a href="/trials?sort=folds:asc&amp;x=1">all</a>'),
        (html.Img(src="/p.png", alt='"quoted"'), '<img alt="&quot;quoted&quot;" src="/p.png">'),
        (html.Span(style={"minWidth": "3px", "color": "red"}), '<span style="min-width:3px;color:red"></span>'),
        (html.P("x", hidden=True), "<p hidden>x</p>"),
        (html.P("x", hidden=False), "<p>x</p>"),
        (dcc.Store(id="s", data={"secret": 1}), "<div></div>"),
        (dcc.Graph(id="g", className="tall"), '<div class="tall"></div>'),
        (html.Div("x", **{"data-plot": "p", "aria-label": "l"}), '<div aria-label="l">x</div>'),
    ],
)
def test_markup(made: Any, expected: str) -> None:
    assert markup(made) == expected


def first(study: Path, path: str) -> str:
    answer = wsgi(Library(study)).test_client().get(path, base_url="http://localhost:8050")
    assert answer.status_code == 200
    return str(answer.text.partition('<div id="first">')[2].partition("<footer>")[0])


def test_a_study_cannot_put_elements_into_the_page(tmp_path: Path) -> None:
    reason = "<script>alert(1)</script><img src=x onerror=alert(1)>{%renderer%}"
    study = make_study(tmp_path / "made", 2, statuses=("failed", "completed"), reason=reason)
    for page in ("/", "/trials", "/trial/0000"):
        text = first(study, page)
        assert "<script" not in text
        assert "<img src=x" not in text
    assert "alert(1)" in text


def test_what_is_no_page_still_has_a_frame(study: Path) -> None:
    assert "There is no such page." in first(study, "/elsewhere")
    assert "no trial 9999" in first(study, "/trial/9999")


@pytest.mark.browser
def test_pages_can_be_read_without_scripts(chromium: Any, serving: Callable[..., Any], study: Path) -> None:
    url = str(serving(study).url).rstrip("/")
    context = chromium.new_context(
        java_script_enabled=False, viewport={"width": DESKTOP[0], "height": DESKTOP[1]}, color_scheme="light"
    )
    try:
        page = context.new_page()
        page.goto(url)
        assert "14 of 14 trials done" in page.locator("#first main").inner_text()
        assert page.locator("#first .tab.current").inner_text() == "Overview"
        assert page.locator("#first h1").inner_text() == load(study).name
        assert page.locator("#first .strip img").count() > 0
        page.get_by_role("link", name="Trials", exact=True).click()
        page.wait_for_url(f"{url}/trials")  # its style too, without which the head and the first cell are one word
        cells = page.locator("#first .first-sight > div").first.inner_text().split()
        assert sorted(cells[1:]) == sorted(load(study).trials["trial_id"])
    finally:
        context.close()
