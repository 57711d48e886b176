"""The paper's tables, as Markdown and LaTeX, from whatever a study has."""

import json
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from known_study import known_study
from made_up import make_study
from typer.testing import CliRunner

from flowsearch.analysis.findings import findings
from flowsearch.analysis.paper_formats import to_latex, to_markdown
from flowsearch.analysis.paper_tables import Cell, Paper, Table, paper
from flowsearch.cli import app
from flowsearch.results import Results, export, load
from flowsearch.results.forms import p_value

TASKS = {"denoise-0.1": 0.0, "inpaint-19": 5.0}
METHODS = {"glow": 29.0, "resnet": 28.0, "unet": 27.5}
AWKWARD = "own_parts:Stripes(period=3,noise=50%) & ~ ^ # $ {x} \\ <b> | * −1 Prö_x ę µm Ω日😀"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Results:
    worth = [
        (
            {"task": task, "prox": prox, "pretrain": pretrain if prox == "glow" else None},
            easy + mean - 0.8 * (not pretrain),
        )
        for (task, easy), (prox, mean), pretrain in product(TASKS.items(), METHODS.items(), (True, False))
        if pretrain or prox == "glow"
    ]
    more = "data: {source: faces, size: 32, test: 30, ood: anime}\n"
    root = tmp_path_factory.mktemp("known") / "paper"
    results = known_study(root, worth, repeats=3, of_seed=0.02, study=more)
    facts = {"git": {"commit": "abc123", "changed": True}, "cpus": 2, "processor": "A 64"}
    facts["command"] = ["/home/me/venv/bin/flowsearch", "study", "run", "my study.yaml"]
    (root / "provenance.json").write_text(json.dumps(facts))
    return load(results.path)


@pytest.fixture(scope="module")
def made(study: Results) -> Paper:
    return paper(study)


def _table(found: Paper, title: str) -> Table:
    return next(one for one in found.tables if one.title.startswith(title))


def test_tables_one_and_two_have_tasks_as_rows_and_ours_last(made: Paper) -> None:
    for title, less in (("Table I:", 0.0), ("Table II:", 2.0)):
        table = _table(made, title)
        assert table.heads == ["task", "measured", "unet", "resnet", "glow", "images", "seeds"]
        assert [row[0].text for row in table.rows] == list(TASKS)
        for row, easy in zip(table.rows, TASKS.values(), strict=True):
            means = [float(re.match(r"[\d.]+", cell.text)[0]) for cell in row[2:5]]  # type: ignore[index]
            np.testing.assert_allclose(
                means, [easy + METHODS[name] - less for name in ("unet", "resnet", "glow")], atol=0.1
            )
            assert [cell.best for cell in row] == [False, False, False, False, True, False, False]
            assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]", row[4].text)
            assert [cell.text for cell in row[5:]] == ["30", "3"]


def test_the_gain_over_each_baseline_has_interval_p_and_n(made: Paper) -> None:
    rows = [[cell.text for cell in row] for row in _table(made, "Gains in table I").rows]
    assert [row[:2] for row in rows] == [[task, f"glow − {name}"] for task in TASKS for name in ("resnet", "unet")]
    gains = [float(row[2].split()[0]) for row in rows]
    np.testing.assert_allclose(gains, [1.0, 1.5] * 2, atol=0.1)
    assert all(re.fullmatch(r"\+[\d.]+ \[\+[\d.]+, \+[\d.]+\]", row[2]) for row in rows)
    assert all(row[4:] == ["30", "3", "seeds and images"] for row in rows)


def test_table_three_is_with_and_without_pre_training(made: Paper) -> None:
    table = _table(made, "Table III")
    for row, easy in zip(table.rows, TASKS.values(), strict=True):
        assert [float(cell.text) for cell in row[1:3]] == pytest.approx([28.2 + easy, 29.0 + easy], abs=0.1)
        assert [cell.best for cell in row[1:3]] == [False, True]
        assert float(row[3].text.split()[0]) == pytest.approx(0.8, abs=0.1)


def test_table_three_is_corrected_for_its_own_rows(tmp_path: Path) -> None:
    worth = [
        ({"prox": prox, "pretrain": one}, 28.0 + 0.03 * one) for prox in ("glow", "resnet") for one in (True, False)
    ]
    results = known_study(tmp_path / "s", worth, rest=0.07)
    assert len(results.compare("pretrain", ["task", "label"])) == 2
    (row,) = _table(paper(results), "Table III").rows
    alone = results.compare("pretrain", ["task", "label"]).set_index("label").loc["glow", "p"]
    assert 0.001 < alone < 0.5
    assert row[4].text == p_value(alone).removeprefix("p = ")


