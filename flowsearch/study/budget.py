"""What a study has used of its budget: wall-clock hours of this run, GPU-hours and money of its whole life.

GPU-hours are hours of trials and pre-trainings times their share of a GPU, counted from the ledger, so that a resume
goes on counting. A run whose driver was killed counts up to the last event that it wrote. Money is what the file's
price makes of GPU-hours (`usd_per_gpu_hour`) or of the hours of all runs (`usd_per_hour`); no price is built in.
"""

from flowsearch.study import ledger as events
from flowsearch.study.ledger import Event, Ledger
from flowsearch.study.moment import Moment, between
from flowsearch.study.sections import Budget

_ENDS = (events.AGAIN, events.ENDED)
_OF_A_RUN = (events.STARTED, events.STOPPED, *_ENDS)
"""What only a driver at work writes; a plan or a change may come from the next one, days after this one was killed."""


class Meter:
    """Counts what is used as the ledger grows."""

    def __init__(self, budget: Budget, ledger: Ledger) -> None:
        self.budget = budget
        self._ledger = ledger
        self._seen = 0
        self._gpu_seconds = self._seconds = 0.0
        self._running: dict[str, tuple[Moment, float]] = {}
        """Since when a trial or prior runs, and its share of a GPU."""
        self._began: Moment | None = None
        self._last: Moment | None = None

    def gpu_hours(self, now: Moment | None = None) -> float:
        """GPU-hours of all runs up to now."""
        now = self._catch_up(now)
        open_seconds = sum(self._up_to(now, since) * gpu for since, gpu in self._running.values())
        return (self._gpu_seconds + open_seconds) / 3600

    def hours(self, now: Moment | None = None) -> float:
        """Wall-clock hours of this run."""
        now = self._catch_up(now)
        return self._up_to(now, self._began) / 3600 if self._began is not None else 0.0

    def usd(self, now: Moment | None = None) -> float:
        """What all runs have cost up to now, at the file's price; 0 where it gives none."""
        now = self._catch_up(now)
        if self.budget.usd_per_gpu_hour is not None:
            return self.budget.usd_per_gpu_hour * self.gpu_hours(now)
        return (self.budget.usd_per_hour or 0.0) * (self._seconds / 3600 + self.hours(now))

    def over(self, now: Moment | None = None) -> str | None:
        """Which part of the budget is used up, as a reason; None while there is some left."""
        now, budget = self._catch_up(now), self.budget
        if budget.hours is not None and self.hours(now) >= budget.hours:
            return f"the study's budget of {budget.hours:g} hours was used up"
        if budget.gpu_hours is not None and self.gpu_hours(now) >= budget.gpu_hours:
            return f"the study's budget of {budget.gpu_hours:g} GPU-hours was used up"
        if budget.usd is not None and self.usd(now) >= budget.usd:
            return f"the study's budget of {budget.usd:g} USD was used up"
        return None

    def _up_to(self, now: Moment, since: Moment) -> float:
        """Seconds since then. Up to its last event the run's own clock counts, whoever asks, and on which machine."""
        last = self._last or since
        return between(since, last) + between(last, now)

    def _catch_up(self, now: Moment | None) -> Moment:
        for event in self._ledger.events[self._seen :]:
            self._take(event, event.at)
            # The end of a trial may be noted later, by a row that has its time alone.
            late = not event.at.process and self._last is not None and event.at.time < self._last.time
            if event.event in _OF_A_RUN and not late:
                self._last = event.at
        self._seen = len(self._ledger.events)
        return now or Moment.now()

    def _take(self, event: Event, at: Moment) -> None:
        if event.subject == events.STUDY:
            if event.event == events.STARTED:
                self._close(self._last or at)
                self._began = at
            elif event.event == events.STOPPED:
                self._close(at)
        elif event.event == events.STARTED:
            self._running[event.subject] = (at, float(event.content.get("gpu") or 0.0))
        elif event.event in _ENDS and event.subject in self._running:
            since, gpu = self._running.pop(event.subject)
            self._gpu_seconds += between(since, at) * gpu

    def _close(self, then: Moment) -> None:
        """A run is over, whether or not its driver could say so."""
        for since, gpu in self._running.values():
            self._gpu_seconds += between(since, then) * gpu
        self._running.clear()
        if self._began is not None:
            self._seconds += between(self._began, then)
            self._began = None
