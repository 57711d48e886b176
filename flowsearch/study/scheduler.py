"""Stops trials that fall behind: Ray Tune's scheduler as a shell over one of Optuna's pruners."""

import logging
from typing import TYPE_CHECKING, Any

from optuna.pruners import BasePruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from flowsearch.study.file import Scheduler
from flowsearch.study.searcher import Proposer

if TYPE_CHECKING:
    from flowsearch.study.driver import Driver
    from flowsearch.study.planner import Planner

_log = logging.getLogger(__name__)


class PrunerView:
    """What a pruner may see of an Optuna study when it judges one trial, so that it decides the same each time.

    Optuna's pruners read no more of a study than this (as its own `pruners._hyperband` relies on).
    """

    def __init__(self, proposer: "Proposer | Planner", number: int) -> None:
        self._proposer, self._number = proposer, number
        self._storage = proposer.study._storage
        self.direction = proposer.study.direction
        self.directions = proposer.study.directions

    def get_trials(self, deepcopy: bool = True, states: tuple[TrialState, ...] | None = None) -> list[FrozenTrial]:
        """The trials that may be seen."""
        seen = self._proposer.visible(self._number)
        return [trial for trial in seen if states is None or trial.state in states]


class Judge:
    """Says after each epoch whether a trial goes on."""

    def __init__(self, proposer: "Proposer | Planner", scheduler: Scheduler | None) -> None:
        self._proposer = proposer
        self._pruner: BasePruner | None = None
        if scheduler is not None:
            asha = scheduler.asha
            self._pruner = SuccessiveHalvingPruner(min_resource=asha.grace, reduction_factor=asha.reduction)

    def stops(self, number: int, step: int, value: float) -> bool:
        """Note the objective after epoch `step`; True where the trial should stop there."""
        if not self._proposer.report(number, step, value) or self._pruner is None:
            return False
        view: Any = PrunerView(self._proposer, number)
        return self._pruner.prune(view, self._proposer.frozen(number))


class TuneScheduler(FIFOScheduler):
    """What Ray Tune asks whether a trial goes on: a shell over the driver. What goes wrong here stops no trial."""

    def __init__(self, driver: "Driver") -> None:
        super().__init__()
        self._driver = driver
        self._controller: Any = None

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The next trial in order, as Ray Tune asks before each of its steps."""
        self._controller = tune_controller
        return super().choose_trial_to_run(tune_controller)

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
