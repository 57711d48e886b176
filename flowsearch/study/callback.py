"""What Ray Tune tells about its trials, handed to the driver. What goes wrong here is logged and ends nothing."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.progress_reporter import TrialProgressCallback

from flowsearch.study.driver import Driver
from flowsearch.study.local import broken
from flowsearch.study.outcome import Failure

_log = logging.getLogger(__name__)


class TuneCallback(TrialProgressCallback):
    """A shell over the driver; `check` is called between Tune's steps and may leave its loop.

    It stands in for Tune's own progress callback, which would be added otherwise and keeps all trials.
    """

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

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called when a trial's process went away. The driver decides what follows; Tune takes nothing up again."""
        if broken() is not None:
            return  # the process went with this machine's Ray: the study stops now, and its trials are interrupted
        self._safely(self._driver.ended, trial.config["number"], died=True, failure=_failure(trial))

    def get_state(self) -> None:
        """Nothing for Tune to keep."""
        return

    def _safely(self, action: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        try:
            action(*args, **kwargs)
        except Exception:
            _log.exception("could not take up what Ray Tune reported; the study goes on")


def _failure(trial: Any) -> Failure | None:
    """What Ray says about the end of a trial's process. Tune's `get_error` looks where that comes to only later."""
    try:
        said = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):  # TypeError: there is no such file
        return None
    return Failure.of_ray(said.partition("\n")[2].strip())  # the first line is Tune's, a number and a time
