"""What only training on would need, of trials that are done: it goes once their workers have let go of it."""

from collections import deque
from datetime import datetime, timedelta

from flowsearch.results import schema
from flowsearch.study.ledger import Ledger
from flowsearch.study.place import Place
from flowsearch.study.progress import Progress, TrialState
from flowsearch.training.header import LAST

_DONE = frozenset({schema.COMPLETED, schema.PRUNED})
"""Statuses of trials that nobody goes on with; their best weights are kept, the state of their training is not."""
_CLOSING = timedelta(seconds=30)
"""How long a worker may take to close a trial that was stopped, which writes its state once more."""


class Tidying:
    """Trials that are done, in the order in which they ended, with the state of their training still there.

    An earlier driver that was killed within moments of a trial's end may have left it, too.
    """

    def __init__(self, place: Place, progress: Progress, ledger: Ledger) -> None:
        self._place = place
        self._spent: deque[TrialState] = deque()
        if ledger.events:
            since = ledger.events[-1].time - _CLOSING
            done = [trial for trial in progress.trials.values() if trial.status in _DONE]
            ended = [(trial.ended, trial) for trial in done if trial.ended is not None and trial.ended >= since]
            self._spent.extend(trial for _, trial in sorted(ended, key=lambda one: one[0]))

    def add(self, trial: TrialState) -> None:
        """Take up a trial that has ended, as the ledger knows; one that is gone on with keeps all that it has."""
        if trial.status in _DONE:
            self._spent.append(trial)

    def tidy(self, now: datetime | None = None) -> None:
        """Remove the state of those that ended long enough before `now`; of all, without it."""
        until = None if now is None else now - _CLOSING
        while self._spent and (until is None or (self._spent[0].ended or until) <= until):
            trial = self._spent.popleft()
            self._place.forget(f"{schema.CHECKPOINTS}/{trial.id}", LAST)
