"""What a study's driver knows of its trials; the live view and the closing table are drawn from it."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from flowsearch.lazy import lazy
from flowsearch.results import schema
from flowsearch.study import ledger as events
from flowsearch.study.changes import differing
from flowsearch.study.job import Job
from flowsearch.study.layout import Layout
from flowsearch.study.ledger import Ledger
from flowsearch.study.moment import Moment
from flowsearch.study.sections import Study
from flowsearch.study.standing import Configuration, front, ranked
from flowsearch.training.config import TRAINED

if TYPE_CHECKING:
    from flowsearch.study.priors import PriorState

FINAL = frozenset({schema.COMPLETED, schema.PRUNED, schema.FAILED, schema.DIVERGED})
"""Statuses of trials that a resume leaves alone."""

TROUBLE = frozenset({schema.FAILED, schema.DIVERGED})

_METRICS = [column.name for column in schema.METRIC_COLUMNS]


@dataclass(frozen=True)
class Loss:
    """What a trial lost when its worker or its machine went away."""

    host: str | None
    epoch: int
    """The last epoch that the driver had heard of."""
    seconds: float
    """Of training after that, at most; 0 where notice was given in time."""


@dataclass
class TrialState(Job):
    """A trial as the driver sees it."""

    number: int
    values: dict[str, Any]
    """What was proposed; its task and its seed, where there are several."""
    config: dict[str, Any]
    """The whole configuration, `TrialConfig.to_dict`."""
    configuration: int = 0
    """Which configuration of the study it is, and which of its repeats."""
    repeat: int = 0
    phase: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    """Of the best epoch so far, and at the end everything of the last record that is a number."""
    pruned: bool = False
    prior: str | None = None
    """The id of the prior that it was found to need."""
    losses: list[Loss] = field(default_factory=list)
    """What was lost each time that its worker or machine went away."""
    signed: Moment | None = None
    """When its worker was last heard of with all that it had done kept in the checkpoint."""
    device: str | None = None
    """What its last record was made on, a GPU or a processor."""
    warnings: str | None = None
    """What its workers warned of, a line each; of an attempt whose driver was killed, what its checkpoint says."""
    anew: bool = False
    """Whether its next attempt begins from the start, its checkpoints cleared."""
    finished: bool = False

    @property
    def id(self) -> str:
        """The trial's name everywhere: its number, with leading zeros."""
        return f"{self.number:04d}"

    def apply(self, event: str, content: Mapping[str, Any], at: Moment) -> None:
        """Take in what happened to it, as `Job` does, and what of it concerns only trials."""
        if event == events.STARTED:
            self.anew = False
        elif event == events.AGAIN:
            self.finished, self.pruned, self.signed = False, False, None
            epoch = content.get("epoch", 0)
            self.overcame(epoch)
            if content["cause"] != "memory":
                self.losses.append(Loss(self.host, epoch, content.get("lost_seconds", 0.0)))
        elif event == events.RETRIED:
            self.status, self.reason, self.anew = schema.PLANNED, None, content["anew"]
            if self.anew:  # nothing of what it did is in its result, and so no time of it
                self.metrics, self.earlier_seconds, self.started, self.ended = {}, 0.0, None, None
                self.warnings = None
            self.taken_up.clear()
            self.losses.clear()
        elif event == events.ENDED:
            self.device, self.warnings = content.get("device"), content.get("warnings")
        super().apply(event, content, at)

    def warned(self, texts: Iterable[str]) -> None:
        """Take in what its worker warned of; a text that is known already, as after a resume, is not said again."""
        self.warnings = "\n".join(dict.fromkeys([*(self.warnings or "").splitlines(), *texts])) or None

    def reached(self, record: dict[str, Any]) -> None:
        """Take in the record of an epoch, or the last one of all."""
        self.metrics |= record.get("so_far", {})
        if record["phase"] == "final":
            self.metrics |= {name: record[name] for name in _METRICS if record.get(name) is not None}
            self.finished = True
            return
        self.phase, self.epoch, self.current = record["phase"], record["epoch"], record
        if record["phase"] == "train":
            if record.get("val_loss", math.inf) < self.metrics.get("val_loss", math.inf):
                self.metrics |= {"val_loss": record["val_loss"], "val_psnr": record.get("val_psnr")}
                self.metrics |= {"best_epoch": record["epoch"]} if self.by_epochs else {}
            self.metrics |= {"epochs_run": record["epoch"]} if self.by_epochs else {}

    def overcame(self, epoch: int) -> None:
        """A machine that is lost after further epochs is the first one again."""
        if self.losses and epoch > self.losses[-1].epoch:
            self.taken_up["lost"] = 0

    @property
    def share(self) -> float:
        """Share of the trial's epochs that are done, those of a denoiser counted like training."""
        before = self.config["epochs"] if self.config["method"] == "pnp" else 0
        after = self.config["epochs"] if self.by_epochs else 1
        done = self.epoch + (before if self.phase == "train" else 0)
        return min(1.0, done / max(1, before + after))

    @property
    def by_epochs(self) -> bool:
        """Whether the trial's reconstructions are trained epoch by epoch, so that it can be judged by its epochs."""
        return self.config["method"] in TRAINED


