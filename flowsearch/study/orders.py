"""Work orders: whose turn it is, and what a worker is told (`trainable` says what each word means)."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from flowsearch.results import schema
from flowsearch.study.packing import Packing
from flowsearch.study.place import Place
from flowsearch.study.progress import TrialState
from flowsearch.study.records import Record
from flowsearch.study.sections import Resources

Order = dict[str, Any]


class Lineup:
    """The trials that wait to be handed out, in their order, and those that are out.

    `propose` gives a new trial, or None while there is none. At most `window` trials wait because of it.
    """

    def __init__(self, waiting: Iterable[TrialState], propose: Callable[[], TrialState | None], window: int) -> None:
        self._waiting = deque(waiting)
        self._out: set[int] = set()
        self._propose, self._window = propose, window

    def __iter__(self) -> Iterator[TrialState]:
        """The trials that wait, then new ones."""
        yield from list(self._waiting)
        while len(self._waiting) < self._window and (trial := self._propose()) is not None:
            self._waiting.append(trial)
            yield trial

    @property
    def empty(self) -> bool:
        """Whether no trial waits and none is out."""
        return not (self._waiting or self._out)

    def hand_out(self, trial: TrialState) -> None:
        """A trial that waited is given to a worker."""
        self.drop(trial)
        self._out.add(trial.number)

    def drop(self, trial: TrialState) -> None:
        """A trial that waited need not be run."""
        self._waiting.remove(trial)

    def came_back(self, trial: TrialState) -> None:
        """A trial that was out has ended, or its worker has."""
        self._out.discard(trial.number)

    def put_first(self, trial: TrialState) -> None:
        """A trial is to be handed out once more, before all others."""
        self._waiting.appendleft(trial)


class Orders:
    """Writes the orders of a study. `run_trial` and `run_prior` are what its workers import, `prior_dir` is where the
    pre-trained priors are."""

    def __init__(
        self, place: Place, resources: Resources, prior_dir: Path, run_trial: str, run_prior: str | None
    ) -> None:
        self._place, self._resources, self._prior_dir = place, resources, prior_dir
        self._run_trial, self._run_prior = run_trial, run_prior
        self.packing: Packing | None = None
        """Of `gpu: auto`, once the GPUs are known."""

    def of_trial(self, trial: TrialState) -> Order:
        """The order that runs a trial."""
        trial.gpu = self._share(trial)
        folder = f"{schema.CHECKPOINTS}/{trial.id}"
        return self._common(trial.gpu) | {
            "number": trial.number,
            "trial": trial.config,
            "run_trial": self._run_trial,
            "checkpoint_dir": str(self._place.folder(folder).resolve()),
            "kept": self._place.kept(folder),
            "priors": self._place.priors.kept((trial.prior or "").removeprefix(schema.PRIOR_PREFIX)),
            "micro_batch": trial.micro_batch,
            "anew": trial.anew,
        }

    def of_prior(self, trial: TrialState) -> Order:
        """What the order of the trial's prior says, besides whose it is."""
        return self._common(self._share(trial, prior=True)) | {"run_trial": self._run_prior}

    def took(self, trial: TrialState, record: Record) -> None:
        """Remember the memory that a trial took, as its last record says, for the shares of those to come."""
        if self.packing is not None and record["phase"] == "final" and record.get("peak_memory_bytes"):
            self.packing.took(trial.config, record["peak_memory_bytes"])

    def _common(self, gpu: float) -> Order:
        return {
            "prior_dir": str(self._prior_dir),
            "device": "auto" if gpu else "cpu",
            "threads": self._resources.cpu,
            "gpu": gpu,
        }

    def _share(self, trial: TrialState, *, prior: bool = False) -> float:
        """GPUs that the trial gets, or the pre-training of its prior."""
        gpu = self._resources.gpu
        if isinstance(gpu, str):
            return self.packing.share(trial.config, prior=prior) if self.packing is not None else 0.0
        return gpu
