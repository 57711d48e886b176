"""The dashboard in a browser, as a person uses it, over a made-up study."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from looking import DESKTOP, NARROW, open_at, until
from made_up import make_study

from flowsearch.results import load
from flowsearch.results.forms import FORMS

pytestmark = pytest.mark.browser

Browse = Callable[..., Any]
ROWS = ".ag-center-cols-container .ag-row"
STUDY_OF: dict[str, Path] = {}
IDS = ".ag-pinned-left-cols-container [col-id=trial_id] a"


def origin(served: Any) -> str:
    return str(served.url).rstrip("/")


@pytest.fixture(scope="module")
def url(serving: Callable[..., Any], study: Path) -> str:
    found = origin(serving(study))
    STUDY_OF[found] = study
    return found


def drag(page: Any, name: str, where: tuple[float, float, float, float]) -> None:
    """Draw a box over a figure: left, top, right and bottom in shares of its plot area."""
    page.wait_for_selector(f'[data-plot="{name}"] .scatterlayer .point')
    area = page.locator(f'[data-plot="{name}"] .nsewdrag').first
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    left, top, right, bottom = where
    page.mouse.move(box["x"] + 2 + left * (box["width"] - 4), box["y"] + 2 + top * (box["height"] - 4))
    page.mouse.down()
    page.mouse.move(box["x"] + right * box["width"] - 2, box["y"] + bottom * box["height"] - 2, steps=6)
    page.mouse.up()


def drawn(page: Any, name: str) -> int:
    """Number of points that a figure shows."""
    return int(page.locator(f'[data-plot="{name}"] .scatterlayer .point').count())


def listed(page: Any, count: str) -> None:
    """Wait until the table shows as many trials, of those in view, as `count` says; names are drawn last."""
    until(page, f"document.querySelectorAll('{IDS}').length {count}")


def test_the_overview_says_how_the_study_stands(browse: Browse, url: str) -> None:
    page = browse(url)
    text = page.locator("main").inner_text()
    assert "14 of 14 trials done" in text
    assert re.search(r"1\s+failed", text)
    assert "out of memory" in text
    page.wait_for_selector('[data-plot="best-so-far"] .scatterlayer .point')
    until(page, "[...document.querySelectorAll('.strip img')].every((image) => image.naturalWidth > 0)")
    page.get_by_role("link", name="1 failed").click()
    listed(page, "=== 1")
    assert page.locator(IDS).inner_text() == "0013"


@pytest.mark.parametrize(
    ("where", "figure", "name"),
    [
        ("", "best-so-far", "Best so far: validation PSNR (dB) against completed trials"),
        ("/trial/0000", "trial/psnr", "Validation PSNR: validation PSNR (dB) against epoch"),
        ("/compare?compare=0000,0001", "compare/loss", "Validation loss: validation loss (log scale) against epoch"),
    ],
    ids=["a study's", "a trial's", "of several trials"],
)
def test_a_figure_has_a_name_to_be_heard(browse: Browse, url: str, where: str, figure: str, name: str) -> None:
    page = browse(f"{url}{where}")
    page.locator(f'[data-plot="{figure}"]').scroll_into_view_if_needed()
    page.wait_for_selector(f'[data-plot="{figure}"] .js-plotly-plot')
    assert page.locator(f'[data-plot="{figure}"] [role=img]').get_attribute("aria-label") == name


def test_the_tables_numbers_are_written_as_everywhere(browse: Browse, url: str) -> None:
    page = browse(f"{url}/trials")
    values = {
        "number": [3, 0.000281, 0.1234, 96],
        "fine": [0.003214, 0.5],
        "decibels": [29.065],
        "similarity": [0.8123],
        "whole": [850, 25_771_456],
        "memory": [332_512_000, 2.06e9],
        "moment": ["2026-01-15T09:00:10+00:00"],
        "duration": [0.04, 9.94, 9.96, 59.6, 200, 3599.6, 18_720],
        "brief": [0.00042, 0.0121, 0.0996, 0.2551, 1.31, 152],
    }
    asked = [[form, value] for form, several in values.items() for value in several]
    written = page.evaluate("(all) => all.map((one) => dashAgGridFunctions.flowsearchForm(...one))", asked)
    assert written == [FORMS[form](value) for form, value in asked]
    assert set(values) == set(FORMS)


def test_the_table_can_be_read_before_its_script_has_come(browse: Browse, url: str) -> None:
    """Its first sight is text in the grid's order and place; the grid takes that place once it is there."""
    held: list[Any] = []
    context = browse(url).context
    context.route("**/dash_ag_grid/dash_ag_grid*", lambda route: held.append(route))
    page = browse(f"{url}/trials?sort=folds:asc,trial_id:desc", context=context)
    until(page, "document.querySelector('.first-sight > div') !== null")
    seen = page.locator(".first-sight > div").first.inner_text().split()
    top = page.locator(".first-sight b").first.bounding_box()
    assert page.locator("#shown-count").inner_text() == ""
    until(page, "document.querySelector('script[src*=dash_ag_grid]') !== null")
    for route in held:
        route.continue_()
    listed(page, "=== 14")
    assert not page.locator(".first-sight").is_visible()
    rows = "[...document.querySelectorAll('.ag-pinned-left-cols-container .ag-row')]"
    ordered = f"{rows}.sort((a, b) => a.getAttribute('row-index') - b.getAttribute('row-index'))"
    assert seen == ["trial", *page.evaluate(f"{ordered}.map((row) => row.innerText.trim())")]
    head = page.locator(".ag-header-cell[col-id=trial_id] .ag-header-cell-text").bounding_box()
    assert abs(top["x"] - head["x"]) <= 2


