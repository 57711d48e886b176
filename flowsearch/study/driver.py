"""The driver's side of a study: what to run next, and what to make of what comes back.

Ray Tune's searcher, scheduler and callback are shells over a `Driver`. In each method its own memory is brought up to
date first and the disk second, so that a disk that refuses to write costs rows. It stops the study, in order, only
where a trial can be neither planned nor kept.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowsearch.results import schema
from flowsearch.study import ledger as events
from flowsearch.study.attempts import Attempts
from flowsearch.study.ends import Earlier, end_of
from flowsearch.study.ledger import Ledger
from flowsearch.study.mending import lost_ends, mend
from flowsearch.study.orders import Lineup, Order, Orders
from flowsearch.study.outcome import Failure, Outcome
from flowsearch.study.place import Place
from flowsearch.study.planner import Planner
from flowsearch.study.priors import Priors, PriorState
from flowsearch.study.progress import FINAL, Listener, Progress, TrialState
from flowsearch.study.recorder import Recorder, row_of
from flowsearch.study.shared_priors import SharedPriors
from flowsearch.study.tidying import Tidying
from flowsearch.study.trainable import Report
from flowsearch.training.prior_store import PriorStore

_log = logging.getLogger(__name__)


class Driver:
    """Plans trials, takes their reports, and has the ledger, the tables and Optuna's journal written."""

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
        self.recorder = Recorder(self.place, progress, ledger, listener)
        self.proposer = Planner(self.study, progress.layout, self.recorder.journal.path, window, earlier)
        priors = SharedPriors(self.place.priors) if self.place.remote else PriorStore(self.place.priors.local)
        self.priors = Priors(priors, fingerprint, self.study.name, self.recorder)
        progress.priors = self.priors.states
        self._pretrains = run_prior is not None
        self._failed_priors: set[str] = set()
        self.orders = Orders(self.place, self.study.resources, priors.root, run_trial, run_prior)
        self.recorder.guard(self._restore_ends)
        self._tidying = Tidying(self.place, progress, ledger)
        self._attempts = Attempts(self.study, self.recorder, self.proposer, self._tidying)
        self._restore()
        waiting = sorted((trial for trial in progress.trials.values() if trial.status not in FINAL), key=_number)
        self._lineup = Lineup(waiting, self._propose, window * self.study.repeats * len(self.study.branches))
        self.remaining = progress.total - progress.done

    @property
    def hopeless(self) -> str | None:
        """Why there is no point in going on; None while there is."""
        return self._attempts.hopeless

    @property
    def no_room(self) -> str | None:
        """What could not be written, so that the study has to stop; None while all could."""
        return self.recorder.no_room

    # What an earlier driver left --------------------------------------------------------------------------------

    def _restore_ends(self) -> None:
        for trial, content, at in lost_ends(self.place, self.progress.trials.values()):
            _log.warning("the ledger lacks the end of trial %s, which its row has: %s", trial.id, content["status"])
            trial.apply(events.ENDED, content, at)
            trial.metrics = content["metrics"]
            self.recorder.note(events.ENDED, trial.id, at=at, **content)

    def _restore(self) -> None:
        trials = self.progress.trials
        ended = sorted((trial for trial in trials.values() if trial.status in FINAL), key=_number)
        ends = {one.number: end_of(self.study, one.status, one.reason, one.metrics) for one in ended}
        planned = {number: trial.values for number, trial in trials.items()}
        lost = self.proposer.restore(planned, ends, self._judge_again)
        for number, values in lost.items():
            self._planned(number, values)
        for trial in ended:
            if not self.proposer.frozen(trial.number).state.is_finished():
                self._judge_again(trial.number)
        self.recorder.guard(self._mend, ended)

    def _judge_again(self, number: int) -> None:
        """Note the objective of the epochs of a trial that has ended, as far as Optuna's journal lacks it. What is
        judged by them, or is worse by how far it came, needs them; of others they are not read again."""
        trial = self.progress.trials[number]
        if trial.by_epochs and (self.study.scheduler is not None or trial.status != schema.COMPLETED):
            self._attempts.judge(trial, self.place.records(f"{schema.CHECKPOINTS}/{trial.id}"))

    def _mend(self, ended: Sequence[TrialState]) -> None:
        """Write again what the tables may lack, of trials that have ended and of priors."""
        if self.ledger.events:
            epoch, trace = self.recorder.writer.epoch, self.recorder.trace
            mend(self.place, self.ledger, ended, row=self._row_again, epoch=epoch, trace=trace)

    def _row_again(self, trial: TrialState) -> None:
        """Write the row of a trial that an earlier driver ran, once its prior is known."""
        self._prior_of(trial)
        self.recorder.writer.trial(row_of(trial))

    # What to run ------------------------------------------------------------------------------------------------

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to hand out. What runs may have to be taken up again."""
        return self._lineup.empty and not self.no_room and self.proposer.exhausted

    def plan(self) -> Order | None:
        """The next work order, of a trial or of a prior that trials wait for; None if there is none yet.

        Trials planned and not finished come first, in order; one whose prior is not there yet lets others pass.
        """
        try:
            return None if self.no_room else self._next_order()
        except OSError as error:
            _log.exception("could not plan the next trial of %s; the study stops", self.study.name)
            self.recorder.no_room = f"the next trial could not be planned ({' '.join(str(error).split())})"
            return None

    def _next_order(self) -> Order | None:
        for trial in self._lineup:
            prior = self._prior_of(trial)
            if prior is None:
                self._lineup.hand_out(trial)
                return self.orders.of_trial(trial)
            if prior.failure is not None:
                self._lineup.drop(trial)
                # One prior that failed is one failure, however many trials needed it.
                counts = prior.key not in self._failed_priors
                self._attempts.settle(trial, Outcome("raised", prior.failure), counts=counts)
                self._failed_priors.add(prior.key)
            elif (order := self.priors.order(prior, self.orders.of_prior(trial))) is not None:
                return order
        return None

    def _prior_of(self, trial: TrialState) -> PriorState | None:
        """The prior that the trial has to wait for, which may have failed; None where there is nothing to wait for."""
        if not self._pretrains:
            return None
        prior = self.priors.needed(trial.number, trial.config)
        trial.prior = self.priors.used_by(trial.number)
        return prior

    def _propose(self) -> TrialState | None:
        proposal = self.proposer.next()
        return None if proposal is None else self._planned(*proposal)

    def _planned(self, number: int, values: dict[str, Any]) -> TrialState:
        trial = self.progress.planned(number, values)
        try:
            self.ledger.add(events.PLANNED, trial.id, number=number, values=values, config=trial.config)
        except OSError:
            # A trial that the ledger does not know of must not run.
            del self.progress.trials[number]
            raise
        self.recorder.tell("planned", trial)
        return trial

    # What comes back --------------------------------------------------------------------------------------------

    def judge(self, number: int | str, report: Report) -> bool:
        """Whether the trial should stop after the epochs in `report`; never at its last one."""
        if isinstance(number, str):
            return False
        trial = self.progress.trials[number]
        stops = self._attempts.judge(trial, report.records)
        trial.pruned = trial.pruned or (stops and report.records[-1]["epoch"] < trial.config["epochs"])
        return trial.pruned

    def take(self, number: int | str, report: Report) -> None:
        """Note a report of a running trial or prior."""
        if isinstance(number, str):
            self.priors.take(number, report)
            return
        trial = self.progress.trials[number]
        self._attempts.take(trial, report)
        for record in report.records:
            self.orders.took(trial, record)

    def ended(self, number: int | str, *, died: bool = False, failure: Failure | None = None) -> None:
        """Note that an order ended; with `died` because its worker process went away, of which Ray says `failure`.

        A trial is put back into the queue where it is worth another attempt.
        """
        if isinstance(number, str):
            self.priors.ended(number, died=died, failure=failure)
            return
        trial = self.progress.trials[number]
        self._lineup.came_back(trial)
        if self._attempts.ended(trial, died=died, failure=failure):
            self._lineup.put_first(trial)

    def tick(self) -> None:
        """Called a few times a second while trials run."""
        self.recorder.guard(self._tidying.tidy, time.monotonic())
        self.recorder.tick()

    def announce(self, kind: Any, note: str = "") -> None:
        """Tell the listener something about the whole study."""
        self.recorder.tell(kind, None, note)

    def stop(self, why: str) -> None:
        """Note that the study stops here: what runs is interrupted, and can be resumed."""
        for trial in self.progress.running:
            self._attempts.settle(trial, Outcome("interrupted", why=why))
        self.priors.stop(why)

    def close(self) -> None:
        """Write what waits; call it last, whatever happened."""
        self.recorder.guard(self._tidying.tidy)
        self.recorder.guard(self.proposer.close)
        self.recorder.close()


def _number(trial: TrialState) -> int:
    return trial.number
