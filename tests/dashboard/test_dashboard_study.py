"""What the dashboard knows of a study: its state while it grows, and which trials are to be run again."""

import fcntl
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from known_study import known_study
from looking import aged, text_of
from made_up import epoch_record, make_study

from flowsearch.analysis.dashboard import again, standing, table
from flowsearch.analysis.dashboard.library import Library
from flowsearch.analysis.dashboard.pages import Pages
from flowsearch.analysis.dashboard.watch import Watched
from flowsearch.analysis.findings import findings
from flowsearch.analysis.report import render
from flowsearch.results import Writer, load
from flowsearch.study.source import Source
from flowsearch.training import TrialConfig

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


# How a study stands -----------------------------------------------------------------------------------------------


def test_where_nothing_keeps_to_the_limits_the_overview_says_that_it_is_they(tmp_path: Path) -> None:
    known_study(tmp_path / "s", [({}, 28.0)], study='constraints: ["parameters <= 10"]\n')
    said = text_of(Pages(Library(tmp_path / "s")), "/")
    assert "No completed trial has val_psnr and keeps to parameters <= 10." in said


def test_what_trials_warned_of_is_in_the_table_on_their_page_and_in_the_report(tmp_path: Path) -> None:
    results = known_study(tmp_path / "s", [({"warnings": "first <b>\nsecond"}, 29.0), ({}, 28.0)])
    pages = Pages(Library(tmp_path / "s"))
    assert '{"children": "first <b>"' in text_of(pages, "/trial/0000")
    assert "What it warned of" not in text_of(pages, "/trial/0001")
    assert r'"first <b> second\n"' in text_of(pages, "/trials")  # a line for each trial, as in the other columns
    assert "<td>warning: first &lt;b&gt;<br>warning: second</td>" in render(results)


def test_unlike_devices_are_told_wherever_times_are(tmp_path: Path) -> None:
    results = known_study(tmp_path / "s", [({"device": one, "host": "a-1"}, 29.0) for one in ("L4", "T4", "L4")])
    pages, every = Pages(Library(tmp_path / "s")), "L4 (2 trials) and T4 (1 trial)"
    assert "on a-1, T4" in text_of(pages, "/trial/0001")
    assert every in text_of(pages, "/")
    said = f"Trials ran on {every}: times and peak memory of one are not those of the other."
    assert said in findings(results)
    assert f"<dt>trials on</dt><dd>{every}</dd>" in render(results)
    alike = known_study(tmp_path / "alike", [({"device": "L4"}, 29.0), ({}, 28.0)])
    assert not [one for one in findings(alike) if "L4" in one]


def test_the_version_changes_with_the_study_and_only_then(tmp_path: Path) -> None:
    root = make_study(tmp_path / "s", 6, images=2, epochs=2)
    aged(root)
    watched = Watched(root)
    before = watched.version
    view = watched.view()
    assert watched.version == before
    assert watched.view() is view
    with Writer(root) as writer:
        writer.trial({"trial_id": "0006", "status": "running"})
    assert watched.version != before
    assert len(watched.view().trials) == 7


def test_a_table_that_is_slow_to_read_is_not_read_at_every_change(tmp_path: Path, monkeypatch) -> None:
    from flowsearch.analysis.dashboard import watch

    root = make_study(tmp_path / "s", 6, images=2, epochs=2)
    watched = Watched(root)
    assert len(watched.table("trials")) == 6
    monkeypatch.setattr(watch, "_SHARE", 1e-9)  # its reading is not paid for before long
    with Writer(root) as writer:
        writer.trial({"trial_id": "0006", "status": "running"})
    assert len(watched.table("trials")) == 6
    monkeypatch.setattr(watch, "_SHARE", 1e9)
    assert len(watched.table("trials")) == 7


@pytest.mark.parametrize("table_name", ["images", "panels"])
def test_rows_of_a_few_trials_are_those_of_the_whole_table(study: Path, table_name: str) -> None:
    rows = Watched(study).rows_of(table_name, ["0000", "0002"])
    whole = getattr(load(study), table_name)
    whole = whole[whole["trial_id"].isin(["0000", "0002"])]
    columns = ["trial_id", "split", "image", "psnr"]
    pd.testing.assert_frame_equal(
        rows[columns].reset_index(drop=True), whole[columns].reset_index(drop=True), check_dtype=False
    )


