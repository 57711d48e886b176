"""What only training on would need, of trials that are done: it goes once their workers have let go of it."""

import time
from collections import deque

from flowsearch.results import schema
from flowsearch.study import ledger as events
from flowsearch.study.ledger import Ledger
from flowsearch.study.moment import Moment, between
from flowsearch.study.place import Place
from flowsearch.study.progress import Progress, TrialState
from flowsearch.training.header import LAST

_DONE = frozenset({schema.COMPLETED, schema.PRUNED})
"""Statuses of trials that nobody goes on with; their best weights are kept, the state of their training is not."""
_CLOSING_SECONDS = 30.0
"""How long a worker may take to close a trial that was stopped, which writes its state once more."""


class Tidying:
    """Trials that are done, in the order in which they ended, with the state of their training still there.

    An earlier driver that was killed within moments of a trial's end may have left it, too, and so may those after it
    that were killed within moments of their start.
    """

    def __init__(self, place: Place, progress: Progress, ledger: Ledger) -> None:
        self._place = place
        self._spent: deque[tuple[float, TrialState]] = deque()
        """Since when each is known to be done, by this process's own clock."""
        for trial in _left(progress, ledger):
            self.add(trial)

    def add(self, trial: TrialState) -> None:
        """Take up a trial that has ended, as the ledger knows; one that is gone on with keeps all that it has."""
        if trial.status in _DONE:
            self._spent.append((time.monotonic(), trial))

    def tidy(self, now: float | None = None) -> None:
        """Remove the state of those that ended long enough before `now`, by `time.monotonic`; of all, without it."""
        while self._spent and (now is None or now - self._spent[0][0] >= _CLOSING_SECONDS):
            _, trial = self._spent.popleft()
            self._place.forget(f"{schema.CHECKPOINTS}/{trial.id}", LAST)


def _left(progress: Progress, ledger: Ledger) -> list[TrialState]:
    """Trials that are done, with no driver whose events show that it ran for long enough after that to tidy up."""
    done = {trial.id: trial for trial in progress.trials.values() if trial.status in _DONE}
    left: deque[tuple[Moment, TrialState]] = deque()
    driver = ""
    for event in ledger.events:
        if event.at.process != driver:
            driver, left = event.at.process, deque((event.at, trial) for _, trial in left)
        while left and between(left[0][0], event.at) > _CLOSING_SECONDS:
            left.popleft()
        if event.subject in done and event.event == events.ENDED:
            left.append((event.at, done[event.subject]))
    return [trial for _, trial in left]
