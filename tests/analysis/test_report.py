"""The report: one file of whole HTML that opens offline, shows all there is, and runs nothing that a study says."""

import errno
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_up import make_study
from typer import Typer
from typer.testing import CliRunner

from flowsearch.analysis import write_report
from flowsearch.analysis.figures import GRIDS, SECTIONS, Section
from flowsearch.cli.report import report
from flowsearch.results import Results, load
from flowsearch.storage import Folder

_VOID = {"meta", "img", "input", "br", "hr", "link", "source", "base", "embed"}


class Page(HTMLParser):
    """The page's elements, their text, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.scripts: dict[str, str] = {}
        self._key: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        self._key = dict(attrs).get("id") if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            if self._key:
                self.scripts[self._key] = self.scripts.get(self._key, "") + data
        elif self.open and self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _page(study: Path) -> Page:
    return Page((study / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def written(study: Path) -> Path:
    assert write_report(study) == study / "report.html"
    return study


def test_it_is_whole_html_with_one_section_for_each_link(written: Path) -> None:
    page = _page(written)
    assert page.open == []
    anchors = [link["href"] for link in page.all("a")]
    assert anchors == [f"#{section['id']}" for section in page.all("section")]
    for name in ("found", "best-so-far", "trials", "failures", "curves", "reconstructions", "provenance"):
        assert f"#{name}" in anchors


def test_it_is_under_8_mb_and_leaves_nothing_aside(written: Path) -> None:
    assert (written / "report.html").stat().st_size < 8_000_000
    assert not list(written.glob(".report*"))


def test_it_loads_nothing_from_anywhere(written: Path) -> None:
    page = _page(written)
    for _, attributes in page.elements:
        for name in ("src", "href", "srcset", "poster", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert not page.all("link")
    css = (written / "report.html").read_text(encoding="utf-8").split("<style>")[1].split("</style>")[0]
    assert "url(" not in css
    assert "@import" not in css
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_it_shows_every_trial_and_the_panels(written: Path, results: Results) -> None:
    page = _page(written)
    values = [cell.get("data-v") for cell in page.all("td")]
    assert all(values.count(trial_id) == 1 for trial_id in results.trials["trial_id"])
    pictures = [image["src"] or "" for image in page.all("img")]
    grids = [grid for section in GRIDS for grid in section.grids(results)]
    assert len(pictures) == sum(len(grid.data(results)) for grid in grids) > 2 * 4 * 5
    assert all(picture.startswith("data:image/png;base64,") for picture in pictures)
    assert all(image["alt"] for image in page.all("img"))


def _in_order(page: Page) -> list[Section]:
    """The sections of figures as they follow each other on the page."""
    known = {section.anchor: section for section in SECTIONS}
    return [known[str(part["id"])] for part in page.all("section") if part["id"] in known]


def test_its_figures_are_readable_data(written: Path, results: Results) -> None:
    page = _page(written)
    places = [place["data-figure"] for place in page.all("div") if "data-figure" in place]
    assert places == [
        f"figure-{plot.name}"
        for section in _in_order(page)
        for plot in section.plots(results)
        if len(plot.data(results))
    ]
    for name in places:
        assert json.loads(page.scripts[str(name)])["data"]
    assert set(json.loads(page.scripts["templates"])) == {"light", "dark"}


def test_every_figure_has_a_name_of_its_own(written: Path) -> None:
    plots = [one for one in _page(written).all("div") if one.get("class") == "plot"]
    assert {one.get("role") for one in plots} == {"img"}
    names = [one.get("aria-label") or "" for one in plots]
    assert "Best so far: validation PSNR (dB) against completed trials" in names
    assert "Parallel coordinates" in names
    assert len(set(names)) == len(names)


def test_failed_trials_are_listed_with_their_reasons(written: Path) -> None:
    text = " ".join(_page(written).text)
    assert "non-finite loss at epoch 4" in text
    assert "out of memory" in text


def test_provenance_and_study_file_are_there(written: Path) -> None:
    text = " ".join(_page(written).text)
    for fact in ("versions.torch", "2.13.0", "c3c85de0f3", "sha256:5f1d0c", "flowsearch study run", "sampler: tpe"):
        assert fact in text
    assert "study resume" not in text


def test_the_command_is_one_that_a_shell_takes(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=2, epochs=2, images=2)
    command = ["/home/me/venv/bin/flowsearch", "study", "run", "my study.yaml", "--set", "lr=[1, 2]"]
    (study / "provenance.json").write_text(json.dumps({"command": command}))
    write_report(study)
    assert "flowsearch study run 'my study.yaml' --set 'lr=[1, 2]'" in " ".join(_page(study).text)


_EVIL = "</script><script>alert(1)</script><img src='http://evil.example/x.png' onerror=alert(2)>\"'&amp; <!--"


@pytest.mark.parametrize("where", ["reason", "study file", "provenance", "name", "prox"])
def test_nothing_that_a_study_says_becomes_markup(where: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=7, reason=_EVIL if where == "reason" else None)
    if where == "study file":
        (study / "study.yaml").write_text((study / "study.yaml").read_text() + f"# {_EVIL}\n")
    if where == "name":
        (study / "study.yaml").write_text(json.dumps({"name": _EVIL, "data": {"source": _EVIL, "ood": _EVIL}}))
    if where == "provenance":
        (study / "provenance.json").write_text(json.dumps({_EVIL: _EVIL, "list": [_EVIL]}))
    if where == "prox":
        from flowsearch.results import Writer

        row = load(study).best().dropna().to_dict()
        with Writer(study) as writer:
            writer.trial(row | {"prox": _EVIL, "task": _EVIL, "val_psnr": 99.0})
    write_report(study)
    page = _page(study)
    assert page.open == []
    assert [script for script in page.all("script") if not script] == [{}, {}]
    assert all((image["src"] or "").startswith("data:") and "onerror" not in image for image in page.all("img"))
    assert _EVIL in " ".join(page.text)


@pytest.mark.parametrize("status", ["pruned", "failed", "diverged"])
def test_what_effects_and_importance_leave_out_is_counted_where_they_are_shown(tmp_path: Path, status: str) -> None:
    study = make_study(tmp_path / "s", trials=20, statuses=[*["completed"] * 9, status], epochs=4, images=2)
    told = {section.title: section.said(load(study)) for section in SECTIONS}
    for title, what in (("Effects", "nothing like that happens"), ("Importance", "less important than it is")):
        assert "2 of 20 configurations were pruned, failed or diverged and have no part: a" in told[title]
        assert what in told[title]
    whole = load(make_study(tmp_path / "whole", trials=4, statuses=["completed"], epochs=4, images=2))
    assert not any("have no part" in section.said(whole) for section in SECTIONS)


@pytest.mark.parametrize(
    ("options", "said", "absent"),
    [
        pytest.param({"trials": 0}, "No trial has been recorded yet", "Curves", id="empty"),
        pytest.param({"trials": 3, "statuses": ["failed"]}, "None of 3 trials", "Reconstructions", id="failed only"),
        pytest.param({"trials": 1, "unfinished": True}, "flowsearch study resume", "Reconstructions", id="running"),
        pytest.param(
            {"trials": 4, "statuses": ["completed", "interrupted"]}, "2 interrupted", "pruned", id="interrupted"
        ),
    ],
)
def test_what_is_missing_is_said_and_the_rest_is_shown(
    options: dict[str, object], said: str, absent: str, tmp_path: Path
) -> None:
    study = make_study(tmp_path / "s", **options)  # type: ignore[arg-type]
    write_report(study)
    text = " ".join(_page(study).text)
    assert said in text
    assert absent not in text
    assert "sha256:5f1d0c" in text


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_torn_file_is_named_on_the_page(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=6)
    part = study / "trials" / "0002-1.parquet"
    part.write_bytes(part.read_bytes()[:100])
    write_report(study)
    page = _page(study)
    assert "trials/0002-1.parquet cannot be read" in " ".join(page.text)
    assert len([cell for cell in page.all("td") if cell.get("data-v") == "0003"]) == 1


def _command(*words: str) -> tuple[int, str]:
    app = Typer()
    app.command()(report)
    result = CliRunner().invoke(app, list(words))
    return result.exit_code, result.output


def test_the_command_writes_where_it_is_told(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "page.html"
    code, output = _command(str(study), "--out", str(out))
    assert code == 0
    assert str(out) in output
    assert out.is_file()


def test_where_nothing_can_be_written_the_way_out_is_said(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Folder, name: str, content: bytes) -> None:
        raise OSError(errno.EROFS, "Read-only file system", f".{name}.4711")

    monkeypatch.setattr(Folder, "put", refuse)
    code, output = _command(str(study))
    assert code == 2
    assert output == (
        f"error: report.html cannot be written to {study} (Read-only file system); "
        "flowsearch report --out FILE writes elsewhere\n"
    )


@pytest.mark.parametrize("case", ["absent", "no study", "out is a folder"])
def test_the_command_says_what_is_wrong_with_exit_code_2(case: str, study: Path, tmp_path: Path) -> None:
    words = {
        "absent": [str(tmp_path / "absent")],
        "no study": [str(tmp_path)],
        "out is a folder": [str(study), "--out", str(tmp_path)],
    }
    code, output = _command(*words[case])
    assert code == 2
    assert output.startswith("error: ")


def test_the_command_warns_of_a_torn_file_in_one_line(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=3)
    (study / "trials" / "0001-1.parquet").write_bytes(b"PAR1")
    code, output = _command(str(study))
    assert code == 0
    assert "warning: " in output
    assert "0001-1.parquet" in output


def test_several_objectives_show_their_front_and_repeats_their_means(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=24, repeats=2, statuses=("completed",), epochs=2, images=3)
    write_report(study)
    best = load(study).configurations.sort_values("val_psnr", ascending=False).iloc[0]
    text = " ".join(_page(study).text)
    assert "The best configurations by the mean over their repeats" in text
    assert f"{best['val_psnr']:.2f} ± " in text
    file = study / "study.yaml"
    file.write_text(file.read_text().replace("val_psnr: maximize", "val_psnr: maximize, parameters: minimize"))
    write_report(study)
    page = _page(study)
    text = " ".join(page.text)
    assert "The Pareto front: the configurations that no other equals or beats" in text
    smallest = load(study).configurations.sort_values(["parameters", "val_psnr"], ascending=[True, False]).iloc[0]
    assert f"{int(smallest['parameters']):,}" in text
    assert "front-parameters-val_psnr" in " ".join(str(place.get("data-figure")) for place in page.all("div"))


def test_many_tasks_have_each_their_part_and_only_some_are_open(tmp_path: Path) -> None:
    tasks = ("denoise-0.1", "denoise-0.2", "inpaint-9", "deblur-5")
    study = make_study(tmp_path / "s", trials=24, tasks=tasks, epochs=2, images=3)
    write_report(study)
    page = _page(study)
    parts = page.all("details")
    assert len(parts) % len(tasks) == 0
    assert sum("open" in part for part in parts) == len(parts) // 2
    assert " ".join(page.text).count("deblur-5") > 5


def test_a_study_of_an_older_schema_is_shown_and_said(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from flowsearch.results import schema

    study = make_study(tmp_path / "s", trials=6, epochs=2, images=2)
    for path in (study / "trials").glob("*.parquet"):
        rows = pq.read_table(path).drop_columns(["prior", "test_residual"])
        metadata = {schema.TABLE_KEY: b"trials", schema.VERSION_KEY: b"0"}
        pq.write_table(rows.replace_schema_metadata(metadata), path)
    (study / "panels" / "notes.txt").write_text("mine")
    with pytest.warns(UserWarning, match="schema version 0"):
        write_report(study)
    text = " ".join(_page(study).text)
    assert "schema version 0, older than 1" in text
    assert "panels/notes.txt is no part of the table" in text
    assert "Curves" in text
    assert "Reconstructions" in text
