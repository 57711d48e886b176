"""What Ray Tune asks for the next trial, handed to the driver."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from flowsearch.study.driver import Driver


class TuneSearcher(Searcher):
    """A shell over the driver; `check` may leave Tune's loop."""

    def __init__(self, driver: Driver, check: Callable[[], None]) -> None:
        super().__init__()
        self._driver, self._check = driver, check
        self._out: set[str] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next work order; None while it has to wait; FINISHED after the last.

        As many orders are out at once as there are slots, which may become more while a study runs.
        While nothing runs, Ray Tune does nothing but ask again, so whether to stop is looked at here too.
        """
        self._check()
        if len(self._out) >= self._driver.progress.slots:
            return None
        order = self._driver.plan()
        if order is None:
            return Searcher.FINISHED if self._driver.exhausted else None
        self._out.add(trial_id)
        return order

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """An order has come back. How it ended the driver hears from the callback, which knows why."""
        self._out.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is what a resume reads."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as in `save`."""
