"""`flowsearch study list`, `show`, `export` and `flowsearch prior`, on what a study leaves."""

import csv
import io
import json
import math
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from calling import FILE, flowsearch
from made_up import make_study
from PIL import Image

from flowsearch import load as flowsearch_load
from flowsearch.cli import studies, study
from flowsearch.results import schema
from flowsearch.study import Ending, listing, load
from flowsearch.study.driver import Driver
from flowsearch.study.holding import Why
from flowsearch.study.ledger import Ledger
from flowsearch.study.listing import opened
from flowsearch.study.model_folder import export_model
from flowsearch.study.outcome import Failure
from flowsearch.study.progress import Progress, replay
from flowsearch.study.source import dump
from flowsearch.study.trainable import Report
from flowsearch.training.config import TrialConfig
from flowsearch.training.saved import load_saved


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of which two trials ended well, one failed, and one is interrupted."""
    folder = tmp_path_factory.mktemp("results") / "small"
    folder.mkdir()
    path = folder.parent / "small.yaml"
    path.write_text(FILE)
    study = load(path, ["space={prox: [resnet], folds: {int: [1, 3]}}"])
    (folder / schema.STUDY_FILE).write_text(dump(study.to_dict()))
    ledger = Ledger(folder / schema.LEDGER)
    ledger.add("started", "study")
    driver = Driver(folder, replay(study, ledger), ledger, run_trial="none:none", window=4)
    for number in range(4):
        driver.plan()
        driver.take(number, Report("started", host="here"))
        config = TrialConfig.from_dict(driver.progress.trials[number].config)
        if number == 2:
            driver.take(number, Report("raised", failure=Failure(("KeyError",), "'x'", "Traceback: the line")))
        elif number < 2:
            driver.take(number, Report("record", [final(config, 20.0 + number)]))
        if number < 3:
            driver.ended(number)
    driver.stop("by a signal")
    driver.close()
    return folder


def final(config: TrialConfig, psnr: float) -> dict:
    return {
        "phase": "final",
        "epoch": 1,
        "val_psnr": psnr,
        "test_psnr": psnr - 1,
        "test_ssim": 0.5,
        "measurement_psnr": 14.0,
        "parameters": 1000,
        "images": [],
        "panels": [],
    }


def test_to_resume_a_study_that_is_through_says_so(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    study = load(file, ["space={prox: [resnet]}", "search.trials=1"])
    (folder / schema.STUDY_FILE).write_text(dump(study.to_dict()))
    ledger = Ledger(folder / schema.LEDGER)
    driver = Driver(folder, replay(study, ledger), ledger, run_trial="none:none", window=1)
    driver.plan()
    driver.take(0, Report("started", host="here"))
    driver.take(0, Report("record", [final(TrialConfig.from_dict(driver.progress.trials[0].config), 20.0)]))
    driver.ended(0)
    driver.close()
    code, printed, said = flowsearch("study", "resume", folder)
    assert code == 0, said
    assert "nothing was left to do: 1 completed of 1 trial\n" in printed
    assert " in " not in printed.splitlines()[-2]


def test_list_names_each_study_in_a_line(root: Path) -> None:
    code, printed, _ = flowsearch("study", "list", root.parent)
    assert code == 0
    (line,) = [line for line in printed.splitlines() if "small" in line]
    for words in ("search", "3/4", "2 completed", "1 failed", "1 interrupted", "21.00 dB (trial 0001)", "ago"):
        assert words in line


@pytest.mark.parametrize(
    ("text", "words"),
    [("name: [", "study.yaml cannot be read"), (FILE.replace("trials: 4", "trials: 2"), "has fewer trials than are")],
    ids=["torn", "edited"],
)
def test_list_passes_over_what_it_cannot_read(root: Path, tmp_path: Path, text: str, words: str) -> None:
    shutil.copytree(root / schema.LEDGER, tmp_path / "torn" / schema.LEDGER)
    (tmp_path / "torn" / schema.STUDY_FILE).write_text(text)
    code, printed, _ = flowsearch("study", "list", tmp_path)
    assert (code, words in printed) == (0, True)
    assert flowsearch("study", "list", tmp_path / "nowhere")[0] == 2


def test_list_takes_a_hundred_studies(root: Path, tmp_path: Path) -> None:
    for number in range(100):
        os.symlink(root, tmp_path / f"study{number:03d}", target_is_directory=True)
    code, printed, _ = flowsearch("study", "list", tmp_path)
    assert code == 0
    assert printed.count("3/4") == 100


def test_show_has_a_row_for_each_trial(root: Path) -> None:
    code, printed, _ = flowsearch("study", "show", root, "--trials")
    assert code == 0
    rows = [line for line in printed.splitlines() if line.strip().startswith("000")]
    assert len(rows) == 4
    assert "KeyError: 'x'" in rows[2]
    assert "interrupted" in rows[3]


def test_show_one_trial_with_its_reason_and_trace(root: Path) -> None:
    code, printed, _ = flowsearch("study", "show", root, "--trial", "2")
    assert code == 0
    for words in ("trial 0002 failed", "reason: KeyError: 'x'", "prox: resnet", "Traceback: the line"):
        assert words in printed
    code, _, said = flowsearch("study", "show", root, "--trial", "9")
    assert code == 2
    assert "has no trial 9" in said


COMMANDS = [
    pytest.param(["study", "show"], id="summary"),
    pytest.param(["study", "show", "--trials"], id="trials"),
    pytest.param(["study", "show", "--trial", "2"], id="trial"),
    pytest.param(["study", "export", "--format", "json"], id="export"),
    pytest.param(["report"], id="report"),
    pytest.param(["evaluate"], id="evaluate"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_what_stands_in_somebody_s_results_is_no_command_to_the_terminal(
    command: list[str], root: Path, tmp_path: Path
) -> None:
    study, title = shutil.copytree(root, tmp_path / "theirs"), "\x1b]0;title\x1b\\\x9b2J"
    (study / schema.TRIALS / f"{title}.parquet").write_text("none")
    (ended,) = (study / schema.LEDGER).glob("*-ended-0002.json")
    ended.write_text(json.dumps(json.loads(ended.read_text()) | {"reason": f"KeyError: {title}"}))
    _, printed, said = flowsearch(*command, study)
    assert r"\x1b]0;" in printed + said
    assert not {"\x1b", "\x9b"} & set(printed + said)


@pytest.mark.parametrize("more", [[], ["--live"]], ids=["once", "live"])
def test_show_prints_what_a_run_ends_with(root: Path, more: list[str]) -> None:
    code, printed, _ = flowsearch("study", "show", root, *more)
    assert code == 0
    assert "best: trial 0001, 21.00 dB" in printed


def test_a_study_that_takes_long_to_read_is_followed_less_often(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock of its own, on which reading takes 3 seconds."""
    clock, waits, reads = [0.0], [], [0]

    def slowly(path: str) -> tuple[Progress, Ledger]:
        clock[0], reads[0] = clock[0] + 3, reads[0] + 1
        return opened(path)

    monkeypatch.setattr(listing, "opened", slowly)
    monkeypatch.setattr(listing, "is_running", lambda place: reads[0] < 3)
    monkeypatch.setattr(studies, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=waits.append))
    assert flowsearch("study", "show", root, "--live")[0] == 0
    assert waits == pytest.approx([27, 27])


