"""What becomes of trials that run: their reports, early stops and ends, and which are taken up again."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from flowsearch.results import schema
from flowsearch.study import ledger as events
from flowsearch.study.ends import end_of
from flowsearch.study.judge import Judge
from flowsearch.study.moment import Moment, between
from flowsearch.study.outcome import Again, Failure, Hopeless, Outcome, again, settle
from flowsearch.study.planner import Planner
from flowsearch.study.progress import FINAL, TrialState
from flowsearch.study.recorder import Recorder
from flowsearch.study.records import Record
from flowsearch.study.sections import Study
from flowsearch.study.tidying import Tidying
from flowsearch.study.trainable import Report


class Attempts:
    """Takes what comes back of trials' attempts, and writes down and tells what it comes to."""

    def __init__(self, study: Study, recorder: Recorder, proposer: Planner, tidying: Tidying) -> None:
        self._study, self._recorder, self._proposer, self._tidying = study, recorder, proposer, tidying
        self._judge = Judge(proposer, study.scheduler, study.most_epochs)
        self._noticed = Hopeless(study.failures.stop_after)
        self.hopeless: str | None = None
        """Why there is no point in going on; None while there is."""

    def judge(self, trial: TrialState, records: Iterable[Record]) -> bool:
        """Note the objective epoch by epoch, and say whether the trial should stop after one of them.

        Never, where they are not epochs of training.
        """
        stops = False
        for record in records if trial.by_epochs else ():
            value = record.get(self._study.metric)
            if record["phase"] == "train" and isinstance(value, int | float):
                stops = self._judge.stops(trial.number, record["epoch"], float(value)) or stops
        return stops

    def take(self, trial: TrialState, report: Report) -> None:
        """Note a report of a running trial."""
        if all(record.get("kept", True) for record in report.records):
            trial.signed = Moment.now()
        if report.kind == "started":
            # With its values, so that its plan may be damaged.
            said = {"host": report.host, "gpu": trial.gpu, "values": trial.values}
            self._recorder.happens(trial, events.STARTED, attempt=trial.attempt + 1, **said)
            self._recorder.row(trial)
            self._recorder.tell("started", trial)
        trial.leaving = report.kind == "leaving"
        trial.failure = report.failure or trial.failure
        trial.device = report.device or trial.device
        trial.warned(report.warned)
        for record in report.records:
            trial.reached(record)
            if record["phase"] == "final":
                self._recorder.final(trial.id, trial.attempt, record)
            else:
                self._recorder.epoch(trial, record)
                self._recorder.tell("epoch", trial)

    def ended(self, trial: TrialState, *, died: bool = False, failure: Failure | None = None) -> bool:
        """Note that an attempt ended, and say whether there is to be another one.

        `died`: because its worker process went away, of which Ray says `failure`.
        """
        outcome = trial.left(failure) if died else _outcome(trial)
        trial.overcame(trial.epoch)
        one_more = again(outcome, trial.taken_up, trial.micro_batch or trial.config.get("batch_size"))
        if one_more is None:
            self.settle(trial, outcome)
            return False
        self._take_up(trial, one_more)
        return True

    def settle(self, trial: TrialState, outcome: Outcome, *, counts: bool = True) -> None:
        """Note how a trial ended. Unless it `counts`, a failure is none of those in a row that stop a study."""
        status, reason = settle(outcome)
        if outcome.disk_full:
            self._recorder.no_room = f"trial {trial.id} could not be kept ({reason})"
        if counts:
            self.hopeless = self.hopeless or self._noticed.noted(status, reason, bool(trial.current))
        trace = outcome.failure.trace if outcome.failure is not None else None
        # An attempt that broke before it could say that it started counts too.
        content = {"attempt": trial.attempt + (trial.status != schema.RUNNING), "status": status, "reason": reason}
        content |= {"metrics": _finite(trial.metrics)} | ({"traceback": trace} if trace else {})
        content |= {name: told for name in ("device", "warnings") if (told := getattr(trial, name))}
        noted = self._recorder.happens(trial, events.ENDED, **content)
        if trial.status in FINAL:
            # After the ledger, so that Optuna never knows of an end that the ledger lacks.
            end = end_of(self._study, trial.status, trial.reason, trial.metrics)
            self._recorder.guard(self._proposer.end, trial.number, end)
        if noted:
            self._tidying.add(trial)
        if trace:
            self._recorder.guard(self._recorder.trace, trial, trace)
        self._recorder.row(trial)
        self._recorder.tell("ended", trial)

    def _take_up(self, trial: TrialState, one_more: Again) -> None:
        """Note that a trial goes on from its checkpoint in another attempt."""
        lost = 0.0 if trial.leaving or trial.signed is None else between(trial.signed, Moment.now())
        self._recorder.happens(
            trial,
            events.AGAIN,
            attempt=trial.attempt,
            cause=one_more.cause,
            reason=one_more.reason,
            micro_batch=one_more.micro_batch or trial.micro_batch,
            epoch=trial.epoch,
            lost_seconds=lost,
        )
        self._recorder.tell("again", trial, one_more.reason)


def _outcome(trial: TrialState) -> Outcome:
    """How a trial ended whose worker is still there."""
    if trial.failure is not None:
        return Outcome("raised", trial.failure)
    if trial.finished:
        return Outcome("finished")
    if trial.pruned:
        return Outcome("pruned")
    return Outcome("interrupted", why="stopped by Ray Tune")


def _finite(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What the ledger's JSON can hold of them."""
    return {name: value for name, value in metrics.items() if not isinstance(value, float) or math.isfinite(value)}
