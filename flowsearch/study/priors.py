"""Priors of a study: each is pre-trained once, as an order of its own, while the trials that need it wait for nothing.

A trial whose prior is not in the store stays in the driver's queue, where it holds neither a worker nor a GPU, and
others pass it. Its prior goes out as an order, unless it is out already, in this study or in another process that
shares the store: then the store's lock is asked for again about once a second. Which configuration a trial has is
decided before (`proposer`), so priors change nothing about that.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from flowsearch.results import schema
from flowsearch.study import ledger as events
from flowsearch.study.job import Job
from flowsearch.study.moment import Moment, between
from flowsearch.study.outcome import Failure, Outcome, again, settle
from flowsearch.study.records import read_records
from flowsearch.study.trainable import Report
from flowsearch.training.config import TrialConfig
from flowsearch.training.prior_store import PriorStore, prior_key

if TYPE_CHECKING:
    # Optuna and the tables' writer come with it, which `study list` does without.
    from flowsearch.study.recorder import Recorder

_log = logging.getLogger(__name__)

PREFIX = schema.PRIOR_PREFIX
"""What the id of a prior begins with, in orders, in the ledger and in the table of epochs."""

ELSEWHERE = "elsewhere"
"""Status of a prior that another process is pre-training."""

_AGAIN_SECONDS = 1.0


@dataclass
class PriorState(Job):
    """A prior that trials of this study need."""

    key: str
    config: dict[str, Any]
    """Of the first trial that needs it."""
    trials: set[int] = field(default_factory=set)
    """Numbers of the trials that need it."""
    lock: TextIO | None = None
    asked: float = 0.0

    @property
    def id(self) -> str:
        """Its name everywhere."""
        return PREFIX + self.key

    @property
    def share(self) -> float:
        """Share of its epochs that are done."""
        return self.epoch / max(1, self.config["prior"]["epochs"])

    @property
    def words(self) -> str:
        """The flow in a few words."""
        shape = " ".join(f"{name}={self.config[name]}" for name in ("depth", "levels", "hidden"))
        epochs = self.config["prior"]["epochs"]
        return f"flow {shape}, {epochs} epoch{'s' if epochs > 1 else ''}"


class Priors:
    """What the driver asks before it hands out a trial; reports on priors' orders come back here."""

    def __init__(self, store: PriorStore, fingerprint: str, study: str, recorder: "Recorder") -> None:
        self.store = store
        self._fingerprint, self._study, self._recorder = fingerprint, study, recorder
        self.states: dict[str, PriorState] = {}
        self._of: dict[int, PriorState] = {}
        self._attempts: dict[str, int] = {}
        for event in recorder.ledger.events:
            if event.event == events.STARTED and event.subject.startswith(PREFIX):
                self._attempts[event.subject] = event.content["attempt"]

    def needed(self, number: int, config: dict[str, Any]) -> PriorState | None:
        """The prior that the trial has to wait for, which may have failed; None where there is nothing to wait for."""
        if not config.get("pretrain"):
            return None
        state = self._of.get(number)
        if state is None:
            state = self._of[number] = self._state(TrialConfig.from_dict(config), config)
            state.trials.add(number)
            try:
                self.store.note_use(state.key, self._study, f"{number:04d}")
            except OSError:
                _log.exception("could not note who uses the prior %s", state.key)
        if state.status in (schema.PLANNED, ELSEWHERE) and self.store.finished(state.key):
            self._finish(state, {"status": schema.COMPLETED})
        return None if state.status == schema.COMPLETED else state

    def used_by(self, number: int) -> str | None:
        """The id of the prior that the trial was found to need."""
        state = self._of.get(number)
        return None if state is None else state.id

    def order(self, state: PriorState, common: dict[str, Any]) -> dict[str, Any] | None:
        """The order that pre-trains the prior, with what all orders say; None while it is out already."""
        now = time.monotonic()
        if state.status not in (schema.PLANNED, ELSEWHERE) or now - state.asked < _AGAIN_SECONDS:
            return None
        state.asked = now
        if state.lock is None:
            state.lock = self.store.hold(state.key)
        if state.lock is None:
            if state.status != ELSEWHERE:
                state.status = ELSEWHERE
                self._tell(f"{state.id}: another process is pre-training it; trials that need it wait")
            return None
        if self.store.finished(state.key):  # by the process that had the lock until now
            self._finish(state, {"status": schema.COMPLETED})
            return None
        state.status, state.gpu = schema.RUNNING, common["gpu"]
        return common | {
            "number": state.id,
            "trial": state.config,
            "checkpoint_dir": str(self.store.folder(state.key).resolve()),
            "kept": self.store.kept(state.key),
            "micro_batch": state.micro_batch,
            "anew": False,
        }

    def take(self, number: str, report: Report) -> None:
        """Note a report on a running pre-training."""
        state = self._at(number)
        if report.kind == "started":
            self._attempts[state.id] = attempt = self._attempts.get(state.id, 0) + 1
            content = {"attempt": attempt, "host": report.host, "gpu": state.gpu, "config": state.config}
            self._recorder.happens(state, events.STARTED, **content)
            self._tell(f"{state.id} started: {state.words}, needed by trial {min(state.trials):04d}")
        state.leaving = report.kind == "leaving"
        state.failure = report.failure or state.failure
        for text in report.warned if report.kind != "started" else ():  # what earlier attempts warned of was said
            _log.warning("%s: %s", state.id, text)
        for record in report.records:
            state.epoch, state.current = record["epoch"], record
            if record["phase"] != "final":
                self._recorder.epoch(state, record)

    def ended(self, number: str, *, died: bool = False, failure: Failure | None = None) -> None:
        """Note that a pre-training ended; with `died` because its worker went away, of which Ray says `failure`.

        Where it is worth another attempt it waits to be ordered again, its lock held; where it failed for good, the
        trials that need it fail alike.
        """
        state = self._at(number)
        if died:
            outcome = state.left(failure)
        elif state.failure is not None:
            outcome = Outcome("raised", state.failure)
        elif self.store.finished(state.key):
            outcome = Outcome("finished")
        else:
            outcome = Outcome("raised", Failure(("RuntimeError",), "it left no prior in the store", ""))
        one_more = again(outcome, state.taken_up, state.micro_batch or state.config["prior"]["batch_size"])
        if one_more is not None:
            micro_batch = one_more.micro_batch or state.micro_batch
            content = {"cause": one_more.cause, "reason": one_more.reason, "micro_batch": micro_batch}
            self._recorder.happens(state, events.AGAIN, attempt=state.attempt, **content)
            self._tell(f"{state.id} runs again: {one_more.reason}")
            return
        content = _end(state, outcome)
        status, reason = content["status"], content["reason"]
        if status != schema.COMPLETED:
            found = outcome.failure or Failure(("RuntimeError",), str(reason), "")
            if died:  # what Ray says of its worker is for the traceback
                found = Failure(("RuntimeError",), str(reason), found.trace)
            state.failure = Failure(found.kinds, f"{state.id}: {found.message or reason}", found.trace)
            content |= {"traceback": found.trace} if found.trace else {}
        self._finish(state, content)
        self._recorder.note(events.ENDED, state.id, **content)
        trials = len(state.trials)
        who = f"{trials} trial{'s' if trials > 1 else ''} waited for it" if status == schema.COMPLETED else str(reason)
        self._tell(f"{state.id} {status} in {content['seconds']:.1f} s: {who}")

    def stop(self, why: str) -> None:
        """The study stops here: what runs is interrupted, and whoever comes next goes on with it."""
        for state in self.states.values():
            if state.status == schema.RUNNING:
                self._recorder.happens(state, events.ENDED, **_end(state, Outcome("interrupted", why=why)))
            self._release(state)

    def _tell(self, said: str) -> None:
        self._recorder.tell("prior", None, said)

    def _at(self, number: str) -> PriorState:
        return self.states[number.removeprefix(PREFIX)]

    def _state(self, config: TrialConfig, values: dict[str, Any]) -> PriorState:
        key = prior_key(config, self._fingerprint)
        if key not in self.states:
            self.states[key] = PriorState(key, values)
            done = read_records(self.store.folder(key))
            self.states[key].epoch = done[-1]["epoch"] if done else 0
        return self.states[key]

    def _finish(self, state: PriorState, content: Mapping[str, Any]) -> None:
        state.apply(events.ENDED, content, Moment.now())
        self._release(state)
        if state.status == schema.COMPLETED:
            # Wherever it was pre-trained, the study shows what its trials start from.
            try:
                pictures = self.store.pictures(state.key)
            except OSError:
                _log.exception("could not read the pictures of the prior %s", state.key)
                return
            self._recorder.final(state.id, max(1, self._attempts.get(state.id, 0)), {schema.PANELS: pictures})

    def _release(self, state: PriorState) -> None:
        if state.lock is not None:
            state.lock.close()
            state.lock = None


def _end(state: PriorState, outcome: Outcome) -> dict[str, Any]:
    """What the ledger says of an end; its seconds are those of the last attempt."""
    status, reason = settle(outcome)
    seconds = between(state.started, Moment.now()) if state.started is not None else 0.0
    return {"attempt": state.attempt, "status": status, "reason": reason, "seconds": seconds}