def test_a_table_whose_script_comes_with_all_others_is_there(
    browse: Browse, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowsearch.analysis.dashboard.app._GRID", re.compile("(?!)"))
    page = browse(f"{url}/trials")
    assert page.locator("#grid-script").count() == 0
    listed(page, "=== 14")


def test_a_filtered_and_sorted_table_is_the_same_from_its_address(browse: Browse, url: str) -> None:
    page = browse(f"{url}/trials")
    listed(page, "=== 14")
    page.get_by_label("prox Filter Input").fill("glow")
    until(page, "document.getElementById('shown-count').textContent.startsWith('7 of 14')")
    page.get_by_role("columnheader", name="folds").click()
    until(page, "location.search.includes('sort=folds')")
    first = page.locator(IDS).all_inner_texts()
    again = browse(page.url, context=page.context)
    listed(again, "=== 7")
    assert sorted(again.locator(IDS).all_inner_texts()) == sorted(first)
    assert again.get_by_role("columnheader", name="folds").get_attribute("aria-sort") == "ascending"
    assert again.get_by_label("prox Filter Input").input_value() == "glow"
    again.get_by_role("button", name="Clear filters").click()
    listed(again, "=== 14")
    assert "filter" not in again.url


def test_a_selection_in_a_figure_filters_the_table_and_the_other_figures(browse: Browse, url: str) -> None:
    page = browse(f"{url}/figures", size=(1400, 1400))
    page.locator('[data-plot="shift"]').scroll_into_view_if_needed()
    page.wait_for_selector('[data-plot="shift"] .scatterlayer .point')
    before = drawn(page, "shift")
    page.wait_for_selector(IDS)
    drag(page, "best-so-far", (0.0, 0.0, 0.5, 1.0))
    until(page, "location.search.includes('select=best-so-far')")
    listed(page, "< 10")
    selected = page.locator(IDS).count()
    assert 0 < selected < 10
    page.locator('[data-plot="shift"]').scroll_into_view_if_needed()
    until(page, f"""document.querySelectorAll('[data-plot="shift"] .scatterlayer .point').length < {before}""")
    assert drawn(page, "best-so-far") > selected  # where one selects, all stay
    again = browse(page.url, size=(1400, 1400), context=page.context)
    listed(again, f"=== {selected}")
    shown = page.locator("#shown-count").inner_text()
    until(again, f"document.getElementById('shown-count').textContent === {json.dumps(shown)}")
    again.get_by_role("link", name="Trials", exact=True).click()
    again.wait_for_selector(".page-trials")
    listed(again, f"=== {selected}")
    again.get_by_role("button", name="Clear selection").click()
    listed(again, "=== 14")


def test_boxes_over_two_axes_of_parallel_coordinates_select_the_lines_that_pass_both(browse: Browse, url: str) -> None:
    page = browse(f"{url}/figures", size=(1400, 1400))
    page.wait_for_selector(IDS)
    page.locator('[data-plot="parallel"]').scroll_into_view_if_needed()
    page.wait_for_selector('[data-plot="parallel"] .scatterlayer .point')
    axes = "document.querySelector('[data-plot=\"parallel\"] .js-plotly-plot').layout.xaxis"
    names, (left, right) = page.evaluate(f"[{axes}.ticktext, {axes}.range]")

    def box(name: str, top: float, bottom: float) -> None:
        place = (names.index(name) - left) / (right - left)
        drag(page, "parallel", (place - 0.02, top, place + 0.02, bottom))

    box("validation PSNR (dB)", 0.0, 0.5)
    until(page, "location.search.includes('select=parallel')")
    listed(page, "< 12")
    good = page.locator(IDS).count()
    page.keyboard.down("Shift")
    box("prox", 0.0, 0.9)
    page.keyboard.up("Shift")
    listed(page, f"<= {good}")
    page.wait_for_timeout(300)
    shown = set(page.locator(IDS).all_text_contents())
    ranked = load(STUDY_OF[url]).ranked()
    assert shown
    assert shown <= set(ranked["trial_id"].head(good))
    until(page, "document.getElementById('shown-count').textContent.includes('selected in parallel coordinates')")


def test_ticked_trials_are_compared_side_by_side(browse: Browse, url: str) -> None:
    page = browse(f"{url}/trials")
    page.wait_for_selector(ROWS)
    for place in (0, 1):
        page.locator(".ag-row .ag-checkbox-input").nth(place).check()
    page.get_by_role("link", name="Compare 2 trials").click()
    page.wait_for_selector("text=What differs")
    assert "95% interval" in page.locator("main").inner_text()
    page.wait_for_selector('[data-plot="compare/psnr"] .scatterlayer .trace:nth-child(2)', state="attached")
    page.get_by_text("Reconstructions").scroll_into_view_if_needed()
    assert page.locator(".panels img").count() >= 16
    page.go_back()
    page.wait_for_selector("#compare-chosen")
    until(page, "document.getElementById('compare-chosen').textContent === 'Compare 2 trials'")


def test_a_failed_trial_says_why(browse: Browse, url: str) -> None:
    page = browse(f"{url}/trial/0013")
    text = page.locator("main").inner_text()
    assert "Why it failed" in text
    assert "out of memory" in text
    assert "flowsearch study retry" in text


def test_keys_lead_from_the_top_to_a_trial(browse: Browse, url: str) -> None:
    page = browse(f"{url}/trials")
    page.wait_for_selector(ROWS)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
    page.locator(f"{IDS} >> nth=0").evaluate("(link) => link.closest('[role=gridcell]').focus()")
    page.keyboard.press("Enter")
    page.wait_for_url("**/trial/*")


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "light"), (NARROW, "dark")], ids=["desktop", "narrow"])
def test_nothing_is_wider_than_the_window(browse: Browse, url: str, scheme: str, size: tuple[int, int]) -> None:
    page = browse(f"{url}/figures", size=size, scheme=scheme)
    page.wait_for_selector('[data-plot="best-so-far"] .scatterlayer .point')
    ink = page.evaluate("getComputedStyle(document.querySelector('.gtitle, .xtitle, .ytitle')).fill")
    assert ink == ("rgb(29, 33, 38)" if scheme == "light" else "rgb(228, 231, 235)")
    for path in ("/figures", "/trials", "/trial/0000", "/compare?compare=0000-0002", "/"):
        open_at(page, url + path)
        page.wait_for_selector("main .card, main .grid")
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path


