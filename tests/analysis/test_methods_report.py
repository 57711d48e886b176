"""Studies of several methods: one label for a trial everywhere, and the table of methods and tasks."""

import io
import json
from typing import Any

import pytest
from made_up import make_study
from rich.console import Console

from flowsearch.analysis import write_report
from flowsearch.analysis.comparisons import held_against
from flowsearch.analysis.figures import SECTIONS, curves, reconstructions
from flowsearch.analysis.findings import findings
from flowsearch.analysis.standings_table import standings_table
from flowsearch.results import Results, Writer, load
from flowsearch.results.labels import label, labels
from flowsearch.results.standings import in_order, measured, standings

EXTRA: list[dict[str, Any]] = [
    {"method": "tv", "prox": None, "val_psnr": 26.0, "used_tv_weight": 0.1, "parameters": 0},
    {"method": "map", "prox": "glow", "val_psnr": 27.0, "used_gamma": 0.02, "parameters": 90_000},
    {"method": "measurement", "prox": None, "val_psnr": 20.0, "parameters": 0},
    {"method": "feedforward", "prox": "unet", "val_psnr": 26.5, "parameters": 480_000},
    {"method": "tv", "prox": None, "val_psnr": 30.0, "task": "inpaint-9", "parameters": 0},
]
NAMES = {"unrolled glow", "unrolled resnet", "unrolled unet", "tv", "map", "measurement", "feedforward unet"}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Results:
    root = make_study(tmp_path_factory.mktemp("results") / "mixed")
    results = load(root)
    blank = dict.fromkeys(("folds", "weights", "start", "end", "depth", "levels", "hidden", "last_depth", "pretrain"))
    template = results.best().drop(labels=["label"]).dropna().to_dict()
    png = results.panels["png"].iloc[0]
    with Writer(root, strict=True) as writer:
        for place, extra in enumerate(EXTRA):
            trial_id = f"01{place:02d}"
            row = template | blank | {"trial_id": trial_id, "index": 100 + place, "configuration": 100 + place} | extra
            writer.trial(row | {"test_psnr": extra["val_psnr"] - 0.5, "seconds_per_image": 0.01})
            writer.epoch(trial_id, 1, {"phase": "train", "epoch": 1, "val_psnr": extra["val_psnr"], "lr": None})
            panel = {"split": "test", "image": 0, "kind": "reconstruction", "psnr": extra["val_psnr"], "png": png}
            writer.final(trial_id, 1, {"images": [], "panels": [panel]})
    return load(root)


@pytest.mark.parametrize(
    ("method", "prox", "several", "name"),
    [
        ("unrolled", "glow", False, "glow"),
        ("unrolled", "glow", True, "unrolled glow"),
        (None, "unet", True, "unrolled unet"),
        (float("nan"), None, False, "unknown"),
        ("tv", None, True, "tv"),
        ("map", "glow", True, "map"),
        ("pnp", "resnet", True, "pnp resnet"),
        ("feedforward", "unet", False, "feedforward unet"),
    ],
)
def test_a_label_is_the_method_and_what_it_is_made_of(method: Any, prox: Any, several: bool, name: str) -> None:
    assert label(method, prox, several=several) == name


def test_a_study_of_unrolled_networks_calls_them_by_their_map(results: Results) -> None:
    assert set(results.labelled["label"]) == {"glow", "resnet", "unet"}
    assert labels([]) == []


def test_every_figure_names_every_method(mixed: Results) -> None:
    assert set(mixed.labelled["label"]) == NAMES
    for section in SECTIONS:
        for plot in section.plots(mixed):
            frame = plot.data(mixed)
            if frame.empty or "label" not in frame or section.title == "Two names at a time":
                continue
            assert set(frame["label"]) <= NAMES
            drawn = {trace.name for trace in plot.draw(frame).data} - {"best so far", "front", ""}
            drawn = {name for name in drawn if not name.endswith((" lost", " gained"))}
            assert drawn == set(frame["label"]), plot.name


