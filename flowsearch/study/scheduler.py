"""What Ray Tune asks whether a trial goes on, and which runs next, handed to the driver."""

import logging
import math
import time
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from flowsearch.study.driver import Driver

_log = logging.getLogger(__name__)

_START_SECONDS = 10.0
"""For so long a trial waits for its own worker while idle ones go to others."""


class TuneScheduler(FIFOScheduler):
    """A shell over the driver. What goes wrong here stops no trial."""

    def __init__(self, driver: Driver) -> None:
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