def test_on_a_phone_no_number_link_or_state_in_a_table_is_broken(
    browse: Browse, serving: Callable[..., Any], tmp_path: Path
) -> None:
    make_study(tmp_path / "a-study-of-tasks", 12, images=2, epochs=2, reason="/no/spaces/in/" + 9 * "a/long/path/")
    base = origin(serving(tmp_path))
    study = f"{base}/study/a-study-of-tasks"
    page = browse(base, size=NARROW)
    broken = """[...document.querySelectorAll("td:not(.long, :has(figure))")].filter((cell) => {
        const text = document.createRange();
        text.selectNodeContents(cell);
        return text.getBoundingClientRect().height > 30;
    }).map((cell) => cell.textContent)"""
    for url in (base, study, f"{study}/compare?compare=0000,0002"):
        open_at(page, url)
        page.wait_for_selector("main td")
        assert page.evaluate(broken) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
    open_at(page, study)
    assert page.evaluate("document.querySelector('td.long').getBoundingClientRect().width") <= NARROW[0]


def test_markup_in_a_study_stays_text(browse: Browse, serving: Callable[..., Any], tmp_path: Path) -> None:
    wicked = '<img src=x onerror="window.broken=1"><script>window.broken=1</script>'
    root = make_study(tmp_path / "s", 8, images=2, epochs=3, reason=wicked)
    (root / "study.yaml").write_text(f"name: '{wicked}'\n", encoding="utf-8")
    base = origin(serving(root))
    page = browse(base)
    for path in ("", "/trials", "/figures", "/trial/0007", "/compare?compare=0000,0007"):
        open_at(page, base + path)
        page.wait_for_selector("main .card, main .grid")
        page.wait_for_timeout(300)
        assert page.locator("h1").inner_text() == wicked
        assert page.evaluate("window.broken") is None


