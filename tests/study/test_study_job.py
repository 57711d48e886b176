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

from flowsearch.results.tables import read_arrow
from flowsearch.storage import Folder
from flowsearch.study import ledger as events
from flowsearch.study import retrying
from flowsearch.study.ledger import Ledger
from flowsearch.study.moment import Moment
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
    """A clock that stands still until it is told to go on, by ten seconds or so many; the system's by `system`."""
    clock = [Moment(datetime(2026, 1, 1, tzinfo=UTC), "a process")]
    monkeypatch.setattr(Moment, "now", lambda: clock[0])

    def tick(seconds: float = 10, system: float | None = None) -> None:
        later = clock[0].time + timedelta(seconds=seconds if system is None else system)
        clock[0] = Moment(later, clock[0].process, clock[0].ticks + seconds)

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


HOUR = 3600


@pytest.mark.parametrize("by", [-5 * HOUR, 5 * HOUR], ids=["set back", "set forward, or the laptop slept"])
def test_how_long_an_attempt_took_is_not_what_the_systems_clock_says(study_of, tmp_path, tick, by):
    study = study_of("search.trials=1", "scheduler=none")
    at = Life(study, tmp_path)
    at.starts()
    at.trains()
    tick(10, system=by)
    assert at.trial.seconds == 10
    at.is_lost()
    assert (at.trial.seconds, at.trial.losses) == (10, [Loss("gpu-1", 1, 10)])
    at.starts()
    tick(20, system=-by)
    at.finishes()
    assert at.trial.seconds == 30
    assert known(replay(study, Ledger(tmp_path / "ledger")).trials[0]) == known(at.trial)
    at.driver.close()
    (row,) = read_arrow(Folder(tmp_path), "trials")[0].to_pylist()
    assert (row["seconds"], row["started"], row["ended"]) == (30, at.trial.started.time, at.trial.ended.time)


def test_between_two_processes_a_clock_that_is_set_back_takes_no_time_off():
    then = datetime(2026, 1, 1, 12, tzinfo=UTC)
    trial = TrialState(0, {}, {})
    trial.apply(events.STARTED, {"attempt": 1}, Moment(then, "a driver", 5.0))
    trial.apply(events.ENDED, {"status": "completed"}, Moment(then - timedelta(hours=1), "another", 7.0))
    assert trial.seconds == 0


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
                replayed.apply(event.event, event.content, event.at)
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
