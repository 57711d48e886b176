"""Stops trials that fall behind: Ray Tune's scheduler as a shell over one of Optuna's pruners."""

import copy
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from flowsearch.study.proposer import Proposer
from flowsearch.study.sections import Asha, Hyperband, Scheduler

if TYPE_CHECKING:
    from flowsearch.study.driver import Driver
    from flowsearch.study.planner import Planner

_log = logging.getLogger(__name__)

_START_SECONDS = 10.0
"""For so long a trial waits for its own worker while idle ones go to others."""


class PrunerView:
    """What a pruner may see of an Optuna study when it judges one trial, so that it decides the same each time.

    Optuna's pruners read no more of a study than this (as its own `pruners._hyperband` relies on).
    """

    def __init__(self, proposer: "Proposer | Planner", number: int, mates: Callable[[int], bool] | None = None) -> None:
        self._proposer, self._number, self._mates = proposer, number, mates
        self._storage = proposer.study._storage
        self.direction = proposer.study.direction
        self.directions = proposer.study.directions

    def get_trials(self, deepcopy: bool = True, states: tuple[TrialState, ...] | None = None) -> list[FrozenTrial]:
        """The trials that may be seen."""
        seen = self._proposer.visible(self._number)
        if self._mates is not None:
            seen = [trial for trial in seen if self._mates(trial.number)]
        return [trial for trial in seen if states is None or trial.state in states]


def brackets_of(epochs: int, grace: int, reduction: int) -> list[int]:
    """The bracket of each trial in turn, for ever: bracket 0 stops trials first, after `grace` epochs, and gets most.

    The shares are those of the paper (Li et al. 2018, Algorithm 1): as many epochs in total for each bracket.
    """
    last = 0
    while grace * reduction ** (last + 1) <= epochs:
        last += 1
    counts = [math.ceil((last + 1) * reduction**left / (left + 1)) for left in range(last, -1, -1)]
    turns = [(place / count, bracket) for bracket, count in enumerate(counts) for place in range(count)]
    return [bracket for _, bracket in sorted(turns)]


class Judge:
    """Says after each epoch whether a trial goes on.

    The pruners are Optuna's, one for each bracket; trials of a bracket are judged among themselves.
    """

    def __init__(self, proposer: "Proposer | Planner", scheduler: Scheduler | None, epochs: int) -> None:
        self._proposer = proposer
        self._turns = [0]
        self._pruners: list[BasePruner] = []
        self._halving: Asha | Hyperband | None = None
        if scheduler is None:
            return
        if scheduler.median is not None:
            median = scheduler.median
            self._pruners = [MedianPruner(n_startup_trials=median.startup, n_warmup_steps=median.grace)]
            return
        halving = self._halving = scheduler.asha or scheduler.hyperband
        assert halving is not None
        if scheduler.hyperband is not None:
            self._turns = brackets_of(epochs, halving.grace, halving.reduction)
        self._pruners = [
            SuccessiveHalvingPruner(
                min_resource=halving.grace, reduction_factor=halving.reduction, min_early_stopping_rate=bracket
            )
            for bracket in range(max(self._turns) + 1)
        ]

    def stops(self, number: int, step: int, value: float) -> bool:
        """Note the objective after epoch `step`; True where the trial should stop there."""
        new = self._proposer.report(number, step, value)
        trial = self._proposer.frozen(number)
        if not self._pruners or not math.isfinite(value) or trial.state.is_finished():
            return False
        bracket = self._bracket(trial.number)
        mates = None if len(self._pruners) == 1 else lambda other: self._bracket(other) == bracket
        view: Any = PrunerView(self._proposer, number, mates)
        return self._pruners[bracket].prune(view, trial if new else self._as_at(step, trial, bracket))

    def _as_at(self, step: int, trial: FrozenTrial, bracket: int) -> FrozenTrial:
        """A trial as it was at a step judged before.

        A driver that is killed after a judgement and before the ledger has it judges again, and then in the same way.
        """
        then = copy.copy(trial)
        then.intermediate_values = {one: value for one, value in trial.intermediate_values.items() if one <= step}
        rungs = (f"completed_rung_{rung}" for rung in itertools.count())
        reached = itertools.takewhile(lambda at: at < step, self._rungs(bracket))
        then.system_attrs = {name: trial.system_attrs[name] for name, _ in zip(rungs, reached, strict=False)}
        return then

    def _rungs(self, bracket: int) -> Iterator[int]:
        """The epochs after which a bracket's trials are judged; none for the median."""
        if self._halving is not None:
            grace, reduction = self._halving.grace, self._halving.reduction
            yield from (grace * reduction**rung for rung in itertools.count(bracket))

    def _bracket(self, number: int) -> int:
        return self._turns[number % len(self._turns)]


class TuneScheduler(FIFOScheduler):
    """What Ray Tune asks whether a trial goes on: a shell over the driver. What goes wrong here stops no trial."""

    def __init__(self, driver: "Driver") -> None:
        super().__init__()
        self._driver = driver
        self._controller: Any = None
        self._asked: dict[Any, float] = {}
        """Since when a worker is being started for a trial."""

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The next trial in order whose worker is not just being started, else the next, as Ray Tune asks in each step.

        Tune gives the trial chosen a worker that is idle. If its own is still being started, it ends that one; with
        trials shorter than that takes, it would start workers without end, and use one. A worker that has not come
        after a while may be on a machine that is gone, and its trial takes an idle one before others do.
        """
        self._controller = tune_controller
        controller = tune_controller._tune_controller
        _forget_ended(controller)
        waiting = [trial for trial in tune_controller.get_trials() if trial.status == Trial.PENDING]
        now = time.monotonic()
        self._asked = {one: self._asked.get(one, now) for one in waiting if one in controller._trial_to_actor}
        ready = (one for one in waiting if now - self._asked.get(one, -math.inf) > _START_SECONDS)
        return next(ready, next(iter(waiting), None))

    def release(self) -> None:
        """End all workers now, in the middle of their epochs, and give their resources back.

        Tune does so at its own end, after waiting for them.
        Checkpoints are whole at any time.
        """
        if self._controller is not None:
            self._controller._tune_controller._actor_manager.cleanup()

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """STOP where the scheduler prunes the trial, else CONTINUE."""
        try:
            stops = self._driver.judge(trial.config["number"], result["report"])
        except Exception:
            _log.exception("the scheduler could not judge trial %s; it goes on", trial.config.get("number"))
            stops = False
        return TrialScheduler.STOP if stops else TrialScheduler.CONTINUE


def _forget_ended(controller: Any) -> None:
    """Have Ray Tune let go of trials that are over: it keeps them and all their results to its own end, and looks
    through them in each step, while the ledger and the tables have what there is to know."""
    for trial in [one for one in controller._trials if one.is_finished() and one not in controller._trial_to_actor]:
        controller._trials.remove(trial)
        controller._trial_metadata.pop(trial.trial_id, None)
        for kept in (controller._stopped_trials, controller._failed_trials, controller._trials_to_cache):
            kept.discard(trial)
