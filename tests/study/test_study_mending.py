"""What a killed driver had not written into the tables any more is written by whoever resumes the study."""

from pathlib import Path

import pandas as pd
import pytest
from study_fakes import final_record, train_record
from test_study_priors import TWELVE, driver_of, finish

from flowsearch.results import load
from flowsearch.study import retrying
from flowsearch.study.driver import Driver
from flowsearch.study.outcome import Failure
from flowsearch.study.records import keep
from flowsearch.study.trainable import Report
from flowsearch.training.config import TrialConfig


def killed(driver: Driver, *methods: str) -> Driver:
    """A driver that from now on loses what it gives to its writer."""
    for name in methods or ("trial", "epoch", "final", "tick"):
        setattr(driver.recorder.writer, name, lambda *args: None)
    return driver


def run_trials(driver: Driver, count: int, fails: int | None = None) -> None:
    """Trials end as they do with real workers, which keep their records."""
    for number in range(count):
        order = driver.plan()
        driver.take(number, Report("started", host="here"))
        config = TrialConfig.from_dict(order["trial"])
        for epoch in range(1, config.epochs + 1):
            record = train_record(config, epoch)
            Path(order["checkpoint_dir"]).mkdir(parents=True, exist_ok=True)
            keep(Path(order["checkpoint_dir"]), record)
            driver.take(number, Report("record", [record], device="A 64"))
        if number == fails:
            driver.take(number, Report("raised", failure=Failure(("KeyError",), "no such thing", "Traceback: here")))
        else:
            driver.take(number, Report("record", [final_record(config)], device="A 64"))
        driver.ended(number)


PLAIN = ["search.trials=3", "scheduler=none", "space={prox: [unet], folds: [1, 2]}", "search.sampler=random"]


@pytest.mark.parametrize("lost", [(), ("epoch",), ("trial",)])
def test_rows_epochs_and_traces_of_ended_trials(study_of, tmp_path, lost):
    study = study_of(*PLAIN)
    calm = driver_of(study, tmp_path / "calm")
    run_trials(calm, 3, fails=1)
    calm.close()
    dead = killed(driver_of(study, tmp_path / "dead"), *lost)
    run_trials(dead, 3, fails=1)
    if not lost:
        (tmp_path / "dead/errors/0001.txt").unlink()
    driver_of(study, tmp_path / "dead").close()

    expected, found = load(tmp_path / "calm"), load(tmp_path / "dead")
    timed = ["started", "ended", "seconds"]
    pd.testing.assert_frame_equal(found.trials.drop(columns=timed), expected.trials.drop(columns=timed))
    for name in ("epochs", "folds"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(expected, name))
    assert found.traceback("0001") == "Traceback: here"


@pytest.mark.parametrize("again", ["completes", "loses its worker", "is killed"])
def test_a_trial_that_is_retried_loses_the_traceback_of_its_earlier_attempt(study_of, tmp_path, again):
    study = study_of(*PLAIN)
    first = driver_of(study, tmp_path)
    run_trials(first, 3, fails=1)
    first.close()
    assert load(tmp_path).traceback("0001") == "Traceback: here"
    retrying.note(first.ledger, [first.progress.trials[1]])
    second = driver_of(study, tmp_path)
    order = second.plan()
    second.take(1, Report("started", host="here"))
    if again == "completes":
        second.take(1, Report("record", [final_record(TrialConfig.from_dict(order["trial"]))]))
        second.ended(1)
    elif again == "loses its worker":
        second.ended(1, died=True)
        second.plan()
        second.take(1, Report("started", host="here"))
        second.ended(1, died=True)
        assert second.progress.trials[1].status == "failed"
    driver_of(study, tmp_path).close()
    assert load(tmp_path).traceback("0001") == ""


def test_a_row_says_which_prior_and_the_prior_has_its_epochs(study_of, tmp_path):
    study = study_of(*TWELVE, "search.trials=1", "space={levels: [2]}")
    dead = killed(driver_of(study, tmp_path / "study"))
    order = dead.plan()
    folder = Path(order["checkpoint_dir"])
    for epoch in (1, 2):
        keep(folder, {"phase": "prior", "epoch": epoch, "train_loss": 4.0 - epoch})
    finish(dead, order)
    run_trials(dead, 1)
    driver_of(study, tmp_path / "study").close()
    found = load(tmp_path / "study")
    assert list(found.trials["prior"]) == [order["number"]]
    prior = found.epochs[found.epochs["trial_id"] == order["number"]]
    assert list(zip(prior["phase"], prior["epoch"], prior["train_loss"], strict=True)) == [
        ("prior", 1, 3.0),
        ("prior", 2, 2.0),
    ]


def test_where_nothing_is_lacking_nothing_is_written(study_of, tmp_path):
    study = study_of(*PLAIN)
    whole = driver_of(study, tmp_path)
    run_trials(whole, 3, fails=1)
    whole.close()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")}
    driver_of(study, tmp_path).close()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet")} == before
