"""The driver's side of a study, without Ray: what to run next, and what to note of what comes back.

Ray Tune's searcher, scheduler and callback are shells over a `Driver`. In each method its own memory is brought up to
date first and the disk second, so that a disk that refuses to write costs rows. It stops the study, in order, only
where a trial can be neither planned nor kept.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from flowsearch.results import Writer, schema
from flowsearch.study import ledger as events
from flowsearch.study.ends import Earlier, End, end_of
from flowsearch.study.job import between
from flowsearch.study.journal import Journal
from flowsearch.study.ledger import Ledger
from flowsearch.study.mending import lost_ends, mend
from flowsearch.study.outcome import Again, Failure, Hopeless, Outcome, again, settle
from flowsearch.study.packing import Packing
from flowsearch.study.place import Place
from flowsearch.study.planner import Planner
from flowsearch.study.priors import PREFIX, Priors
from flowsearch.study.progress import FINAL, Event, Listener, Progress, TrialState
from flowsearch.study.records import Record
from flowsearch.study.scheduler import Judge
from flowsearch.study.shared_priors import SharedPriors
from flowsearch.study.trainable import Report
from flowsearch.training.header import LAST
from flowsearch.training.prior_store import PriorStore

_log = logging.getLogger(__name__)

_DONE = frozenset({schema.COMPLETED, schema.PRUNED})
"""Statuses of trials that nobody goes on with; their best weights are kept, the state of their training is not."""
_TIDY = timedelta(seconds=30)
"""How long a worker may take to close a trial that was stopped, which writes its state once more."""

_CONFIG = [column.name for column in schema.CONFIG_COLUMNS]
_METRICS = [column.name for column in schema.METRIC_COLUMNS]


class Driver:
    """Plans trials, takes their reports, and writes the ledger, the tables and Optuna's journal."""

    def __init__(
        self,
        place: Place | Path,
        progress: Progress,
        ledger: Ledger,
        *,
        run_trial: str,
        window: int,
        run_prior: str | None = None,
        fingerprint: str = "",
        listener: Listener | None = None,
        earlier: Sequence[Sequence[Earlier]] = (),
    ) -> None:
        self.place = place if isinstance(place, Place) else Place(place)
        self.progress, self.ledger = progress, ledger
        self.study, self.fingerprint = progress.study, fingerprint
        self._run_trial, self._run_prior, self._listener = run_trial, run_prior, listener
        self._writer = Writer(self.place.store, self.study.name)
        self._journal = Journal(self.place)
        self.proposer = Planner(self.study, progress.layout, self._journal.path, window, earlier)
        self._judge = Judge(self.proposer, self.study.scheduler, self.study.most_epochs)
        self._window = window
        self.packing: Packing | None = None
        """Of `gpu: auto`, once the GPUs are known."""
        self.priors = Priors(
            SharedPriors(self.place.priors) if self.place.remote else PriorStore(self.place.priors.local),
            fingerprint,
            self.study.name,
            ledger,
            note=partial(self._guard, ledger.add),
            write=partial(self._guard, self._writer.epoch),
            keep=partial(self._guard, self._writer.final),
            tell=lambda said: self._tell("prior", None, said),
        )
        progress.priors = self.priors.states
        self._guard(self._restore_ends)
        self._spent = self._untidied()
        self._restore()
        waiting = [trial for trial in progress.trials.values() if trial.status not in FINAL]
        self._queue = deque(sorted(waiting, key=lambda trial: trial.number))
        self.remaining = progress.total - progress.done
        self._handed_out: set[int] = set()
        self._hopeless = Hopeless(self.study.failures.stop_after)
        self.hopeless: str | None = None
        """Why there is no point in going on; None while there is."""
        self.no_room: str | None = None
        """What could not be written, so that the study has to stop; None while all could."""
        self._failed_priors: set[str] = set()

    # What to run ------------------------------------------------------------------------------------------------

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to hand out. What runs may have to be taken up again."""
        return not (self._queue or self._handed_out or self.no_room) and self.proposer.exhausted

    def plan(self) -> dict[str, Any] | None:
        """The next work order, of a trial or of a prior that trials wait for; None if there is none yet.

        Trials planned and not finished come first, in order; one whose prior is not there yet lets others pass.
        """
        try:
            return None if self.no_room else self._next_order()
        except OSError as error:
            _log.exception("could not plan the next trial of %s; the study stops", self.study.name)
            self.no_room = f"the next trial could not be planned ({' '.join(str(error).split())})"
            return None

    def _next_order(self) -> dict[str, Any] | None:
        for trial in self._lined_up():
            prior = None if self._run_prior is None else self.priors.needed(trial.number, trial.config)
            if prior is None:
                self._queue.remove(trial)
                self._handed_out.add(trial.number)
                return self._order(trial)
            if prior.failure is not None:
                self._queue.remove(trial)
                # One prior that failed is one failure, however many trials needed it.
                self._settle(trial, Outcome("raised", prior.failure), counts=prior.key not in self._failed_priors)
                self._failed_priors.add(prior.key)
            elif (order := self.priors.order(prior, self._prior_order(trial))) is not None:
                return order
        return None

    def _lined_up(self) -> Iterator[TrialState]:
        """The trials that wait, then new ones, of which at most a window's number wait in their turn."""
        yield from list(self._queue)
        while len(self._queue) < self._window and (trial := self._propose()) is not None:
            self._queue.append(trial)
            yield trial

    def _propose(self) -> TrialState | None:
        proposal = self.proposer.next()
        if proposal is None:
            return None
        number, values = proposal
        return self._planned(number, values)

    def _planned(self, number: int, values: dict[str, Any]) -> TrialState:
        trial = self.progress.planned(number, values)
        try:
            self.ledger.add(events.PLANNED, trial.id, number=number, values=values, config=trial.config)
        except OSError:
            # A trial that the ledger does not know of must not run.
            del self.progress.trials[number]
            raise
        self._tell("planned", trial)
        return trial

    def _order(self, trial: TrialState) -> dict[str, Any]:
        trial.gpu = self.share(trial.config)
        return self._common(trial.gpu) | {
            "number": trial.number,
            "trial": trial.config,
            "run_trial": self._run_trial,
            "checkpoint_dir": str(self.place.folder(f"{schema.CHECKPOINTS}/{trial.id}").resolve()),
            "kept": self.place.kept(f"{schema.CHECKPOINTS}/{trial.id}"),
            "priors": self.place.priors.kept((self.priors.used_by(trial.number) or "").removeprefix(PREFIX)),
            "micro_batch": trial.micro_batch,
            "anew": trial.anew,
        }

    def _prior_order(self, trial: TrialState) -> dict[str, Any]:
        """What the order of the trial's prior says, besides whose it is."""
        return self._common(self.share(trial.config, prior=True)) | {"run_trial": self._run_prior}

    def _common(self, gpu: float) -> dict[str, Any]:
        return {
            "prior_dir": str(self.priors.store.root),
            "device": "auto" if gpu else "cpu",
            "threads": self.study.resources.cpu,
            "gpu": gpu,
        }

    def share(self, config: dict[str, Any], *, prior: bool = False) -> float:
        """GPUs that the trial gets, or the pre-training of its prior."""
        gpu = self.study.resources.gpu
        if isinstance(gpu, str):
            return self.packing.share(config, prior=prior) if self.packing is not None else 0.0
        return gpu

    def _restore_ends(self) -> None:
        for trial, content, at in lost_ends(self.place, self.progress.trials.values()):
            _log.warning("the ledger lacks the end of trial %s, which its row has: %s", trial.id, content["status"])
            trial.apply(events.ENDED, content, at)
            trial.metrics = content["metrics"]
            self._guard(self.ledger.add, events.ENDED, trial.id, at=at, **content)

    def _restore(self) -> None:
        trials = self.progress.trials
        ends = {n: self._end(trial) for n, trial in trials.items() if trial.status in FINAL}
        lost = self.proposer.restore({n: trial.values for n, trial in trials.items()}, ends)
        for number, values in lost.items():
            self._planned(number, values)
        for number in sorted(ends):
            if not self.proposer.frozen(number).state.is_finished():
                self._review(trials[number])
        self._guard(self._mend, [trials[number] for number in sorted(ends)])

    def _mend(self, ended: Sequence[TrialState]) -> None:
        """Write again what the tables may lack, of trials that have ended and of priors."""
        if self.ledger.events:
            epoch, trace = self._writer.epoch, self._keep_trace
            mend(self.place, self.ledger, ended, row=self._row_again, epoch=epoch, trace=trace)

    def _row_again(self, trial: TrialState) -> None:
        """Write the row of a trial that an earlier driver ran, once its prior is known."""
        if self._run_prior is not None:
            self.priors.needed(trial.number, trial.config)
        self._writer.trial(self._row(trial))

    def _review(self, trial: TrialState) -> None:
        """Note again what Optuna's journal may lack of a trial that has ended: the objective epoch by epoch."""
        for record in self.place.records(f"{schema.CHECKPOINTS}/{trial.id}") if trial.by_epochs else ():
            if record["phase"] == "train" and isinstance(record.get(self.study.metric), int | float):
                self._judge.stops(trial.number, record["epoch"], float(record[self.study.metric]))

    def _end(self, trial: TrialState) -> End:
        return end_of(self.study, trial.status, trial.reason, trial.metrics)

    # What comes back --------------------------------------------------------------------------------------------

    def judge(self, number: int | str, report: Report) -> bool:
        """Whether the trial should stop after the epochs in `report`; never, where they are not epochs of training."""
        if isinstance(number, str):
            return False
        trial = self.progress.trials[number]
        if not trial.by_epochs:
            return False
        stops = False
        for record in report.records:
            value = record.get(self.study.metric)
            if record["phase"] == "train" and isinstance(value, int | float):
                stops = self._judge.stops(number, record["epoch"], float(value)) or stops
        last = report.records[-1]["epoch"] if report.records else 0
        trial.pruned = trial.pruned or (stops and last < trial.config["epochs"])
        return trial.pruned

    def take(self, number: int | str, report: Report) -> None:
        """Note a report of a running trial."""
        if isinstance(number, str):
            self.priors.take(number, report)
            return
        trial = self.progress.trials[number]
        if all(record.get("kept", True) for record in report.records):
            trial.signed = datetime.now(UTC)
        if report.kind == "started":
            self._started(trial, report.host)
        trial.leaving = report.kind == "leaving"
        trial.failure = report.failure or trial.failure
        for record in report.records:
            self._record(trial, record)

    def ended(self, number: int | str, *, died: bool = False, failure: Failure | None = None) -> None:
        """Note that an order ended; with `died` because its worker process went away, of which Ray says `failure`.

        A trial is put back into the queue where it is worth another attempt.
        """
        if isinstance(number, str):
            self.priors.ended(number, died=died, failure=failure)
            return
        trial = self.progress.trials[number]
        self._handed_out.discard(number)
        if died:
            outcome = Outcome.of_worker(failure, leaving=trial.leaving)
        elif trial.failure is not None:
            outcome = Outcome("raised", trial.failure)
        elif trial.finished:
            outcome = Outcome("finished")
        elif trial.pruned:
            outcome = Outcome("pruned")
        else:
            outcome = Outcome("interrupted", why="stopped by Ray Tune")
        trial.overcame(trial.epoch)
        one_more = again(outcome, trial.taken_up, trial.micro_batch or trial.config.get("batch_size"))
        if one_more is None:
            self._settle(trial, outcome)
        else:
            self._take_up(trial, one_more)

    def stop(self, why: str) -> None:
        """Note that the study stops here: what runs is interrupted, and can be resumed."""
        for trial in self.progress.running:
            self._settle(trial, Outcome("interrupted", why=why))
        self.priors.stop(why)

    def close(self) -> None:
        """Write what waits; call it last, whatever happened."""
        self._guard(self._tidy)
        self._guard(self.proposer.close)
        self._guard(self._journal.share)
        self._guard(self._writer.close)
        self._guard(self._writer.compact)

    def tick(self) -> None:
        """Called a few times a second while trials run."""
        self._guard(self._tidy, datetime.now(UTC) - _TIDY)
        self._guard(self._writer.tick)
        self._guard(self._journal.tick)
        self._tell("tick")

    def _untidied(self) -> deque[TrialState]:
        """Trials that are done, in the order in which they ended, whose last state an earlier driver may have left: it
        was killed within moments of their end."""
        if not self.ledger.events:
            return deque()
        since = self.ledger.events[-1].time - _TIDY
        done = [trial for trial in self.progress.trials.values() if trial.status in _DONE]
        ended = [(trial.ended, trial) for trial in done if trial.ended is not None and trial.ended >= since]
        return deque(trial for _, trial in sorted(ended, key=lambda one: one[0]))

    def _tidy(self, until: datetime | None = None) -> None:
        """Remove what only training on would need, of trials that were done by then; with None, of all."""
        while self._spent and (until is None or (self._spent[0].ended or until) <= until):
            trial = self._spent.popleft()
            self.place.forget(f"{schema.CHECKPOINTS}/{trial.id}", LAST)

    def announce(self, kind: Any, note: str = "") -> None:
        """Tell the listener something about the whole study."""
        self._tell(kind, None, note)

    def _take_up(self, trial: TrialState, one_more: Again) -> None:
        """Put a trial back into the queue: it goes on from its checkpoint."""
        self._queue.appendleft(trial)
        lost = 0.0 if trial.leaving or trial.signed is None else between(trial.signed, datetime.now(UTC))
        self._happens(
            trial,
            events.AGAIN,
            attempt=trial.attempt,
            cause=one_more.cause,
            reason=one_more.reason,
            micro_batch=one_more.micro_batch or trial.micro_batch,
            epoch=trial.epoch,
            lost_seconds=lost,
        )
        self._tell("again", trial, one_more.reason)

    def _started(self, trial: TrialState, host: str) -> None:
        # With its values, so that its plan may be damaged.
        said = {"host": host, "gpu": trial.gpu, "values": trial.values}
        self._happens(trial, events.STARTED, attempt=trial.attempt + 1, **said)
        self._guard(self._writer.trial, self._row(trial))
        self._tell("started", trial)

    def _record(self, trial: TrialState, record: Record) -> None:
        trial.metrics |= record.get("so_far", {})
        if record["phase"] == "final":
            trial.metrics |= {name: record[name] for name in _METRICS if record.get(name) is not None}
            trial.finished = True
            if self.packing is not None and record.get("peak_memory_bytes"):
                self.packing.took(trial.config, record["peak_memory_bytes"])
            self._guard(self._writer.final, trial.id, trial.attempt, record)
            return
        trial.phase, trial.epoch, trial.current = record["phase"], record["epoch"], record
        if record["phase"] == "train":
            known = trial.metrics.get("val_loss", math.inf)
            if record.get("val_loss", math.inf) < known:
                trial.metrics |= {"val_loss": record["val_loss"], "val_psnr": record.get("val_psnr")}
                trial.metrics |= {"best_epoch": record["epoch"]} if trial.by_epochs else {}
            trial.metrics |= {"epochs_run": record["epoch"]} if trial.by_epochs else {}
        self._guard(self._writer.epoch, trial.id, trial.attempt, record)
        self._tell("epoch", trial)

    def _settle(self, trial: TrialState, outcome: Outcome, *, counts: bool = True) -> None:
        status, reason = settle(outcome)
        if outcome.disk_full:
            self.no_room = f"trial {trial.id} could not be kept ({reason})"
        if counts:
            self.hopeless = self.hopeless or self._hopeless.noted(status, reason, bool(trial.current))
        trace = outcome.failure.trace if outcome.failure is not None else None
        # An attempt that broke before it could say that it started counts too.
        content = {"attempt": trial.attempt + (trial.status != schema.RUNNING), "status": status, "reason": reason}
        content |= {"metrics": _plain(trial.metrics)} | ({"traceback": trace} if trace else {})
        noted = self._happens(trial, events.ENDED, **content)
        if trial.status in FINAL:
            # After the ledger, so that Optuna never knows of an end that the ledger lacks.
            self._guard(self.proposer.end, trial.number, self._end(trial))
        if trial.status in _DONE and noted:
            self._spent.append(trial)
        if trace:
            self._guard(self._keep_trace, trial, trace)
        self._guard(self._writer.trial, self._row(trial))
        self._tell("ended", trial)

    def _happens(self, trial: TrialState, event: str, **content: Any) -> bool:
        """Change the trial by an event of its life, and say whether the ledger could take that event down."""
        trial.apply(event, content, datetime.now(UTC))
        return self._guard(self.ledger.add, event, trial.id, **content)

    def _keep_trace(self, trial: TrialState, trace: str) -> None:
        """Put the traceback where a person finds it."""
        self.place.store.put(f"{schema.ERRORS}/{trial.id}.txt", trace.encode(), safe=False)

    def _row(self, trial: TrialState) -> dict[str, Any]:
        config = trial.config
        return {
            "study": self.study.name,
            "trial_id": trial.id,
            "index": trial.number,
            "configuration": trial.configuration,
            "repeat": trial.repeat,
            "attempt": trial.attempt,
            "status": trial.status,
            "reason": trial.reason,
            "started": trial.started,
            "ended": trial.ended,
            "host": trial.host,
            "micro_batch": trial.micro_batch,
            "prior": self.priors.used_by(trial.number),
            "source": config["data"]["source"],
            "size": config["data"]["size"],
            **{name: config[name] for name in _CONFIG if name in config},
            **{name: trial.metrics[name] for name in _METRICS if name in trial.metrics},
            "seconds": trial.seconds,
        }

    def _tell(self, kind: Any, trial: TrialState | None = None, note: str = "") -> None:
        if self._listener is not None:
            self._guard(self._listener, Event(kind, self.progress, trial, note))

    def _guard(self, action: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
        """Do what must never end a study, and say whether it was done; what goes wrong is logged."""
        try:
            action(*args, **kwargs)
        except Exception:
            _log.exception("could not note an event of %s; the study goes on", self.study.name)
            return False
        return True


def _plain(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if not isinstance(value, float) or math.isfinite(value)}