def test_the_papers_numbers_stand_beside_ours(made: Paper) -> None:
    rows = [[cell.text for cell in row] for row in _table(made, "Beside the paper: PSNR").rows]
    assert len(rows) == 12  # two tasks, two sets of images, three networks
    assert rows[0][:4] == ["denoise-0.1", "test", "glow", "29.06"]
    assert ["inpaint-19", "out of distribution", "unet", "23.84"] in [row[:4] for row in rows]
    for *_, theirs, here, difference in rows:
        assert float(difference.replace("−", "-")) == pytest.approx(float(here.split()[0]) - float(theirs), abs=0.011)
    rows = [[cell.text for cell in row] for row in _table(made, "Beside the paper: gains").rows]
    assert [row[:4] for row in rows] == [
        ["denoise-0.1", "test", "Glow over resnet, the better baseline", "+1.09"],
        ["denoise-0.1", "out of distribution", "Glow over resnet, the better baseline", "+0.13"],
        ["inpaint-19", "test", "Glow over resnet, the better baseline", "+1.99"],
        ["inpaint-19", "out of distribution", "Glow over resnet, the better baseline", "+0.21"],
        ["denoise-0.1", "test", "pre-training of the Glow", "+1.14"],
        ["inpaint-19", "test", "pre-training of the Glow", "+1.79"],
    ]
    assert [float(row[4].split()[0]) for row in rows] == pytest.approx([1.0] * 4 + [0.8] * 2, abs=0.15)
    assert all(re.search(r" \[\+[\d.]+, \+[\d.]+\]$", row[4]) for row in rows)


def test_the_tables_of_several_studies_come_one_after_another(study: Results, tmp_path: Path) -> None:
    other = known_study(tmp_path / "other", [({"prox": "unet"}, 27.0)])
    out = tmp_path / "results.md"
    told = CliRunner().invoke(app, ["report", str(study.path), str(other.path), "--format", "md", "--out", str(out)])
    assert told.exit_code == 0, told.output
    assert out.read_text() == f"{to_markdown(paper(study))}\n{to_markdown(paper(other))}"
    told = CliRunner().invoke(app, ["report", str(study.path), str(other.path)])
    assert told.exit_code == 2
    assert "an HTML report is about one study" in told.stderr


def test_settings_and_provenance_are_there(made: Paper) -> None:
    settings = _table(made, "Settings")
    rows = [[cell.text for cell in row] for row in settings.rows]
    assert [row[:2] for row in rows] == [[task, name] for task in TASKS for name in (*METHODS, "glow")]
    assert rows[0][:3] == ["denoise-0.1", "glow", "0000"]
    assert [rows[place][settings.heads.index("pretrain")] for place in (0, 3)] == ["yes", "no"]  # both of table III
    assert "pretrain" not in settings.caption
    assert "with or without pre-training" in settings.caption
    assert settings.rows[0][-1].text == "2"  # Glows of the task, with and without pre-training
    notes = dict(made.notes)
    assert notes["machine"] == "A 64, 2 CPUs"
    assert "trials on" not in notes, "no trial says what it ran on"
    assert notes["commit"] == "abc123 with uncommitted changes"
    assert notes["command"] == "flowsearch study run 'my study.yaml'"
    assert "source faces" in notes["data"]
    assert notes["chosen by"].startswith("validation PSNR, the mean over its repeats")


def test_what_trials_ran_on_is_there_where_it_is_not_the_machine_of_the_study(tmp_path: Path) -> None:
    results = known_study(tmp_path / "s", [({"device": "NVIDIA L4"}, 27.0), ({}, 28.0)])
    command = ["/home/me/flowsearch/__main__.py", "study", "run", "a.yaml"]  # as `python -m flowsearch` has it
    for processor, said in (("A 64", "NVIDIA L4"), ("NVIDIA L4", None)):
        facts = {"cpus": 2, "processor": processor, "command": command}
        (tmp_path / "s" / "provenance.json").write_text(json.dumps(facts))
        notes = dict(paper(load(results.path)).notes)
        assert notes.get("trials on") == said
        assert notes["command"] == "flowsearch study run a.yaml"


def test_studies_of_other_images_have_their_source_in_the_settings(tmp_path: Path) -> None:
    sources = {"denoise-0.1": "faces", "deblur-5": "mine"}
    for task, source in sources.items():
        known_study(tmp_path / source, [({"prox": "unet", "task": task, "source": source}, 27.0)])
    settings = _table(paper(load(*(tmp_path / source for source in sources.values()))), "Settings")
    shown = settings.heads.index("source")
    assert {row[0].text: row[shown].text for row in settings.rows} == sources
    assert "source" not in settings.caption


def test_what_a_study_has_not_is_left_out(tmp_path: Path) -> None:
    found = paper(known_study(tmp_path / "s", [({"prox": "unet"}, 27.0)]))
    assert [table.title.split(":")[0] for table in found.tables] == [
        "Table I",
        "Table II",
        "Beside the paper",
        "Settings",
    ]


