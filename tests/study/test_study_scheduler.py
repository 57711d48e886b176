"""Which trial Ray Tune is told to run next."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune.experiment import Trial

from flowsearch.study.scheduler import TuneScheduler


def choice(trials: list[Any], actors: dict[Any, object], scheduler: TuneScheduler | None = None) -> Any:
    controller = SimpleNamespace(_trials=trials, _trial_to_actor=actors)
    wrapped = SimpleNamespace(_tune_controller=controller, get_trials=lambda: trials)
    return (scheduler or TuneScheduler(driver=None)).choose_trial_to_run(wrapped)  # type: ignore[arg-type]


class One:
    """A trial as Tune has it, in a state."""

    def __init__(self, status: str) -> None:
        self.status = status

    def is_finished(self) -> bool:
        return False


def test_a_trial_whose_worker_is_being_started_keeps_it_while_there_is_another() -> None:
    running, starting, new = One(Trial.RUNNING), One(Trial.PENDING), One(Trial.PENDING)
    assert choice([running, starting, new], {running: "a", starting: "b"}) is new
    assert choice([running, starting], {running: "a", starting: "b"}) is starting
    assert choice([running, starting, new], {running: "a"}) is starting
    assert choice([running], {running: "a"}) is None


def test_a_trial_whose_worker_does_not_come_takes_the_next_idle_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    scheduler, starting, new = TuneScheduler(driver=None), One(Trial.PENDING), One(Trial.PENDING)  # type: ignore[arg-type]
    assert choice([starting, new], {starting: "b"}, scheduler) is new
    now += 9
    assert choice([starting, new], {starting: "b"}, scheduler) is new
    now += 2
    assert choice([starting, new], {starting: "b"}, scheduler) is starting
