"""The pages of the dashboard, as the browser gets them, of studies as they come, change and go."""

import html
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from known_study import known_study
from looking import aged, text_of
from made_up import make_study

from flowsearch.analysis.dashboard import Used, plots, table
from flowsearch.analysis.dashboard.address import Address
from flowsearch.analysis.dashboard.compare import Compare, chosen
from flowsearch.analysis.dashboard.library import Library
from flowsearch.analysis.dashboard.pages import Pages
from flowsearch.analysis.dashboard.pictures import picture
from flowsearch.analysis.dashboard.plots import draw, sections
from flowsearch.analysis.dashboard.server import wsgi
from flowsearch.analysis.dashboard.trial import TrialPage
from flowsearch.analysis.dashboard.watch import Watched
from flowsearch.analysis.report import render
from flowsearch.results import Results, load, schema

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


PATHS = ("/", "/trials", "/figures", "/compare", "/trial/0000", "/compare?compare=0000-0001")


def everything(root: Path) -> dict[str, str]:
    pages = Pages(Library(root))
    return {path: text_of(pages, *path.partition("?")[::2]) for path in PATHS}


def test_an_empty_study_says_so(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: nothing yet\n")
    shown = everything(tmp_path)
    assert "No trial has been recorded yet" in shown["/"]
    assert "no trial 0000 yet" in shown["/trial/0000"]


def test_a_study_of_failures_only_shows_why(tmp_path: Path) -> None:
    root = make_study(tmp_path / "s", 4, images=2, epochs=2, statuses=["failed"], reason="KeyError: 'x'")
    shown = everything(root)
    assert "No trial has been completed yet" in shown["/"]
    assert "KeyError: 'x'" in shown["/"]
    assert "KeyError: 'x'" in shown["/trial/0000"]
    for section in sections(Watched(root).view()):
        for piece in section.pieces:
            draw(Watched(root), piece.name, (), None)


def test_a_torn_and_a_foreign_file_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    root = make_study(tmp_path / "s", 6, images=2, epochs=2)
    (root / "trials" / "0099-1.parquet").write_bytes(b"PAR1 torn")
    (root / "images" / "0000-9.parquet").write_bytes(b"PAR1 torn")
    (root / "trials" / "notes.txt").write_text("mine")
    shown = everything(root)
    assert "0099-1.parquet" in shown["/"]
    assert "notes.txt" in shown["/"]
    assert "6 of 6 trials done" in shown["/"]
    assert "gain over the measurements" in shown["/trial/0000"]


def test_figures_of_a_selection_know_only_its_trials(study: Path) -> None:
    watched = Watched(study)
    whole = draw(watched, "best-so-far", (), None)
    part = draw(watched, "best-so-far", (), ["0000", "0001"])
    assert whole.figure is not None
    assert part.figure is not None
    assert part.digest != whole.digest
    ids = {one for trace in part.figure["data"] for one in trace.get("customdata", ())}
    assert ids == {"0000", "0001"}
    assert draw(watched, "best-so-far", (), []).figure is None


def test_lines_are_in_the_order_in_which_trials_were_chosen(study: Path) -> None:
    for name in ("compare/psnr", "compare/fold-psnr"):
        made = draw(Watched(study), name, ["0002", "0000"], None).figure
        assert made is not None
        assert [trace["name"] for trace in made["data"]] == ["trial 0002", "trial 0000"]


def test_a_figure_is_called_as_in_the_report(study: Path) -> None:
    watched = Watched(study)
    heard = re.findall(r'role="img" aria-label="([^"]*)" data-figure="figure-([^"]*)"', render(load(study)))
    assert len(heard) > 5
    for name, figure in heard:
        assert draw(watched, figure, [], None).spoken == html.unescape(name)


def test_trials_of_different_tasks_are_not_judged_against_each_other(tmp_path: Path) -> None:
    two = ("denoise-0.1", "inpaint-9")
    root = make_study(tmp_path / "s", 4, images=8, epochs=2, tasks=two, statuses=["completed"])
    tasks = load(root).trials.set_index("trial_id")["task"]
    (one, other), (alone, _) = (tasks.index[tasks == task] for task in two)
    pages = Pages(Library(root))
    shown = text_of(pages, "/compare", f"?compare={one},{alone},{other}")
    assert f"{one} against {other}" in shown
    assert f"against {alone}" not in shown
    assert "Trials of different tasks are not paired" in shown
    for task in two:
        assert f"Test images, {task}" in shown
    made = Compare(Watched(root), Address(page="compare", chosen=(one, alone, other))).table()
    bold = set(re.findall(r"B\('([^']+)'\)", repr(made)))
    psnr = load(root).trials.set_index("trial_id")["val_psnr"]
    assert f"{psnr[[one, other]].max():.2f}" in bold
    assert f"{psnr[alone]:.2f}" not in bold
    assert "These trials are of different tasks" in text_of(pages, "/compare", f"?compare={one},{alone}")


def test_what_is_written_alike_is_equally_good(study: Path) -> None:
    watched = Watched(study)
    trials = load(study).trials.set_index("trial_id").loc[["0000", "0001"]]
    assert (trials["test_ssim"].round(3) == 0.85).all()
    made = repr(Compare(watched, Address(chosen=("0000", "0001"))).table())
    assert made.count("B('0.850')") == 2


def test_rates_that_differ_beyond_the_digits_shown_are_not_called_the_same(tmp_path: Path) -> None:
    root = known_study(tmp_path / "s", [({"lr": 0.0012341}, 29.0), ({"lr": 0.0012342}, 28.0)], images=2).path
    shown = text_of(Pages(Library(root)), "/compare", "?compare=0000,0001")
    assert "0.0012341" in shown
    assert "0.0012342" in shown


def test_numbers_over_an_image_that_is_not_finite_are_unknown_and_it_is_said(tmp_path: Path) -> None:
    root = known_study(tmp_path / "s", [({}, 29.0), ({}, 28.0)], lost=[(0, 1)]).path
    pages = Pages(Library(root))
    page = text_of(pages, "/trial/0000")
    assert "1 of 30 test images; means over them are unknown" in page
    assert "gain over the measurements" not in page
    assert "gain out of distribution" in page
    assert "not finite" not in text_of(pages, "/trial/0001")
    shown = text_of(pages, "/compare", "?compare=0000,0001")
    assert "Not finite, so that means over them are unknown: trial 0000: 1 of 30 test images. Mean PSNR" in shown
    assert shown.count("0000 against 0001") == 1


def test_better_and_worse_are_corrected_for_all_rows_of_the_table(tmp_path: Path) -> None:
    """Of seven equals two intervals leave zero out by chance, among the 14 of the table."""
    worth = [({}, mean) for mean in (29.0, 28.0, *[29.0] * 6)]
    root = known_study(tmp_path / "s", worth, images=40, of_image=0.2).path
    made = repr(
        Compare(Watched(root), Address(page="compare", chosen=tuple(f"000{i}" for i in range(8)))).differences()
    )
    assert made.count(" against ") == 14
    assert (made.count("Td('better'"), made.count("Td('worse'"), made.count("'no clear difference'")) == (2, 0, 12)


def test_pictures_are_found_by_their_address(study: Path) -> None:
    watched = Watched(study)
    panels = load(study).panels
    row = panels[(panels["trial_id"] == "0000") & (panels["kind"] == "reconstruction")].iloc[0]
    key = ("0000", int(row["attempt"]), row["split"], int(row["image"]))
    assert picture(watched, *key, "reconstruction") == row["png"]
    assert picture(watched, *key, "fold-9") is None
    assert picture(watched, "9999", *key[1:], "truth") is None


def test_a_picture_has_another_address_in_a_study_made_again_under_its_name(tmp_path: Path) -> None:
    def addresses(seed: int) -> set[str]:
        root = make_study(tmp_path / "s", 1, seed, images=2, epochs=2, ood=0, panels=1)
        found = set(
            re.findall(r"/picture/-/0000/1/test/0/reconstruction[^\"]*", text_of(Pages(Library(root)), "/trial/0000"))
        )
        shutil.rmtree(root)
        return found

    first, again = addresses(0), addresses(1)
    assert (len(first), len(again)) == (1, 1)
    assert first.isdisjoint(again)
    assert addresses(0) == first


def test_a_browser_keeps_a_picture_under_no_other_one_s_address(tmp_path: Path) -> None:
    def addresses(seed: int) -> list[str]:
        root = make_study(tmp_path / "s", 1, seed, images=2, epochs=2, ood=0, panels=1)
        return re.findall(
            r"/picture/-/0000/1/test/0/reconstruction[^\"]*", text_of(Pages(Library(root)), "/trial/0000")
        )

    [first] = addresses(0)
    shutil.rmtree(tmp_path / "s")
    [again] = addresses(1)
    browser = wsgi(Library(tmp_path / "s")).test_client()
    assert "immutable" in browser.get(again, base_url="http://localhost").headers["Cache-Control"]
    assert browser.get(first, base_url="http://localhost").headers["Cache-Control"] == "no-store"


def test_the_budget_is_shown_as_it_is_told(study: Path) -> None:
    pages = Pages(Library(study), lambda path, running: [Used("GPU time", "GPU-hours", 2.5, 10.0)])
    assert "2.5 of 10 GPU-hours" in text_of(pages, "/")


def test_the_ledger_knows_what_was_spent(tmp_path: Path) -> None:
    from flowsearch.cli.dashboard import _spent
    from flowsearch.study.ledger import Ledger
    from flowsearch.study.moment import between

    root = make_study(tmp_path / "s", 2, images=2, epochs=2)
    assert list(_spent(root, False)) == []
    (root / "study.yaml").write_text("name: s\nbudget: {hours: 5, gpu_hours: 10, usd: null}\n")
    ledger = Ledger(root / schema.LEDGER)
    ledger.add("started", "study")
    ledger.add("started", "0000", attempt=1, gpu=0.5)
    assert [(used.unit, used.allowed) for used in _spent(root, True)] == [("hours", 5.0), ("GPU-hours", 10.0)]
    assert all(0 <= used.used < 0.1 for used in _spent(root, True))
    ledger.add("stopped", "study", reason="finished")
    over = Ledger(root / schema.LEDGER).events
    assert _spent(root, False)[0].used == between(over[0].at, over[-1].at) / 3600 > 0


def test_a_folder_of_studies_shows_each_and_those_that_come_later(study: Path, tmp_path: Path) -> None:
    pages = Pages(Library(tmp_path))
    assert "no studies" in text_of(pages, "/")
    shutil.copytree(study, tmp_path / "one")
    (tmp_path / "priors").mkdir()
    (tmp_path / "other.txt").touch()
    shown = text_of(pages, "/")
    assert "/study/one" in shown
    assert "priors" not in shown
    assert "14 of 14 trials done" in text_of(pages, "/study/one")
    assert "no study of this name" in text_of(pages, "/study/two/trials")
    assert "no study of this name" in text_of(pages, "/study/..%2Fone")


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        Library(tmp_path / "nowhere")


def test_an_empty_folder_becomes_a_study_and_a_study_a_folder_of_them(study: Path, tmp_path: Path) -> None:
    root = tmp_path / "results"
    root.mkdir()
    pages = Pages(Library(root))
    assert pages.library.several
    assert "no studies" in text_of(pages, "/")
    shutil.copytree(study, root, dirs_exist_ok=True)
    assert not pages.library.several
    assert "14 of 14 trials done" in text_of(pages, "/")

    shutil.rmtree(root)
    assert not pages.library.several  # it may come back
    assert "There is no study of this name here" in text_of(pages, "/trials")
    shutil.copytree(study, root / "one")
    assert pages.library.several
    assert "/study/one" in text_of(pages, "/")
    assert "14 of 14 trials done" in text_of(pages, "/study/one")


@pytest.mark.parametrize("path", ["/", "/trials", "/study/one", "/study/none"])
def test_a_page_is_not_made_again_before_something_has_changed(study: Path, tmp_path: Path, path: str) -> None:
    shutil.copytree(study, tmp_path / "one")
    aged(tmp_path / "one")
    browser, pages = wsgi(Library(tmp_path)).test_client(), Pages(Library(tmp_path))
    where = pages.where(pages.address(path, ""), path, "")
    asked = f"/poll?study={where['study']}&known={where['version']}"
    assert browser.get(asked, base_url="http://localhost").status_code == 204


def test_what_changes_while_a_page_is_made_is_asked_for_again(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "one"
    shutil.copytree(study, root)
    aged(root)

    def made(self: Pages, address: Address) -> str:
        os.utime(root / schema.EPOCHS, (time.time() - 50,) * 2)
        return "as it was before"

    monkeypatch.setattr(Pages, "content", made)
    browser = wsgi(Library(root)).test_client()
    outputs = [("page", "children"), ("where", "data"), ("state", "data")]
    request = {
        "output": "..page.children...where.data...state.data..",
        "outputs": [{"id": name, "property": what} for name, what in outputs],
        "inputs": [
            {"id": "location", "property": "pathname", "value": "/"},
            {"id": "location", "property": "search", "value": ""},
            {"id": "again", "property": "data", "value": None},
        ],
        "changedPropIds": ["location.pathname"],
    }
    answer = browser.post("/_dash-update-component", json=request, base_url="http://localhost").json
    version = answer["response"]["where"]["data"]["version"]
    assert browser.get(f"/poll?study=&known={version}", base_url="http://localhost").status_code == 200


@pytest.mark.usefixtures("at_once")
def test_trials_of_an_address_are_compared_once_they_have_come(tmp_path: Path) -> None:
    root = make_study(tmp_path / "s", 2, images=2, epochs=2)
    pages = Pages(Library(root))
    search = "?compare=0003,0000"
    shown = text_of(pages, "/compare", search)
    assert "as soon as two of them" in shown
    assert '"value": ["0003", "0000"]' in shown
    assert "0003  not recorded yet" in shown
    make_study(root, 4, images=2, epochs=2)
    with pages.of({"pathname": "/compare", "search": search}) as (address, watched):
        assert watched is not None
        assert "0003 against 0000" in repr(pages.live("compare-differences", address, watched))
        assert draw(watched, "compare/psnr", chosen(watched.view(), address), None).figure is not None


def test_what_figures_there_are_is_told_once_for_each_state_of_the_study(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def counted(results: Results) -> Iterator[plots.Shown]:
        told.append(results)
        yield from sections(results)

    monkeypatch.setattr(plots, "sections", counted)
    browser = wsgi(Library(study)).test_client()
    assert browser.get("/poll?study=&page=figures", base_url="http://localhost").status_code == 200
    assert told == []
    watched = Watched(study)
    view = watched.view()
    monkeypatch.setattr(watched, "view", lambda ids=None: view)
    for name in ("best-so-far", "shift"):
        draw(watched, name, (), None)
    assert told == [view]


def test_one_thread_at_a_time_computes_with_a_study_s_tables(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, most = [], []

    def drawn(*_: object) -> plots.Drawn:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        return plots.Drawn("empty")

    monkeypatch.setattr(plots, "draw", drawn)
    monkeypatch.setattr(Pages, "_page", drawn)
    browser = wsgi(Library(study))

    def asked(place: int) -> int:
        own = {"name": f"figure-{place}", "type": "plot-want"}
        data = own | {"type": "plot-data"}
        where = {"pathname": "/figures", "search": ""}
        request = {
            "output": '{"name":["MATCH"],"type":"plot-data"}.data',
            "outputs": {"id": data, "property": "data"},
            "inputs": [{"id": own, "property": "data", "value": {"ids": None}}],
            "state": [
                {"id": own, "property": "id", "value": own},
                {"id": data, "property": "data", "value": None},
                {"id": "where", "property": "data", "value": where},
            ],
            "changedPropIds": [json.dumps(own, separators=(",", ":")) + ".data"],
        }
        client = browser.test_client()
        return client.post("/_dash-update-component", json=request, base_url="http://localhost").status_code

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(asked, range(6))) == [200] * 6
    assert most == [1] * 6


@pytest.mark.usefixtures("at_once")
def test_what_a_study_made_again_no_longer_has_leaves_an_open_page(tmp_path: Path) -> None:
    root = make_study(tmp_path / "s", 3, images=2, epochs=2)
    pages = Pages(Library(root))
    where = {"pathname": "/trial/0002", "search": ""}
    before = table.rows(load(root), ["trial_id", "lr"])
    with pages.of(where) as (address, watched):
        assert "Trial 0002" in repr(pages.live("trial-head", address, watched))
    shutil.rmtree(root)
    make_study(root, 2, 1, images=2, epochs=2)
    with pages.of(where) as (address, watched):
        assert "has no trial 0002 any more" in repr(pages.live("trial-head", address, watched))
        assert pages.live("trial-numbers", address, watched) is None
    after = table.rows(load(root), ["trial_id", "lr"])
    made, now = table.changes(after, table.digests(before))
    assert (made["update"], made["add"], made["remove"]) == (after, [], [{"trial_id": "0002"}])
    assert now == table.digests(after)


def test_a_section_that_fails_is_not_taken_for_a_trial_that_is_gone(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrialPage, "numbers", lambda self: self.trial["no such column"])
    with (
        Pages(Library(study)).of({"pathname": "/trial/0000", "search": ""}) as (address, watched),
        pytest.raises(KeyError, match="no such column"),
    ):
        Pages(Library(study)).live("trial-numbers", address, watched)
