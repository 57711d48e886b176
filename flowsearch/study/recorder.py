"""Writes down what happens in a study: ledger, tables, tracebacks, Optuna's journal; and tells a listener."""

import logging
from collections.abc import Callable
from typing import Any

from flowsearch.results import Writer, schema
from flowsearch.study.job import Job
from flowsearch.study.journal import Journal
from flowsearch.study.ledger import Ledger
from flowsearch.study.moment import Moment
from flowsearch.study.place import Place
from flowsearch.study.progress import Event, Listener, Progress, TrialState
from flowsearch.study.records import Record

_log = logging.getLogger(__name__)

_CONFIG = [column.name for column in schema.CONFIG_COLUMNS]
_METRICS = [column.name for column in schema.METRIC_COLUMNS]


class Recorder:
    """The files that a study's driver writes. Where one cannot be written that is logged, and the study goes on."""

    def __init__(self, place: Place, progress: Progress, ledger: Ledger, listener: Listener | None = None) -> None:
        self.ledger = ledger
        self.writer = Writer(place.store, progress.study.name)
        self.journal = Journal(place)
        self.no_room: str | None = None
        """What could not be written, so that the study has to stop; None while all could."""
        self._store, self._progress, self._listener = place.store, progress, listener

    def guard(self, action: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
        """Do what must never end a study, and say whether it was done; what goes wrong is logged."""
        try:
            action(*args, **kwargs)
        except Exception:
            _log.exception("could not note an event of %s; the study goes on", self._progress.study.name)
            return False
        return True

    def note(self, event: str, subject: str, **content: Any) -> bool:
        """Add an event to the ledger; False where it could not be taken down."""
        return self.guard(self.ledger.add, event, subject, **content)

    def happens(self, job: Job, event: str, **content: Any) -> bool:
        """Change a trial or prior by an event of its life, and note that event: the memory first, the disk second."""
        at = Moment.now()
        job.apply(event, content, at)
        return self.note(event, job.id, at=at, **content)

    def row(self, trial: TrialState) -> None:
        """Write a trial's row as it is now."""
        self.guard(self.writer.trial, row_of(trial))

    def epoch(self, job: Job, record: Record) -> None:
        """Write the record of an epoch of a trial or prior."""
        self.guard(self.writer.epoch, job.id, job.attempt, record)

    def final(self, of: str, attempt: int, record: Record) -> None:
        """Write the images and panels of a trial or prior."""
        self.guard(self.writer.final, of, attempt, record)

    def trace(self, trial: TrialState, trace: str) -> None:
        """Put a traceback where a person finds it. Raises OSError where that fails."""
        self._store.put(f"{schema.ERRORS}/{trial.id}.txt", trace.encode(), safe=False)

    def tell(self, kind: Any, trial: TrialState | None = None, note: str = "") -> None:
        """Tell the listener of an event of the study, or of a trial."""
        if self._listener is not None:
            self.guard(self._listener, Event(kind, self._progress, trial, note))

    def tick(self) -> None:
        """Write what has waited for long enough."""
        self.guard(self.writer.tick)
        self.guard(self.journal.tick)
        self.tell("tick")

    def close(self) -> None:
        """Write what waits."""
        self.guard(self.journal.share)
        self.guard(self.writer.close)
        self.guard(self.writer.compact)


def row_of(trial: TrialState) -> dict[str, Any]:
    """A trial's row in the table of trials."""
    config = trial.config
    return {
        "trial_id": trial.id,
        "index": trial.number,
        "configuration": trial.configuration,
        "repeat": trial.repeat,
        "attempt": trial.attempt,
        "status": trial.status,
        "reason": trial.reason,
        "warnings": trial.warnings,
        "started": None if trial.started is None else trial.started.time,
        "ended": None if trial.ended is None else trial.ended.time,
        "host": trial.host,
        "device": trial.device,
        "micro_batch": trial.micro_batch,
        "prior": trial.prior,
        "source": config["data"]["source"],
        "size": config["data"]["size"],
        **{name: config[name] for name in _CONFIG if name in config},
        **{name: trial.metrics[name] for name in _METRICS if name in trial.metrics},
        "seconds": trial.seconds,
    }
