"""Trials whose machine or worker goes away: taken up again, and what was lost is known and said."""

from dataclasses import replace

import pytest
from test_study_driver import driver_of, epochs, hand_in

from flowsearch.cli.closing import lost_lines
from flowsearch.study.ledger import Ledger
from flowsearch.study.outcome import TAKEN_UP, Failure
from flowsearch.study.progress import replay
from flowsearch.study.trainable import Report

GONE = Failure(("NodeDiedError",), "its node is dead", "")


def one_more(driver) -> None:
    assert driver.plan()["number"] == 0
    hand_in(driver, 0, Report("started", host="gpu-1"))


def test_what_a_lost_machine_cost_is_said_and_outlives_the_driver(study_of, tmp_path):
    study = study_of("search.trials=1", "scheduler=none")
    driver = driver_of(study, tmp_path)
    one_more(driver)
    hand_in(driver, 0, Report("record", epochs(driver, 0, 2)))
    trial = driver.progress.trials[0]
    trial.signed = replace(trial.signed, ticks=trial.signed.ticks - 30)
    driver.ended(0, died=True, failure=GONE)
    assert trial.status == "planned"
    (loss,) = trial.losses
    assert (loss.host, loss.epoch, round(loss.seconds)) == ("gpu-1", 2, 30)
    told = lost_lines(driver.progress)
    assert told[0].startswith("workers or machines went away once, from 1 trial that went on from checkpoints")
    assert told[1] == "  trial 0000: 30 s of epoch 3 on gpu-1"
    driver.close()
    assert lost_lines(replay(study, Ledger(tmp_path / "ledger"))) == told


def test_epochs_without_a_checkpoint_are_lost_too(study_of, tmp_path):
    driver = driver_of(study_of("search.trials=1", "scheduler=none"), tmp_path)
    one_more(driver)
    first, second = epochs(driver, 0, 2)
    hand_in(driver, 0, Report("record", [first | {"kept": True}]))
    trial = driver.progress.trials[0]
    trial.signed = replace(trial.signed, ticks=trial.signed.ticks - 30)
    hand_in(driver, 0, Report("record", [second | {"kept": False}]))
    driver.ended(0, died=True, failure=GONE)
    (loss,) = trial.losses
    assert (loss.epoch, round(loss.seconds)) == (2, 30)


def test_after_a_notice_nothing_is_lost(study_of, tmp_path):
    driver = driver_of(study_of("search.trials=1", "scheduler=none"), tmp_path)
    one_more(driver)
    hand_in(driver, 0, Report("record", epochs(driver, 0, 1)))
    hand_in(driver, 0, Report("leaving"))
    driver.ended(0, died=True, failure=Failure(("ActorDiedError",), "the worker exited", ""))
    trial = driver.progress.trials[0]
    assert (trial.taken_up["lost"], trial.taken_up["died"]) == (1, 0)
    assert driver.ledger.events[-1].content["reason"] == "its machine was taken back, with notice"
    assert lost_lines(driver.progress)[1] == "  trial 0000: nothing of epoch 2 on gpu-1 (its machine gave notice)"
    driver.close()


def test_a_machine_lost_again_and_again_fails_a_trial_only_without_an_epoch_in_between(study_of, tmp_path):
    study = study_of("search.trials=1", "scheduler=none", "fixed.epochs=40", "failures.stop_after=null")
    driver = driver_of(study, tmp_path)
    for epoch in range(1, TAKEN_UP["lost"] + 5):
        one_more(driver)
        hand_in(driver, 0, Report("record", epochs(driver, 0, epoch)[-1:]))
        driver.ended(0, died=True, failure=GONE)
    again = driver_of(study, tmp_path)
    assert again.progress.trials[0].taken_up == driver.progress.trials[0].taken_up
    for _ in range(TAKEN_UP["lost"]):
        one_more(driver)
        driver.ended(0, died=True, failure=GONE)
    trial = driver.progress.trials[0]
    assert trial.status == "failed"
    assert trial.reason.startswith("lost its machine 11 times without an epoch in between")
    again.close()
    driver.close()


def test_a_study_without_losses_says_nothing_of_them(study_of, tmp_path):
    driver = driver_of(study_of("search.trials=1"), tmp_path)
    one_more(driver)
    assert lost_lines(driver.progress) == []
    driver.close()


@pytest.mark.parametrize("before", [False, True], ids=["first attempt", "a later attempt"])
def test_an_attempt_that_died_before_it_could_start_is_the_same_after_a_replay(study_of, tmp_path, before):
    study = study_of("search.trials=1", "scheduler=none")
    driver = driver_of(study, tmp_path)
    if before:
        one_more(driver)
        driver.ended(0, died=True, failure=GONE)
    assert driver.plan()["number"] == 0
    trial = driver.progress.trials[0]
    trial.taken_up["died"] = TAKEN_UP["died"]
    driver.ended(0, died=True, failure=Failure(("ActorDiedError",), "the worker exited", ""))
    assert (trial.status, trial.attempt) == ("failed", 2 if before else 1)
    driver.close()
    again = replay(study, Ledger(tmp_path / "ledger")).trials[0]
    assert (again.status, again.attempt) == (trial.status, trial.attempt)
    assert again.seconds == pytest.approx(trial.seconds, abs=0.5)
