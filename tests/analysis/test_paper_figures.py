"""The paper's figures 2 to 5 as files beside its tables, and whose pictures are written."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from made_up import make_study, png
from PIL import Image
from typer.testing import CliRunner

from flowsearch.analysis import report_text, write_report
from flowsearch.analysis.figures import reconstructions
from flowsearch.analysis.figures.grid import Head, Picture
from flowsearch.analysis.figures.sheet import sheet
from flowsearch.analysis.paper_figures import is_drawn, paper_figures
from flowsearch.cli import app
from flowsearch.results import Results, load
from flowsearch.results.schema import STUDY_FILE

NAMES = [f"quickstart-figure-{number}.png" for number in (2, 3, 4, 5)]
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
SHOWN = {"md": r"\]\((.+?\.png)\)", "latex": r"\\includegraphics\[.*?\]{(.+?)}"}


def _opened(written: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(written)).convert("RGB"))


def _contains(page: np.ndarray, image: np.ndarray) -> bool:
    high, wide = image.shape[:2]
    corner = (page[: len(page) - high + 1, : page.shape[1] - wide + 1] == image[0, 0]).all(axis=-1)
    return any(np.array_equal(page[y : y + high, x : x + wide], image) for y, x in np.argwhere(corner))


def test_a_sheet_holds_every_picture_enlarged_and_nothing_for_what_is_missing() -> None:
    other = 255 - PIXELS
    page = _opened(
        sheet(
            [Head("one"), Head("two")],
            [[Picture(png(PIXELS / 255), "21.50"), None], [Picture(b"no picture"), Picture(png(other / 255))]],
            ["denoise-0.1", ""],
        )
    )
    large = [np.kron(one, np.ones((7, 7, 1), np.uint8)) for one in (PIXELS, other)]
    assert all(_contains(page, one) for one in large)
    assert _opened(sheet([Head("one")], [[Picture(b"no picture")], [None]], ["", ""])).min() < 255  # the head is there


def test_the_figures_show_what_the_papers_show(results: Results) -> None:
    found = paper_figures(results)
    assert [one.file for one in found] == NAMES
    for one, split, by in ((found[0], "test", "label"), (found[2], "ood", "label"), (found[3], "test", "pretrain")):
        frame = reconstructions.data(results, "denoise-0.1", split, 2, by=by)
        page = _opened(one.png)
        for picture in frame["png"]:
            small = _opened(picture)
            zoom = round(112 / len(small))
            assert _contains(page, np.kron(small, np.ones((zoom, zoom, 1), np.uint8)))


def test_the_columns_go_from_the_measurement_by_the_baselines_and_ours_to_the_truth(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(
        "flowsearch.analysis.paper_figures.sheet",
        lambda heads, rows, sides: seen.append([head.title for head in heads]) or b"",
    )
    paper_figures(results)
    assert seen[0] == seen[2] == ["measurement", "resnet", "unet", "glow", "truth"]
    assert seen[3] == ["measurement", "pretrain: no", "pretrain: yes", "truth"]


@pytest.mark.parametrize("form", SHOWN)
def test_they_lie_beside_the_tables_which_show_them(study: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "results.txt"
    done = CliRunner().invoke(app, ["report", str(study), "--format", form, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert re.findall(SHOWN[form], out.read_text(encoding="utf-8")) == NAMES
    assert sorted(path.name for path in tmp_path.glob("*.png")) == NAMES
    assert "figure-2" not in report_text(study, form)


def test_pictures_of_people_are_written_only_when_asked_for(study: Path, tmp_path: Path) -> None:
    people = make_study(tmp_path / "people", trials=3)
    text = (people / STUDY_FILE).read_text()
    (people / STUDY_FILE).write_text(text.replace("ood: anime", "ood: celeba"))
    out = tmp_path / "out" / "results.md"
    out.parent.mkdir()
    write_report([study, people], out, "md")
    assert sorted(path.name for path in out.parent.glob("*.png")) == NAMES
    write_report(people, out, "md", pictures=True)
    assert {path.name.partition("-")[0] for path in out.parent.glob("*.png")} == {"quickstart", "people"}
    for source, prior, drawn in (("faces", "anime", True), ("faces", "ffhq", False), ("celeba", None, False)):
        (people / STUDY_FILE).write_text(f"data: {{source: {source}, prior: {prior or 'null'}}}\n")
        assert is_drawn(load(people)) == drawn
    (people / STUDY_FILE).unlink()
    assert not is_drawn(load(people))


def test_another_method_with_a_prior_is_no_pretrained_glow(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    table = results.configurations
    other = table.assign(label=table["label"].where(table["pretrain"] != True, "map"))  # noqa: E712
    monkeypatch.setitem(vars(results), "configurations", other)
    assert [one.file for one in paper_figures(results)] == NAMES[:3]


def test_none_can_be_asked_for_too(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.md"
    done = CliRunner().invoke(app, ["report", str(study), "--format", "md", "--no-pictures", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert [path.name for path in tmp_path.iterdir()] == ["results.md"]
    done = CliRunner().invoke(app, ["report", str(study), "--pictures"])
    assert done.exit_code == 2
    assert "an HTML report has its pictures inside" in done.stderr


def test_figures_of_two_studies_of_one_name_are_refused(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.md"
    with pytest.raises(ValueError, match="same name"):
        write_report([study, study], out, "md")
    assert not list(tmp_path.iterdir())


def test_a_study_without_pictures_has_no_figures(tmp_path: Path) -> None:
    assert paper_figures(load(make_study(tmp_path / "none", trials=3, panels=0))) == []
    assert paper_figures(load(make_study(tmp_path / "failed", trials=2, statuses=("failed",)))) == []