def test_a_study_without_results_says_so(tmp_path: Path) -> None:
    found = paper(load(make_study(tmp_path / "s", trials=2, statuses=["failed"])))
    assert found.tables == []
    assert "No trial was completed" in to_markdown(found)
    assert "No trial was completed" in to_latex(found)


@pytest.mark.parametrize(
    ("objectives", "said"),
    [
        ((float("nan"), 28.0), "without objective: 1 of 2 completed configurations has no val\\_psnr"),
        ((float("nan"), float("nan")), "No completed trial has the objective val\\_psnr, so there are no tables."),
    ],
    ids=["one has none", "none has it"],
)
def test_what_has_no_objective_is_said(tmp_path: Path, objectives: tuple[float, float], said: str) -> None:
    pairs = zip(("glow", "resnet"), objectives, strict=True)
    results = known_study(tmp_path / "s", [({"prox": prox, "val_psnr": value}, 28.0) for prox, value in pairs])
    assert said in to_markdown(paper(results))
    assert re.search("has (the objective|no) val_psnr", " ".join(findings(results)))
    if np.isnan(objectives).all():
        with pytest.raises(ValueError, match="trials that have val_psnr, and s has none"):
            results.best()
        with pytest.raises(ValueError, match="no completed trial has val_psnr, so"):
            export.to_latex(results)


def test_a_study_without_test_images_says_so(tmp_path: Path) -> None:
    results = load(make_study(tmp_path / "s", trials=3, epochs=1, images=0, panels=0, statuses=("completed",)))
    assert "Of no test image is there a result, so tables I to III are left out." in to_markdown(paper(results))


def _awkward() -> Paper:
    table = Table(f"T: {AWKWARD}", AWKWARD, ["task", "dB"], [[Cell(AWKWARD), Cell("1.00 [−0.5, 2.5]", best=True)]])
    return Paper(AWKWARD, AWKWARD, [table], [("command", AWKWARD + "\n% next line")])


@pytest.mark.parametrize("own", [True, False], ids=["a study", "awkward names"])
def test_markdown_tables_have_as_many_cells_in_each_row(made: Paper, own: bool) -> None:
    text = to_markdown(made if own else _awkward())
    blocks = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == (8 if own else 1)
    for block in blocks:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.strip().splitlines()}
        assert len(counts) == 1
    assert "<b>" not in text.replace("\\<b\\>", "")


@pytest.mark.parametrize("own", [True, False], ids=["a study", "awkward names"])
def test_latex_is_balanced_and_escaped(made: Paper, own: bool) -> None:
    text = to_latex(made if own else _awkward())
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    for name in ("table", "tabular"):
        assert body.count(f"\\begin{{{name}}}") == body.count(f"\\end{{{name}}}") == (8 if own else 1)
    plain = re.sub(r"\\[\\_&%#${}]", "", body)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert own or all(text in body for text in ("Prö", "(U+0119)", r"$\Omega$(U+65E5)(U+1F600)"))
    assert body.isascii() or set(body) - set(map(chr, range(128))) <= set("öµ")
    assert not re.search(r"[%#]", plain.replace("{!}{%", ""))
    assert "−" not in body
    for tabular in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", body, re.DOTALL):
        rows = [line for line in tabular[1].splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {len(tabular[0]) - 1}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs and graphicx")
def test_latex_compiles(made: Paper, tmp_path: Path) -> None:
    packages = "\\usepackage[utf8]{inputenc}\\usepackage{booktabs}\\usepackage{graphicx}"
    for name, found in (("own", made), ("awkward", _awkward())):
        body = f"\\documentclass{{article}}{packages}\\begin{{document}}\n{to_latex(found)}\n\\end{{document}}\n"
        (tmp_path / f"{name}.tex").write_text(body, encoding="utf-8")
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")


@pytest.mark.parametrize(
    ("form", "name", "start"), [("md", "report.md", "# paper"), ("latex", "report.tex", "% paper")]
)
def test_the_command_writes_the_tables(study: Results, form: str, name: str, start: str) -> None:
    done = CliRunner().invoke(app, ["report", str(study.path), "--format", form])
    assert done.exit_code == 0, done.output
    assert (study.path / name).read_text(encoding="utf-8").startswith(start)
    assert done.output == f"report: {study.path / name}\n"


def test_the_command_prints_the_tables_and_nothing_else(study: Results, made: Paper, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(study.path), "--format", "md", "--out", "-"])
    assert done.exit_code == 0
    assert done.stdout == to_markdown(made)
    other = CliRunner().invoke(app, ["report", str(study.path), "--format", "latex", "--out", str(tmp_path / "t.tex")])
    assert other.exit_code == 0
    assert (tmp_path / "t.tex").is_file()
    assert CliRunner().invoke(app, ["report", str(study.path), "--format", "docx"]).exit_code == 2
