"""Says which trials fall behind: Optuna's pruners, shown the same trials whichever ends first."""

import copy
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState

from flowsearch.study.planner import Planner
from flowsearch.study.proposer import Proposer
from flowsearch.study.sections import Asha, Hyperband, Scheduler


class PrunerView:
    """What a pruner may see of an Optuna study when it judges one trial, so that it decides the same each time.

    Optuna's pruners read no more of a study than this (as its own `pruners._hyperband` relies on).
    """

    def __init__(self, proposer: Proposer | Planner, number: int, mates: Callable[[int], bool] | None = None) -> None:
        self._proposer, self._number, self._mates = proposer, number, mates
        self._storage = proposer.study._storage
        self.direction = proposer.study.direction
        self.directions = proposer.study.directions

    def get_trials(self, deepcopy: bool = True, states: tuple[TrialState, ...] | None = None) -> list[FrozenTrial]:
        """The other trials that may be seen."""
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

    def __init__(self, proposer: Proposer | Planner, scheduler: Scheduler | None, epochs: int) -> None:
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