def test_a_page_keeps_its_zoom_while_a_study_grows(browse: Browse, serving: Callable[..., Any], tmp_path: Path) -> None:
    root = make_study(tmp_path / "s", 8, images=2, epochs=3, unfinished=True)
    page = browse(origin(serving(root)))
    page.wait_for_selector('[data-plot="best-so-far"] .scatterlayer .point')
    page.evaluate("window.stayed = true")
    graph = "document.querySelector('[data-plot=\"best-so-far\"] .js-plotly-plot')"
    page.locator('[data-plot="best-so-far"]').hover()
    page.locator('[data-plot="best-so-far"] [data-title="Zoom"]').click()
    drag(page, "best-so-far", (0.2, 0.1, 0.7, 0.9))
    zoomed = page.evaluate(f"{graph}.layout.xaxis.range")
    before = drawn(page, "best-so-far")
    make_study(root, 20, images=2, epochs=3)
    until(page, "document.querySelector('main').innerText.includes('20 of 20 trials done')")
    points = "document.querySelectorAll('[data-plot=\"best-so-far\"] .scatterlayer .point').length"
    until(page, f"{points} > {before}")
    assert page.evaluate(f"{graph}.layout.xaxis.range") == zoomed
    assert page.evaluate("window.stayed")


def test_columns_come_with_the_first_results_and_the_table_stays_as_it_was_set(
    browse: Browse, serving: Callable[..., Any], tmp_path: Path
) -> None:
    root = make_study(tmp_path / "s", 3, images=2, epochs=6, statuses=["running"])
    page = browse(f"{origin(serving(root))}/trials", size=(2600, 900))
    listed(page, "=== 3")

    def head(name: str) -> Any:
        return page.locator(f".ag-header-row-column [col-id={name}]")

    def dragged(start: tuple[float, float], end: tuple[float, float]) -> None:
        page.mouse.move(*start)
        page.mouse.down()
        page.mouse.move(*end, steps=10)
        page.mouse.up()

    columns = "dash_ag_grid.getApi('grid').getColumnState()"
    names = f"{columns}.map((column) => column.colId)"
    assert head("test_psnr").count() == 0
    head("folds").click()
    edge = head("lr").locator(".ag-header-cell-resize").bounding_box()
    x, y = edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2
    dragged((x, y), (x + 60, y))
    here, there = head("weights").bounding_box(), head("status").bounding_box()
    dragged((here["x"] + 20, here["y"] + 10), (there["x"] + 30, there["y"] + 10))
    page.get_by_label("prox Filter Input").fill("glow")
    page.locator(".ag-row .ag-checkbox-input").first.check()
    until(page, "location.search.includes('compare') && location.search.includes('filter')")
    until(page, f"{names}.indexOf('weights') === 2")
    before, address = page.evaluate(columns), page.url
    assert next(one["width"] for one in before if one["colId"] == "lr") == 168

    make_study(root, 14, images=2, epochs=6)
    listed(page, "=== 7")
    until(page, "document.querySelector('.ag-row [col-id=test_psnr]')?.textContent.trim() > ''")
    after = page.evaluate(columns)
    known = [one["colId"] for one in before]
    assert [one for one in after if one["colId"] in known] == before
    assert page.url == address
    assert page.locator(".ag-row-selected [col-id=trial_id]").all_inner_texts() == ["0000"]
    order = [one["colId"] for one in after]
    place = order.index("val_psnr")
    assert order[place : place + 4] == ["val_psnr", "test_psnr", "ood_psnr", "folds"]
    assert {"test_ssim", "seconds", "seconds_per_image", "peak_memory_bytes"} <= set(order)
    head("test_psnr").click()
    until(page, "location.search.includes('sort=test_psnr')")


