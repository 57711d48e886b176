"""What Ray Tune tells about its trials, handed to the driver. What goes wrong here is logged and ends nothing."""

import logging
import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from flowsearch.study.driver import Driver

_log = logging.getLogger(__name__)


class TuneCallback(Callback):
    """A shell over the driver; `check` is called between Tune's steps and may leave its loop."""

    def __init__(self, driver: Driver, check: Callable[[], None], tick_seconds: float) -> None:
        self._driver, self._check, self._tick_seconds = driver, check, tick_seconds
        self._ticked = 0.0

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Called before Tune waits for its next event."""
        self._check()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Called after each event of Tune's, and ten times a second while nothing happens."""
        now = time.monotonic()
        if now - self._ticked >= self._tick_seconds:
            self._ticked = now
            self._driver.tick()
        self._check()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Called with each step's report, after the scheduler has seen it."""
        self._safely(self._driver.take, trial.config["number"], result["report"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when a trial is done, or was stopped by the scheduler."""
        self._safely(self._driver.ended, trial.config["number"])

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when a trial's process died and another will take it up."""
        self._safely(self._driver.lost, trial.config["number"], _error(trial))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when a trial's process died once too often."""
        self._safely(self._driver.ended, trial.config["number"], lost=True, error=_error(trial))

    def get_state(self) -> None:
        """Nothing for Tune to keep."""
        return

    def _safely(self, action: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        try:
            action(*args, **kwargs)
        except Exception:
            _log.exception("could not take up what Ray Tune reported; the study goes on")


def _error(trial: Any) -> BaseException | None:
    """What Ray says about a trial's end."""
    try:
        error = trial.get_pickled_error()
    except Exception:
        return None
    return error if isinstance(error, BaseException) else None
