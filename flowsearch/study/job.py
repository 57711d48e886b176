"""What a trial and the pre-training of a prior have in common: attempts on workers, which may be lost, until an end."""

import platform
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowsearch.results import schema
from flowsearch.study import ledger as events
from flowsearch.study.moment import Moment, between
from flowsearch.study.outcome import Failure, Outcome


@dataclass(kw_only=True)
class Job(ABC):
    """A job as the driver sees it."""

    status: str = schema.PLANNED
    reason: str | None = None
    attempt: int = 0
    host: str | None = None
    gpu: float = 0.0
    """Its share of a GPU."""
    started: Moment | None = None
    ended: Moment | None = None
    earlier_seconds: float = 0.0
    """Time spent in attempts before this one."""
    epoch: int = 0
    current: dict[str, Any] = field(default_factory=dict)
    """The last epoch's record."""
    micro_batch: int | None = None
    """Images whose gradient is computed at once, where memory ran out before."""
    taken_up: Counter[str] = field(default_factory=Counter)
    """How often it was taken up again by itself, by cause."""
    leaving: bool = False
    """Whether its worker has said that its machine is about to go, and has kept the job's state."""
    failure: Failure | None = None
    """What was raised."""

    @property
    @abstractmethod
    def id(self) -> str:
        """Its name in the ledger and in the tables."""

    @property
    def seconds(self) -> float:
        """Wall-clock time of all attempts up to now, but of those before a retry that began it anew."""
        if self.started is None or (self.ended is None and self.status != schema.RUNNING):
            return self.earlier_seconds
        return self.earlier_seconds + between(self.started, self.ended or Moment.now())

    def apply(self, event: str, content: Mapping[str, Any], at: Moment) -> None:
        """Take in what happened to it, in the words of the ledger: as it happens, and when a ledger is read again."""
        if event == events.STARTED:
            self._begin(content["attempt"], at)
            self.status, self.reason, self.host = schema.RUNNING, None, content.get("host")
        elif event == events.AGAIN:
            if self.status == schema.RUNNING:  # else it died before it could say that it started
                self.ended = at
            self.status, self.failure, self.leaving = schema.PLANNED, None, False
            self.micro_batch = content.get("micro_batch")
            self.taken_up[content["cause"]] += 1
        elif event == events.ENDED:
            attempt = content.get("attempt", self.attempt)
            if attempt != self.attempt:  # it died before it could say that it started
                self._begin(attempt, at)
            self.status, self.reason, self.ended = content["status"], content.get("reason"), at

    def left(self, failure: Failure | None) -> Outcome:
        """How an attempt ended whose worker process went away, of which Ray says `failure`."""
        return Outcome.of_worker(failure, leaving=self.leaving, here=self.host == platform.node())

    def _begin(self, attempt: int, at: Moment) -> None:
        """Take down that an attempt begins; how long the one before went on is not known if it has no end."""
        if self.ended is not None:
            self.earlier_seconds = self.seconds
        self.attempt, self.started, self.ended = attempt, at, None