def test_what_happens_while_a_page_is_on_its_way_is_in_its_table(
    browse: Browse, serving: Callable[..., Any], tmp_path: Path
) -> None:
    root = make_study(tmp_path / "s", 3, images=2, epochs=6, statuses=["running"])
    url = origin(serving(root))
    page = browse(url)
    asked = []

    def ended(route: Any) -> None:
        if '"grid-want"' in route.request.post_data and not asked:
            asked.append(make_study(root, 3, images=2, epochs=6))
        route.continue_()

    page.route("**/_dash-update-component*", ended)
    page.get_by_role("link", name="Trials", exact=True).click()
    listed(page, "=== 3")
    until(
        page,
        "[...document.querySelectorAll('.ag-row [col-id=status]')].every((one) => one.textContent === 'completed')",
    )
    assert asked


def test_figures_that_a_study_gets_come_to_an_open_page_which_stays_as_it_is(
    browse: Browse, serving: Callable[..., Any], tmp_path: Path
) -> None:
    root = make_study(tmp_path / "s", 2, images=2, epochs=4, statuses=["completed"])
    url = origin(serving(root))
    overview, page = browse(url), browse(f"{url}/figures")
    places = "[...document.querySelectorAll('[data-plot]')].map((place) => place.dataset.plot)"
    overview.wait_for_selector('[data-plot="best-so-far"] .scatterlayer .point')
    listed(page, "=== 2")
    page.get_by_label("prox Filter Input").fill("glow")
    until(page, "location.search.includes('filter')")
    page.get_by_role("heading", name="Effects").scroll_into_view_if_needed()
    address, depth = page.url, page.evaluate("window.scrollY")
    assert depth > 0
    assert not page.evaluate(f"{places}.includes('slice-folds-1')")
    for one in (overview, page):
        one.evaluate("window.stayed = true")

    make_study(root, 8, images=2, epochs=4, statuses=["completed"], tasks=("denoise-0.1", "inpaint-9"))
    until(page, f"{places}.includes('slice-folds-1') && {places}.includes('best-so-far-2')")
    overview.wait_for_selector('[data-plot="best-so-far-2"] .scatterlayer .point')
    assert page.url == address
    assert page.evaluate("window.scrollY") > depth / 2  # not at its top again; figures above have their heights by now
    assert page.get_by_label("prox Filter Input").input_value() == "glow"
    listed(page, "=== 4")
    page.locator('[data-plot="slice-folds-1"]').scroll_into_view_if_needed()
    page.wait_for_selector('[data-plot="slice-folds-1"] .scatterlayer .point')
    assert overview.evaluate("window.stayed")
    assert page.evaluate("window.stayed")


def test_a_page_waits_with_what_is_new_while_somebody_types(
    browse: Browse, serving: Callable[..., Any], tmp_path: Path
) -> None:
    root = make_study(tmp_path / "s", 2, images=2, epochs=4, statuses=["completed"])
    page = browse(f"{origin(serving(root))}/figures")
    listed(page, "=== 2")
    page.route("**/poll*", lambda route: route.fulfill(status=204))  # nothing new yet
    make_study(root, 8, images=2, epochs=4, statuses=["completed"], tasks=("denoise-0.1", "inpaint-9"))
    page.get_by_label("prox Filter Input").click()
    page.keyboard.press("g")
    page.unroute("**/poll*")
    page.keyboard.type("low", delay=2000)
    page.wait_for_selector('[data-plot="slice-folds-1"]')
    listed(page, "=== 4")
    assert page.get_by_label("prox Filter Input").input_value() == "glow"