def test_a_study_that_runs_is_shown_as_running(root: Path, tmp_path: Path) -> None:
    import fcntl
    import shutil

    shutil.copytree(root, tmp_path / "small")
    for path in (tmp_path / "small" / "ledger").glob("*-ended-0003.json"):
        path.unlink()
    with (tmp_path / "small" / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "1 running" in flowsearch("study", "show", tmp_path / "small")[1]
        assert "1 running" in flowsearch("study", "list", tmp_path)[1]
    assert "1 interrupted" in flowsearch("study", "list", tmp_path)[1]


def test_export_of_the_table(root: Path, tmp_path: Path) -> None:
    code, printed, _ = flowsearch("study", "export", root, "--format", "csv", "--out", tmp_path / "deep" / "t.csv")
    assert code == 0, printed
    assert list(pd.read_csv(tmp_path / "deep" / "t.csv")["status"].iloc[:3]) == ["completed", "completed", "failed"]
    rows = json.loads(flowsearch("study", "export", root, "--format", "json")[1])
    assert [row["val_psnr"] for row in rows] == [20.0, 21.0, None, None]
    latex = flowsearch("study", "export", root, "--format", "latex")[1]
    assert "\\textbf{20.00}" in latex
    assert "denoise-0.2 & measured & 14.00" in latex
    assert latex.count("\\\\") == 3
    assert flowsearch("study", "export", root, "--trial", "0001")[0] == 2


@pytest.fixture(scope="module")
def awkward(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """The study with a trial whose numbers and words are hard to write down, and what they are."""
    copy = shutil.copytree(root, tmp_path_factory.mktemp("awkward") / "small")
    values = {"lr": 1.2345678901234567e-07, "val_loss": 0.1 + 0.2, "test_psnr": math.inf, "ood_psnr": math.nan}
    values |= {"reason": 'says "no", twice\nÜber & 100% \\alpha'}
    for path in (copy / "trials").glob("*.parquet"):
        table = pq.read_table(path)
        rows = [row | values if row["trial_id"] == "0001" else row for row in table.to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    return copy, values


def test_exported_numbers_and_words_are_whole(awkward: tuple[Path, dict[str, object]]) -> None:
    folder, values = awkward

    def strict(word: str) -> object:
        raise AssertionError(f"{word} is not JSON")

    written = json.loads(flowsearch("study", "export", folder, "--format", "json")[1], parse_constant=strict)
    row = next(row for row in written if row["trial_id"] == "0001")
    assert {name: row[name] for name in values} == values | {"test_psnr": None, "ood_psnr": None}
    text = flowsearch("study", "export", folder, "--format", "csv")[1]
    cells = next(cells for cells in csv.DictReader(io.StringIO(text, newline="")) if cells["trial_id"] == "0001")
    known = {name: value for name, value in values.items() if name != "ood_psnr"}
    assert {name: type(value)(cells[name]) for name, value in known.items()} == known
    assert list(cells) == list(row)


@pytest.mark.parametrize("name", ["42", "20241127", "true", "null", "1e3", "0x10", "plain"])
def test_a_name_is_text_whatever_yaml_reads_in_it(name: str, file: Path) -> None:
    code, printed, said = flowsearch("study", "plan", file, "--name", name)
    assert (code, said) == (0, "")
    assert printed.split()[0].rstrip(":,") == name


def test_export_into_a_folder_is_refused_in_one_line(root: Path, tmp_path: Path) -> None:
    code, _, said = flowsearch("study", "export", root, "--out", tmp_path)
    assert (code, said) == (2, f"error: Is a directory: {tmp_path}\n")


def test_export_of_a_model_that_evaluate_takes(root: Path, tmp_path: Path) -> None:
    sets = [part for one in FILE_TRIAL for part in ("--set", one)]
    trained = root / schema.CHECKPOINTS / "0001"
    assert flowsearch("train", *sets, "--out", trained)[0] == 0
    best = tmp_path / "the best"
    code, printed, said = flowsearch("study", "export", root, "--model", best)
    assert code == 0, said
    assert "trial 0001 of small" in printed
    assert f"try it:  flowsearch evaluate '{best}'\n" in printed
    assert json.loads((best / "config.json").read_text())["data"]["size"] == 16
    known = json.loads((best / "provenance.json").read_text())
    assert (known["study"], known["trial"], known["metrics"]["val_psnr"]) == ("small", "0001", 21.0)
    code, printed, said = flowsearch("evaluate", best)
    assert code == 0, said
    saved = load_saved(str(best), "cpu")
    assert (saved.path, saved.config.data.size) == (best / "best.safetensors", 16)
    code, _, said = flowsearch("study", "export", root, "--model", best)
    assert (code, "not empty" in said) == (2, True)
    code, _, said = flowsearch("study", "export", root, "--model", tmp_path / "other", "--trial", "0")
    assert (code, "has left no best.safetensors" in said) == (2, True)


FILE_TRIAL = ["data.size=16", "data.train=16", "data.val=4", "data.test=4", "prox=resnet", "features=4", "folds=1"]
FILE_TRIAL += ["epochs=1", "task=denoise-0.2"]


def test_priors_are_trained_once_and_listed(tmp_path: Path) -> None:
    sets = ["data.size=16", "data.train=16", "data.val=4", "data.test=4", "depth=1", "levels=1", "hidden=4"]
    arguments = [part for one in [*sets, "prior.epochs=2"] for part in ("--set", one)]
    code, printed, said = flowsearch("prior", "train", *arguments, "--results", tmp_path)
    assert code == 0, said
    assert "prior    2" in printed
    assert "prior    1" not in flowsearch("prior", "train", *arguments, "--results", tmp_path)[1]
    code, printed, _ = flowsearch("prior", "list", "--results", tmp_path)
    assert code == 0
    for words in ("levels 1, depth 1, hidden 4", "2/2", "nobody yet", "faces 16x16"):
        assert words in printed
    assert flowsearch("prior", "train", "--set", "prox=unet", "--results", tmp_path)[0] == 2
    key = next(path.name for path in (tmp_path / "priors").iterdir())
    sheet = tmp_path / "sheet.png"
    code, printed, said = flowsearch("prior", "sample", key[:6], "--count", 5, "--results", tmp_path, "--out", sheet)
    assert code == 0, said
    assert "after 2 of 2 epochs" in printed
    with Image.open(sheet) as picture:
        assert picture.width > picture.height > 128, "the mode and five samples in two rows"
    code, _, said = flowsearch("prior", "sample", "nothing", "--results", tmp_path)
    assert code == 2
    assert key in said


def test_the_best_networks_are_named_where_there_is_no_single_one(tmp_path: Path) -> None:
    study = make_study(tmp_path / "made", trials=6, tasks=("denoise-0.1", "inpaint-9"), statuses=("completed",))
    results = flowsearch_load(study)
    named = []
    for task in results.tasks:
        best = results.best(task=task)
        named.append(f"{best['trial_id']} ({task}, {best['val_psnr']:.2f} dB)")
    for command in (("study", "export", study, "--model", tmp_path / "out"), ("evaluate", study)):
        code, _, said = flowsearch(*command)
        assert (code, said.count("\n"), said.endswith(f": {', '.join(named)}\n")) == (2, 1, True), said


@pytest.mark.parametrize("tasks", [("denoise-0.1",), ("denoise-0.1", "inpaint-9")], ids=["one task", "several tasks"])
def test_a_study_that_trains_no_network_is_said_to_have_none(tmp_path: Path, tasks: tuple[str, ...]) -> None:
    results = flowsearch_load(make_study(tmp_path / "made", trials=4, tasks=tasks, statuses=("completed",)))
    results.trials["method"] = "tv"
    with pytest.raises(ValueError, match=r"made has no best network: no completed trial trains one$"):
        export_model(results, tmp_path / "out")


def test_the_best_trial_is_not_offered_where_its_network_is_gone(tmp_path: Path) -> None:
    study = make_study(tmp_path / "made", trials=6, statuses=("completed",))
    best = flowsearch_load(study).best()["trial_id"]
    code, _, said = flowsearch("evaluate", study)
    assert (code, said.count(best)) == (2, 1)
    assert said.endswith(f"has left no network; name another trial's folder in {study / schema.CHECKPOINTS}\n")


@pytest.mark.parametrize("method", ["pnp", "tv"])
def test_what_trains_no_network_is_not_exported(root: Path, tmp_path: Path, method: str) -> None:
    """A denoiser of pnp lies in best.safetensors as well."""
    results = flowsearch_load(root)
    results.trials.loc[results.trials["trial_id"] == "0001", "method"] = method
    (root / schema.CHECKPOINTS / "0001").mkdir(parents=True, exist_ok=True)
    (root / schema.CHECKPOINTS / "0001" / "best.safetensors").write_bytes(b"a denoiser")
    with pytest.raises(ValueError, match=f"0001 is of method {method}.* for --trial: "):
        export_model(results, tmp_path / "out", "1")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("stopped", "command"),
    [
        ("signal", "go on with:  flowsearch study resume"),
        ("budget", "go on with:  flowsearch study resume"),
        ("ray", "go on with:  flowsearch study resume"),
        ("disk", "go on with:  flowsearch study resume"),
        ("failures", "then:  flowsearch study retry"),
        ("", "write it with:  flowsearch report"),
    ],
    ids=["signal", "budget", "ray", "disk", "failures", "report"],
)
def test_the_command_that_goes_on_is_quoted_for_the_shell(
    stopped: Why, command: str, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("flowsearch.analysis.write_report", Mock(side_effect=KeyboardInterrupt))
    where, progress = Path("my results/größe"), opened(root)[0]
    with pytest.raises(typer.Exit):
        study._go(lambda listener: Ending(where, progress, stopped, "a reason"), where, True, False)
    assert f"{command} 'my results/größe'\n" in "".join(capsys.readouterr())


def test_ctrl_c_while_the_report_is_written_says_how_to_write_it(monkeypatch, capsys):
    def interrupted(root: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flowsearch.analysis.write_report", interrupted)
    with pytest.raises(typer.Exit) as left:
        study._report("results/small")
    assert left.value.exit_code == 130
    assert capsys.readouterr().err.endswith("write it with:  flowsearch report results/small\n")