def test_the_lock_says_whether_a_study_runs(tmp_path: Path) -> None:
    root = make_study(tmp_path / "s", 6, images=2, epochs=2, unfinished=True)
    (root / ".lock").touch()
    with (root / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        watched = Watched(root)
        assert watched.is_running
        assert watched.view().counts["running"] == 1
    watched = Watched(root)
    assert not watched.is_running
    trials = watched.view().trials.set_index("trial_id")
    assert trials.loc["0005", "status"] == "interrupted"
    assert "resume" in trials.loc["0005", "reason"]


def test_without_a_lock_a_study_runs_while_its_tables_grow(tmp_path: Path) -> None:
    root = make_study(tmp_path / "s", 6, images=2, epochs=2, unfinished=True)
    assert Watched(root).is_running
    aged(root)
    assert not Watched(root).is_running


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def rows(*trials: tuple[str, float, float]) -> pd.DataFrame:
    """Trials by status, seconds that they took, and seconds since they began."""
    return pd.DataFrame(
        {
            "trial_id": [f"{number:04d}" for number in range(len(trials))],
            "status": [status for status, _, _ in trials],
            "seconds": [seconds for _, seconds, _ in trials],
            "started": pd.to_datetime([NOW - timedelta(seconds=age) for _, _, age in trials], utc=True),
        }
    )


@pytest.mark.parametrize(
    ("trials", "total", "left"),
    [
        (rows(("completed", 10, 30), ("running", 0, 4)), 2, 6),
        (rows(("completed", 10, 30), ("running", 0, 4)), 5, 36),
        (rows(("completed", 10, 30), ("running", 0, 4), ("running", 0, 10)), 5, 13),
        (rows(("completed", 10, 30), ("failed", 20, 30), ("running", 0, 0)), 3, 15),
        (rows(("running", 0, 4)), 5, None),
        (rows(("completed", 10, 30)), 5, None),
    ],
    ids=["the last one", "three wait", "two at once", "a failed one counts", "nothing known", "nothing runs"],
)
def test_time_left(trials: pd.DataFrame, total: int, left: float | None) -> None:
    found = standing.seconds_left(trials, pd.Series(dtype=float), total, NOW)
    assert found == (None if left is None else pytest.approx(left))


def test_a_trial_that_takes_longer_than_others_has_its_own_rest_left() -> None:
    trials = rows(("completed", 60, 900), ("running", 0, 600))
    assert standing.seconds_left(trials, pd.Series({"0001": 0.5}), 2, NOW) == pytest.approx(600)


def test_reasons_are_counted_the_most_frequent_first() -> None:
    trials = pd.DataFrame(
        {
            "trial_id": ["0", "1", "2", "3"],
            "status": ["failed", "diverged", "failed", "completed"],
            "reason": ["out of memory", None, "out of memory", None],
        }
    )
    found = standing.reasons(trials)
    assert found["reason"].tolist() == ["out of memory", "no reason recorded"]
    assert found["trials"].tolist() == [["0", "2"], ["1"]]


def test_running_trials_show_their_last_epoch(tmp_path: Path) -> None:
    with Writer(tmp_path / "s", strict=True) as writer:
        writer.trial({"trial_id": "0000", "status": "running", "epochs": 9})
        writer.trial({"trial_id": "0001", "status": "running", "epochs": 9})
        writer.trial({"trial_id": "0002", "status": "running", "epochs": 9})
        writer.epoch("0000", 1, epoch_record(1, phase="prior"))
        writer.epoch("0000", 1, epoch_record(2, phase="prior"))
        writer.epoch("0001", 1, epoch_record(2, phase="prior"))
        writer.epoch("0001", 1, epoch_record(1))
    results = load(tmp_path / "s")
    found = standing.so_far(results).set_index("trial_id")
    assert found["phase"].fillna("").tolist() == ["prior", "train", ""]
    assert found["epoch"].astype(float).fillna(0).tolist() == [2, 1, 0]
    shown = {row["trial_id"]: row for row in table.rows(results, ["trial_id", "val_psnr", "epochs_run"])}
    assert shown["0001"] == {"trial_id": "0001", "val_psnr": 25.0, "epochs_run": 1}
    assert shown["0000"] == {"trial_id": "0000"}


# Run it again -----------------------------------------------------------------------------------------------------

CONFIGS = {
    "glow": {"folds": 3, "depth": 2, "levels": 2, "hidden": 8, "lr": 1e-5, "pretrain": True},
    "not pre-trained": {"folds": 1, "pretrain": False, "levels": 2, "patience": 7},
    "resnet": {"prox": "resnet", "weights": "tied", "batch_size": 2, "end": "data"},
    "own": {"prox": {"mylab.nets:DnCNN": {"layers": 5, "name": "a b"}}},
    "own task": {"task": {"mylab.ops:Radon": {"angles": 30}}, "prox": "unet"},
    "tv": {"method": "tv", "tv_weight": 0.05},
    "map": {"method": "map", "levels": 2},
    "pnp": {"method": "pnp", "seed": 12345678901},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_command_line_means_the_trials_configuration(tmp_path: Path, name: str) -> None:
    data = {"source": "my faces: 2", "size": 32, "train": 10, "val": 2, "test": 2, "ood": None, "seed": 3}
    prior = {"epochs": 7, "lr": 2e-4}
    config = TrialConfig.from_dict({"data": data, "prior": prior, **CONFIGS[name]})
    flat = {key: value for key, value in config.to_dict().items() if key not in ("data", "prior")}
    with Writer(tmp_path / "s", strict=True) as writer:
        writer.trial({"trial_id": "0000", "status": "completed", **flat, "source": data["source"], "size": 32})
    (tmp_path / "s" / "study.yaml").write_text(f"name: s\ndata: {data}\nprior: {prior}\n".replace("None", "null"))
    results = load(tmp_path / "s")
    words = shlex.split(again.train_command(results, results.trials.iloc[0]).replace("\\\n", ""))
    assert words[:2] == ["flowsearch", "train"]
    sets = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    assert TrialConfig.from_dict(Source("command line", "{}", sets).values) == config
    assert words[-2:] == ["--out", "results/again-0000"]


def test_only_failed_trials_are_retried(study: Path) -> None:
    trials = load(study).trials.set_index("trial_id", drop=False)
    assert again.retry_command("a b", trials.loc["0013"]) == "flowsearch study retry 'a b' --trial 0013"
    assert again.retry_command(str(study), trials.loc["0000"]) is None