def test_a_page_of_what_is_still_to_come_is_there_once_it_has_come(
    browse: Browse, serving: Callable[..., Any], tmp_path: Path
) -> None:
    make_study(tmp_path / "one", 2, images=2, epochs=2)
    url = origin(serving(tmp_path))
    study, trial = browse(f"{url}/study/two/trials"), browse(f"{url}/study/two/trial/0003")
    compare = browse(f"{url}/study/one/compare")
    assert "There is no study of this name here" in study.locator("main").inner_text()
    make_study(tmp_path / "two", 2, images=2, epochs=2)
    listed(study, "=== 2")
    until(trial, "document.querySelector('main').innerText.includes('has no trial 0003 yet')")
    trial.wait_for_timeout(2500)  # it has been made again more than once
    for name in ("one", "two"):
        make_study(tmp_path / name, 4, images=2, epochs=2)
    trial.wait_for_selector("text=Run it again")
    compare.wait_for_timeout(2500)
    compare.locator("#chosen").click()
    compare.get_by_text("0003  ").click()
    until(compare, "location.search === '?compare=0003'")


def test_zoom_and_columns_stay_when_a_study_gets_more_figures(
    browse: Browse, serving: Callable[..., Any], tmp_path: Path
) -> None:
    root = make_study(tmp_path / "s", 4, images=2, epochs=4, statuses=["completed"])
    page = browse(f"{origin(serving(root))}/figures", size=(2000, 1400))
    listed(page, "=== 4")
    names = "dash_ag_grid.getApi('grid').getColumnState().map((column) => column.colId)"
    here, there = (page.locator(f".ag-header-row-column [col-id={name}]").bounding_box() for name in ("lr", "status"))
    page.mouse.move(here["x"] + 20, here["y"] + 10)
    page.mouse.down()
    page.mouse.move(there["x"] + 30, there["y"] + 10, steps=10)
    page.mouse.up()
    until(page, f"{names}.indexOf('lr') === 2")
    before, graph = {}, "document.querySelector('[data-plot=\"{}\"] .js-plotly-plot').layout.xaxis.range"
    for name in ("best-so-far", "shift"):
        page.locator(f'[data-plot="{name}"]').scroll_into_view_if_needed()
        page.wait_for_selector(f'[data-plot="{name}"] .scatterlayer .point')
        page.locator(f'[data-plot="{name}"]').hover()
        page.locator(f'[data-plot="{name}"] [data-title="Zoom"]').click()
        drag(page, name, (0.2, 0.1, 0.7, 0.9))
        before[name] = page.evaluate(graph.format(name))

    make_study(root, 8, images=2, epochs=4, statuses=["completed"], tasks=("denoise-0.1", "inpaint-9"))
    until(page, "document.querySelector('[data-plot=\"best-so-far-2\"]') !== null")
    listed(page, "=== 8")
    assert page.evaluate(f"{names}.indexOf('lr') === 2")
    for name, range in before.items():
        now = f"{name}-1"
        page.locator(f'[data-plot="{now}"]').scroll_into_view_if_needed()
        page.wait_for_selector(f'[data-plot="{now}"] .scatterlayer .point')
        assert page.evaluate(graph.format(now)) == range


def test_a_figure_is_drawn_once_its_script_has_come_over_a_slow_connection(browse: Browse, url: str) -> None:
    held: list[Any] = []
    context = browse(f"{url}/trials").context
    context.clock.install()
    context.route("**/plotly*.js", lambda route: held.append(route))
    page = browse(url, context=context)
    while not held:
        page.wait_for_timeout(50)
    context.clock.fast_forward(60_000)
    page.wait_for_timeout(500)
    for route in held:
        route.continue_()
    page.wait_for_selector('[data-plot="best-so-far"] .scatterlayer .point')