@dataclass
class Progress:
    """All trials of a study, and what follows from them."""

    study: Study
    slots: int = 1
    """Trials that run at once."""
    trials: dict[int, TrialState] = field(default_factory=dict)
    priors: dict[str, "PriorState"] = field(default_factory=dict)
    """Pre-trainings that trials of this run need, by key."""

    @lazy
    def layout(self) -> Layout:
        """How the study's trials are numbered."""
        return Layout.of(self.study)

    @property
    def total(self) -> int:
        """Number of trials of the study."""
        return self.layout.total

    @property
    def counts(self) -> Counter[str]:
        """Number of trials by status."""
        return Counter(trial.status for trial in self.trials.values())

    @property
    def done(self) -> int:
        """Number of trials that need nothing more."""
        return sum(trial.status in FINAL for trial in self.trials.values())

    @property
    def complete(self) -> bool:
        """Whether every trial of the study has been run."""
        return self.done >= self.total

    @property
    def running(self) -> list[TrialState]:
        """The trials that run now."""
        return [trial for trial in self.trials.values() if trial.status == schema.RUNNING]

    @property
    def trouble(self) -> list[TrialState]:
        """The trials that failed or diverged."""
        return [trial for trial in self.trials.values() if trial.status in TROUBLE]

    @property
    def best(self) -> TrialState | None:
        """The first completed repeat of `best_configuration`."""
        best = self.best_configuration
        return None if best is None else best.completed[0]

    @property
    def best_configuration(self) -> Configuration | None:
        """The best configuration; None where there is no single best: for several objectives, and over several
        tasks."""
        several = len(self.study.tasks or [""]) > 1 or "task" in self.study.space
        return None if several else self.best_of(None)

    @property
    def tasks(self) -> list[str | None]:
        """Each task that the study is repeated for, or that its trials have from its space; else None alone."""
        if self.study.tasks is not None:
            return [*self.study.tasks]
        if "task" not in self.study.space or self.study.mode == "ablate":
            return [None]
        return sorted({trial.config["task"] for trial in self.trials.values()}) or [None]

    def best_of(self, task: str | None) -> Configuration | None:
        """The best configuration of a task (of all, with None) by the study's objective, limits kept to."""
        if len(self.study.objective) > 1:
            return None
        return next(iter(ranked(self.study, self.of(task))), None)

    def front(self, task: str | None = None) -> list[Configuration]:
        """The Pareto front of a task (of all, with None): configurations that none beats in every objective."""
        return front(self.study, self.of(task))

    def of(self, task: str | None) -> list[TrialState]:
        """The trials of a task, all with None."""
        return [trial for trial in self.trials.values() if task is None or trial.config["task"] == task]

    def planned(self, number: int, values: dict[str, Any]) -> TrialState:
        """Take up trial `number`, which has these values."""
        position = self.layout.position(number)
        config = self.study.config(values).to_dict()
        trial = TrialState(number, values, config, position.configuration, position.repeat)
        self.trials[number] = trial
        return trial

    @property
    def seconds_left(self) -> float | None:
        """Estimate of the time left: the rest of what runs by its own epochs, where it has done some, and the others as
        long as the mean of the trials so far; None before anything is known.

        Pre-trainings count from their first epoch on, each that is left taken as the last.
        """
        ended = [trial.seconds for trial in self.trials.values() if trial.status in FINAL and trial.started is not None]
        under_way = [trial.seconds / trial.share for trial in self.running if trial.share > 0]
        known = ended + under_way
        if not known:
            return None
        mean = sum(known) / len(known)
        left = [
            trial.seconds * (1 / trial.share - 1) if trial.share > 0 else max(0.0, mean - trial.seconds)
            for trial in self.running
        ]
        for prior in self.priors.values():
            if prior.status == schema.RUNNING and prior.current:
                left.append(prior.current["seconds"] * max(0, prior.config["prior"]["epochs"] - prior.epoch))
        begun = [trial for trial in self.trials.values() if trial.status not in FINAL | {schema.RUNNING}]
        waiting = [max(0.0, mean - trial.seconds) for trial in begun]
        waiting.append(max(0, self.total - len(self.trials)) * mean)
        return max([(sum(left) + sum(waiting)) / self.slots, *left])


@dataclass(frozen=True)
class Event:
    """Something that a listener may want to show."""

    kind: Literal["begun", "planned", "prior", "started", "epoch", "again", "ended", "tick", "changed", "stopping"]
    progress: Progress
    trial: TrialState | None = None
    note: str = ""


Listener = Callable[[Event], None]


def replay(study: Study, ledger: Ledger) -> Progress:
    """What the ledger says has happened so far. A trial that started and did not end is `interrupted`.

    Each has the configuration that it was planned with, whatever has become of the study file.
    """
    progress = Progress(study=study)
    for event in ledger.events:
        number = int(event.subject) if event.subject.isdigit() else None
        if number is not None and number not in progress.trials and "values" in event.content:
            known = progress.planned(number, event.content["values"])
            then = event.content.get("config", known.config)
            known.config = then if differing(then, known.config) else known.config
        if number in progress.trials:
            trial = progress.trials[number]
            trial.apply(event.event, event.content, event.at)
            if event.event == events.ENDED:  # a driver at work has them from the records
                trial.metrics = event.content.get("metrics", {})
    for trial in progress.trials.values():
        if trial.status == schema.RUNNING:
            trial.status, trial.reason = schema.INTERRUPTED, "its driver was killed"
    return progress