def test_only_what_is_trained_by_epochs_has_a_curve(mixed: Results) -> None:
    assert set(curves.data(mixed)["label"]) == {"unrolled glow", "unrolled resnet", "unrolled unet"}


def test_the_measurement_is_shown_once(mixed: Results) -> None:
    columns = reconstructions.data(mixed, "denoise-0.1", images=1)["column"].tolist()
    assert len(columns) == len(set(columns))
    assert columns[0] == "measurement"
    assert columns[-1] == "truth"
    assert {"tv", "map", "feedforward unet", "unrolled glow"} <= set(columns)


def test_glow_is_held_against_every_method_that_reconstructs(mixed: Results) -> None:
    held = held_against(mixed)
    assert set(held["first"]) == {"unrolled glow"}
    assert set(held["second"]) == NAMES - {"unrolled glow", "measurement"}
    text = " ".join(findings(mixed))
    assert "denoise-0.1: Best unrolled glow (trial" in text
    assert "against best measurement" not in text


def test_standings_take_the_best_by_the_objective(mixed: Results) -> None:
    found = standings(mixed.completed.to_dict("records"), "val_psnr", more=True)
    assert list(found) == ["denoise-0.1", "inpaint-9"]
    assert list(found["inpaint-9"]) == ["tv"]
    best = mixed.completed[mixed.completed["task"] == "denoise-0.1"].groupby("label")["val_psnr"].max()
    assert {name: trial["val_psnr"] for name, trial in found["denoise-0.1"].items()} == best.to_dict()
    assert list(found["denoise-0.1"]) == list(best.sort_values(ascending=False).index)
    assert set(in_order(found)) == NAMES
    assert measured(found["denoise-0.1"]) == pytest.approx(20.4)
    worst = standings(mixed.completed.to_dict("records"), "val_psnr", more=False)
    assert next(iter(worst["denoise-0.1"])) == "measurement"


def test_the_reports_table_has_methods_as_rows_and_tasks_as_columns(mixed: Results) -> None:
    table = standings_table(mixed)
    assert table.count('scope="colgroup"') == 2
    assert table.count('scope="row"') == len(NAMES) + 1
    assert table.count("<td") == (len(NAMES) + 1) * 2 * 5
    page = write_report(mixed.path).read_text(encoding="utf-8")
    assert 'href="#standings"' in page
    assert "feedforward unet" in page


def test_the_terminals_tables_fit_its_width() -> None:
    from flowsearch.cli.closing import standings_tables
    from flowsearch.study.file import read
    from flowsearch.study.progress import Progress, TrialState
    from flowsearch.study.source import Source

    tasks = ("denoise-0.1", "inpaint-9", "deblur(sigma=2,noise=0.02)")
    text = f"name: x\nspace: {{method: [unrolled, tv, map, feedforward], task: {json.dumps(tasks)}}}\n"
    progress = Progress(study=read(Source("x.yaml", text)))
    for number in range(12):
        values = {"method": ("unrolled", "tv", "map", "feedforward")[number % 4], "task": tasks[number // 4]}
        trial = TrialState(number, values, progress.study.config(values).to_dict(), number, status="completed")
        trial.metrics = {"val_psnr": 20.0 + number, "test_psnr": 21.5, "ood_psnr": 19.25, "test_ssim": 0.875}
        trial.metrics |= {"seconds_per_image": 0.0123, "parameters": 25_771_456, "measurement_psnr": 18.0}
        progress.trials[number] = trial
    tables = standings_tables(progress)
    assert len(tables) == 3
    for task, table in zip(sorted(tasks), tables, strict=True):
        out = io.StringIO()
        Console(file=out, width=80).print(table)
        shown = out.getvalue()
        assert "…" not in shown
        for word in (task, "unrolled glow", "feedforward unet", "25,771,456", "0.875"):
            assert word in shown
