"""What a person sees of a study."""

import io
from unittest.mock import Mock

import pytest
from rich.console import Console

from flowsearch.cli import live
from flowsearch.cli.live import LiveView, prox_table, short, summarize, view
from flowsearch.study.priors import PriorState
from flowsearch.study.progress import Event, Progress, TrialState


@pytest.fixture
def progress(study_of):
    study = study_of("search.trials=4")
    progress = Progress(study=study, slots=2)
    for number, (prox, status, psnr) in enumerate(
        [("glow", "completed", 28.0), ("unet", "completed", 27.0), ("glow", "failed", None), ("unet", "running", 26.0)]
    ):
        values = {"prox": prox, "folds": 2, "weights": "tied", "lr": 5e-4}
        trial = TrialState(number, values, study.config(values).to_dict(), status=status)
        if psnr is not None:
            trial.metrics = {
                "val_psnr": psnr,
                "test_psnr": psnr - 0.5,
                "parameters": 4_370_000,
                "measurement_psnr": 20.0,
            }
        trial.reason = "out of memory" if status == "failed" else None
        progress.trials[number] = trial
    progress.trials[3].phase, progress.trials[3].epoch, progress.trials[3].current = "train", 2, {"val_psnr": 26.0}
    return progress


def printed(draw, **options) -> str:
    console = Console(file=io.StringIO(), width=80, **options)
    draw(console)
    return console.file.getvalue()


def test_the_summary_fits_a_terminal_of_80_columns(progress):
    text = printed(lambda console: summarize(console, progress))
    assert "…" not in text
    for word in (
        "glow",
        "28.00",
        "27.50",
        "4,370,000",
        "best: trial 0000",
        "20.00 dB",
        "trial 0002 failed: out of memory",
    ):
        assert word in text


def test_a_study_without_completed_trials_says_so(progress):
    for trial in progress.trials.values():
        trial.status = "failed"
    assert "no trial completed" in printed(lambda console: console.print(prox_table(progress)))


def test_the_table_shows_means_over_repeats_of_what_keeps_to_the_limits(study_of):
    progress = Progress(study=study_of("scheduler=none", "repeats=2", "constraints=[parameters <= 1000]"))
    rows = [(0, "glow", 30.0, 900), (0, "glow", 26.0, 900), (1, "glow", 29.0, 900), (1, "glow", 28.0, 900)]
    rows += [(2, "unet", 33.0, 5000), (2, "unet", 33.0, 5000)]
    for number, (configuration, prox, psnr, parameters) in enumerate(rows):
        values = {"prox": prox, "folds": 2, "weights": "tied", "lr": 5e-4}
        config = progress.study.config(values).to_dict()
        trial = TrialState(number, values, config, configuration, number % 2, status="completed")
        trial.metrics = {"val_psnr": psnr, "parameters": parameters}
        progress.trials[number] = trial
    lines = printed(lambda console: console.print(prox_table(progress))).splitlines()
    glow, unet = (next(line.split() for line in lines if line.lstrip().startswith(prox)) for prox in ("glow", "unet"))
    assert glow[:5] == ["glow", "4", "28.50", "28.25", "900"]
    assert unet[:3] == ["unet", "2", "33.00"]
    assert "5,000" not in unet
    assert any("parameters <= 1000" in line for line in lines)


def test_the_live_view_shows_running_trials_and_the_best(progress):
    def draw(console):
        with view(console, plain=False) as listener:
            assert isinstance(listener, LiveView)
            listener(Event("tick", progress))

    text = printed(draw, force_terminal=True)
    for word in ("2 of 4 done" if progress.done == 2 else "3 of 4 done", "train 2", "best so far"):
        assert word in text


def test_a_live_view_without_room_cuts_only_the_configuration(progress):
    values = {f"a_long_name_{number}": number for number in range(8)}
    progress.trials[3].values, progress.trials[3].current = values, {}
    progress.trials[3].phase = ""
    row = next(
        line for line in printed(lambda console: console.print(live.draw(progress))).splitlines() if "0003" in line
    )
    assert "  starting  " in row
    assert row.endswith("…")


def test_the_cursor_is_to_be_seen_while_the_live_view_runs(progress):
    def draw(console):
        with view(console, plain=False):
            shown.append(console.file.getvalue())

    shown = []
    printed(draw, force_terminal=True)
    assert shown[0].rpartition("\x1b[?25")[2][0] == "h"  # as a process that is killed leaves it


@pytest.mark.parametrize(("took", "drawn"), [(0.001, 50), (0.1, 5)], ids=["few trials", "thousands"])
def test_the_live_view_takes_a_twentieth_of_the_time(progress, monkeypatch, took, drawn):
    now, times = [100.0], []
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])

    def draw(progress):
        times.append(now[0])
        now[0] += took

    monkeypatch.setattr(live, "draw", draw)
    shown = LiveView(Mock())
    for tick in range(1000):
        now[0] = max(now[0], 100 + tick / 100)
        shown(Event("tick", progress))
    assert len(times) == pytest.approx(drawn, abs=2)


def test_plain_lines_name_what_starts_and_ends(progress):
    def draw(console):
        with view(console, plain=True) as listener:
            for kind, number in (("begun", None), ("started", 3), ("epoch", 3), ("ended", 0), ("ended", 2)):
                listener(Event(kind, progress, None if number is None else progress.trials[number]))

    lines = printed(draw).splitlines()
    assert len(lines) == 4
    assert ": 1 trial to run, " in lines[0]
    assert lines[1].startswith("trial 0003 started")
    assert "out of memory" in lines[3]


def test_a_short_configuration():
    values = {"folds": 3, "prox": "glow", "lr": 2.81e-4, "weights": "tied", "pretrain": False}
    assert short(values) == "glow tied folds=3 lr=0.00028 fresh"


@pytest.mark.parametrize(("epochs", "words"), [(1, "hidden=8, 1 epoch"), (2, "hidden=8, 2 epochs")])
def test_a_prior_in_words(epochs, words):
    config = {"depth": 2, "levels": 3, "hidden": 8, "prior": {"epochs": epochs}}
    assert PriorState("0a", config).words == f"flow depth=2 levels=3 {words}"
