"""The life of a job: what the driver knows of a trial or a prior is what its ledger's events make of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from study_fakes import final_record, leave_prior
from test_study_driver import driver_of, epochs, hand_in
from test_study_losses import GONE
from test_study_priors import TWELVE
from test_study_priors import driver_of as driver_with_priors

from flowsearch.study import ledger as events
from flowsearch.study import retrying
from flowsearch.study.ledger import Ledger
from flowsearch.study.outcome import Failure
from flowsearch.study.priors import PriorState
from flowsearch.study.progress import Loss, TrialState, replay
from flowsearch.study.trainable import Report
from flowsearch.training.config import TrialConfig

DIED = Failure(("ActorDiedError",), "the worker exited", "")
MEMORY = Failure(("OutOfMemoryError", "RuntimeError"), "CUDA out of memory", "the trace")
DIVERGED = Failure(("NonFiniteError", "ValueError"), "non-finite loss at epoch 3", "the trace")


@pytest.fixture
def tick(monkeypatch) -> Callable[..., None]:
    """A clock that stands still until it is told to go on, by ten seconds or so many."""
    clock = [datetime(2026, 1, 1, tzinfo=UTC)]

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return clock[0]

    for module in ("attempts", "job", "ledger", "priors", "progress", "recorder"):
        monkeypatch.setattr(f"flowsearch.study.{module}.datetime", Clock)

    def tick(seconds: float = 10) -> None:
        clock[0] += timedelta(seconds=seconds)

    return tick


class Life:
    """Trial 0 and what happens to it, a method for each."""

    def __init__(self, study, root: Path) -> None:
        self.study, self.root = study, root
        self.driver = driver_of(study, root)

    @property
    def trial(self) -> TrialState:
        return self.driver.progress.trials[0]

    def starts(self) -> None:
        assert self.driver.plan()["number"] == 0
        hand_in(self.driver, 0, Report("started", host="gpu-1"))
        assert not self.trial.anew, "another attempt would clear the checkpoints of this one"

    def trains(self) -> None:
        hand_in(self.driver, 0, Report("record", epochs(self.driver, 0, self.trial.epoch + 1)[-1:]))

    def is_lost(self) -> None:
        self.driver.ended(0, died=True, failure=GONE)

    def is_lost_with_notice(self) -> None:
        hand_in(self.driver, 0, Report("leaving"))
        self.driver.ended(0, died=True, failure=DIED)

    def dies(self) -> None:
        self.driver.ended(0, died=True, failure=DIED)

    def dies_before_it_starts(self) -> None:
        assert self.driver.plan()["number"] == 0
        self.dies()

    def finds_no_memory(self) -> None:
        self._raises(MEMORY)

    def diverges(self) -> None:
        self._raises(DIVERGED)

    def finishes(self) -> None:
        hand_in(self.driver, 0, Report("record", [final_record(TrialConfig.from_dict(self.trial.config))]))
        self.driver.ended(0)

    def dies_after_its_last_record(self) -> None:
        hand_in(self.driver, 0, Report("record", [final_record(TrialConfig.from_dict(self.trial.config))]))
        self.dies()

    def is_ended(self) -> None:
        self.driver.ended(0)

    def is_stopped(self) -> None:
        self.driver.stop("by a signal")

    def is_resumed(self) -> None:
        self.driver.close()
        self.driver = driver_of(self.study, self.root)

    def is_retried(self) -> None:
        retrying.note(self.driver.ledger, retrying.chosen(self.driver.progress, [], None))
        self.is_resumed()

    def _raises(self, failure: Failure) -> None:
        hand_in(self.driver, 0, Report("raised", failure=failure))
        self.driver.ended(0)


@pytest.mark.parametrize(
    ("life", "status", "attempt", "seconds", "lost"),
    [
        ("starts, trains, finishes", "completed", 1, 20, []),
        (
            "starts, trains, is_lost, starts, is_lost, starts, trains, is_lost, starts, finishes",
            "completed",
            4,
            60,
            [(1, 10), (1, 10), (2, 10)],
        ),
        ("starts, trains, is_lost_with_notice, starts, trains, finishes", "completed", 2, 40, [(1, 0)]),
        ("starts, trains, dies, starts, trains, dies", "failed", 2, 40, [(1, 10)]),
        ("starts, trains, dies_after_its_last_record, starts, is_ended", "interrupted", 2, 30, [(1, 0)]),
        ("dies_before_it_starts, dies_before_it_starts", "failed", 1, 0, [(0, 0)]),
        ("starts, trains, is_lost, dies_before_it_starts, starts, finishes", "completed", 2, 30, [(1, 10), (1, 0)]),
        (
            "starts, trains, is_lost_with_notice, dies_before_it_starts, dies_before_it_starts",
            "failed",
            2,
            20,
            [(1, 0), (1, 0)],
        ),
        (
            "starts, trains, finds_no_memory, starts, is_lost, starts, trains, finds_no_memory",
            "failed",
            3,
            50,
            [(1, 10)],
        ),
        (
            "starts, trains, is_stopped, is_resumed, starts, trains, dies, starts, finishes",
            "completed",
            3,
            50,
            [(1, 10)],
        ),
        (
            "starts, is_lost, starts, trains, diverges, is_retried, starts, is_lost, starts, finishes",
            "completed",
            4,
            20,
            [(0, 10)],
        ),
        (
            "starts, finds_no_memory, starts, finds_no_memory, is_retried, starts, finds_no_memory, starts, finishes",
            "completed",
            4,
            40,
            [],
        ),
    ],
)
def test_a_replayed_trial_is_the_one_that_the_driver_knows(
    study_of, tmp_path, tick, life, status, attempt, seconds, lost
):
    study = study_of("search.trials=1", "scheduler=none", "fixed.epochs=9")
    at = Life(study, tmp_path)
    for happens in life.split(", "):
        tick()
        getattr(at, happens)()
        if at.trial.status != "running":
            assert known(replay(study, Ledger(tmp_path / "ledger")).trials[0]) == known(at.trial), happens
    assert (at.trial.status, at.trial.attempt, at.trial.seconds) == (status, attempt, seconds)
    assert [(loss.epoch, loss.seconds) for loss in at.trial.losses] == lost
    at.driver.close()


def test_a_clock_that_is_set_back_takes_no_time_off(study_of, tmp_path, tick):
    at = Life(study_of("search.trials=1", "scheduler=none"), tmp_path)
    at.starts()
    tick(-3600)
    assert at.trial.seconds == 0
    at.driver.ended(0, died=True, failure=GONE)
    assert (at.trial.seconds, at.trial.losses) == (0, [Loss("gpu-1", 0, 0)])
    at.starts()
    tick()
    at.driver.stop("by a signal")
    assert at.trial.seconds == 10


def known(trial: TrialState) -> dict:
    """What outlives the driver. How often it was taken up matters, and its numbers are noted, at different times."""
    names = ("status", "reason", "attempt", "host", "started", "ended", "seconds", "micro_batch", "losses", "anew")
    waits = trial.status in ("planned", "interrupted")
    return {name: getattr(trial, name) for name in names} | (
        {"taken_up": trial.taken_up} if waits else {"metrics": trial.metrics}
    )


@pytest.mark.parametrize("end", [None, DIVERGED], ids=["finishes", "diverges"])
def test_a_prior_is_what_its_events_make_of_it(study_of, tmp_path, tick, monkeypatch, end):
    monkeypatch.setattr("flowsearch.study.priors._AGAIN_SECONDS", 0.0)
    driver = driver_with_priors(study_of(*TWELVE, "search.trials=1"), tmp_path / "study")
    for failure, attempt in ((GONE, 1), (MEMORY, 2), (end, 3)):
        order = driver.plan()
        (state,) = driver.priors.states.values()
        driver.take(state.id, Report("started", host="gpu-1"))
        tick()
        if failure is None:
            leave_prior(Path(order["checkpoint_dir"]))
        elif failure is not GONE:
            driver.take(state.id, Report("raised", failure=failure))
        driver.ended(state.id, died=failure is GONE, failure=failure)
        assert (state.attempt, order["micro_batch"]) == (attempt, 8 if attempt == 3 else None)
        replayed = PriorState(state.key, state.config)
        for event in driver.ledger.events:
            if event.subject == state.id:
                replayed.apply(event.event, event.content, event.time)
        names = ("status", "reason", "attempt", "host", "started", "ended", "micro_batch", "taken_up")
        assert {name: getattr(replayed, name) for name in names} == {name: getattr(state, name) for name in names}
    assert state.status == ("completed" if end is None else "diverged")
    assert driver.ledger.events[-1].content["seconds"] == 10
    driver.close()


def test_events_that_say_no_more_than_their_kind_must_are_enough(study_of, tmp_path):
    """As in a ledger of an earlier version."""
    ledger = Ledger(tmp_path)
    ledger.add(events.PLANNED, "0000", values={"prox": "unet", "folds": 2, "weights": "tied", "lr": 5e-4})
    ledger.add(events.STARTED, "0000", attempt=1)
    ledger.add(events.AGAIN, "0000", cause="lost")
    waiting = replay(study_of(), ledger).trials[0]
    assert (waiting.status, waiting.micro_batch, waiting.taken_up) == ("planned", None, {"lost": 1})
    assert waiting.losses == [Loss(host=None, epoch=0, seconds=0.0)]
    ledger.add(events.STARTED, "0000", attempt=2)
    ledger.add(events.ENDED, "0000", status="completed")
    ended = replay(study_of(), ledger).trials[0]
    assert (ended.status, ended.reason, ended.attempt, ended.metrics) == ("completed", None, 2, {})
