"""Proposes configurations with Optuna, in a way that does not depend on which trial happens to end first.

Trial i is proposed once trials 0 to i - window have ended, and at that moment exactly those have been told to Optuna,
in order; its sampler is a fresh one with a seed made of the study's seed and i. So the same file gives the same
configurations although trials run side by side, and a resumed study goes on as if it had not been interrupted.
"""

import json
import logging
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from flowsearch.results import schema
from flowsearch.study.file import Study
from flowsearch.study.space import Parameter, Space, Values

if TYPE_CHECKING:
    from flowsearch.study.driver import Driver

_log = logging.getLogger(__name__)

optuna.logging.set_verbosity(optuna.logging.ERROR)

_STATES = {schema.COMPLETED: TrialState.COMPLETE, schema.PRUNED: TrialState.PRUNED}


@dataclass(frozen=True)
class End:
    """What Optuna is told of a trial: its final status, why, and the objective's value."""

    status: str
    reason: str | None = None
    value: float | None = None


class _Journal(JournalFileBackend):
    """Optuna's journal, without the lock and the wait for the disk that each line of it costs otherwise.

    The study's own lock keeps other writers away, and what a power failure takes is written again from the ledger.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append whole lines."""
        with open(self._file_path, "ab") as file:
            file.write(b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs))


class Proposer:
    """Optuna's side of a study: what was proposed, how it went epoch by epoch, and how it ended.

    The journal is a record, not the truth: what it lacks (or all of it, where it cannot be read) is written again from
    what `restore` is given.
    """

    def __init__(self, study: Study, journal: Path, window: int) -> None:
        self.trials = study.search.trials
        self.window = window
        self._search = study.search
        self._name, self._direction, self._journal = study.name, study.direction, journal
        self._space = study.parsed_space()
        self._conditional = self._space.conditional
        tpe = study.search.sampler == "tpe"
        self._design = (
            startup_design(self._space, study.search.seed, min(study.search.startup, self.trials)) if tpe else []
        )
        self._planned: dict[int, Values] = {}
        self._ends: dict[int, End] = {}
        self._told: set[int] = set()
        self._settled = 0
        """Trials before this one have ended and been told, as far as the window asks for."""
        self._open()

    def restore(self, planned: Mapping[int, Values], ends: Mapping[int, End]) -> dict[int, Values]:
        """Take up what the ledger says; return trials whose plan the ledger lost (its file is damaged).

        Optuna cannot take an end back, so where its journal has one that the ledger has not (a failed trial is run
        again), the journal is written anew: what the sampler learns is what the ledger says.
        """
        found = self._existing()
        if any(
            trial.state.is_finished() and _as_told(ends.get(number)) != trial.state for number, trial in found.items()
        ):
            self._set_aside("before-retry")
            found = {}
        lost = {}
        for number in range(max(planned, default=-1) + 1):
            there = found.get(number)
            values = planned.get(number)
            if values is None:
                values = lost[number] = self._ask(number) if there is None else dict(there.params)
            elif there is None or there.state == TrialState.WAITING:
                if there is None:
                    self.study.enqueue_trial(values)
                self.study.sampler = self._sampler(number)
                self._space.suggest(self.study.ask())
            self._planned[number] = dict(values)
        self._ends = dict(ends)
        self._told = {number for number, trial in self._existing().items() if trial.state.is_finished()}
        return lost

    @property
    def exhausted(self) -> bool:
        """Whether every trial has been proposed."""
        return len(self._planned) >= self.trials

    def next(self) -> tuple[int, Values] | None:
        """The next trial's number and values, or None while it has to wait for earlier ones to end."""
        number = len(self._planned)
        if self.exhausted:
            return None
        if self._search.reproducible:
            due = range(self._settled, max(self._settled, number - self.window + 1))
            if any(earlier not in self._ends for earlier in due):
                return None
            self._settled = due.stop
        else:
            due = sorted(self._ends.keys() - self._told)  # type: ignore[assignment]
        for earlier in due:
            self._tell(earlier)
        values = self._ask(number)
        self._planned[number] = values
        return number, values

    def report(self, number: int, step: int, value: float) -> bool:
        """Note the objective's value after epoch `step`; False where it was noted before or is not finite."""
        trial = self.frozen(number)
        if not math.isfinite(value) or step in trial.intermediate_values or trial.state.is_finished():
            return False
        self._storage.set_trial_intermediate_value(trial._trial_id, step, float(value))
        return True

    def end(self, number: int, end: End) -> None:
        """Note how a trial ended; Optuna is told when it is this trial's turn."""
        self._ends[number] = end
        if not self._search.reproducible:
            self._tell(number)

    def close(self) -> None:
        """Tell what was held back, if nothing more will be proposed. An interrupted study keeps it for its resume."""
        if self.exhausted:
            for number in sorted(self._ends):
                self._tell(number)

    def frozen(self, number: int) -> FrozenTrial:
        """Optuna's own record of a trial."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        return self._storage.get_trial(trial_id)

    def visible(self, number: int) -> list[FrozenTrial]:
        """What a decision about trial `number` may take into account: trials 0 to number - window, and itself."""
        seen = self._storage.get_all_trials(self._study_id, deepcopy=False)
        if not self._search.reproducible:
            return [trial for trial in seen if trial.state != TrialState.WAITING]
        return [trial for trial in seen if trial.number <= number - self.window or trial.number == number]

    def _open(self) -> None:
        try:
            self._create()
        except (ValueError, KeyError, OSError) as error:
            _log.warning("%s cannot be read (%s); it is moved aside and written again", self._journal, error)
            self._set_aside("damaged")

    def _set_aside(self, why: str) -> None:
        self._journal.replace(self._journal.with_name(f"{self._journal.name}.{why}"))
        self._create()

    def _create(self) -> None:
        if self._journal.exists() and self._journal.stat().st_size:
            with self._journal.open("rb") as file:
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    raise ValueError("its last line is torn")
        # A driver that was killed leaves its lock behind; the study's own lock says that there is no other driver.
        self._journal.with_name(f"{self._journal.name}.lock").unlink(missing_ok=True)
        self._storage = JournalStorage(_Journal(str(self._journal)))
        self.study = optuna.create_study(
            storage=self._storage, study_name=self._name, direction=self._direction, load_if_exists=True
        )
        self._study_id = self._storage.get_study_id_from_name(self._name)

    def _existing(self) -> dict[int, FrozenTrial]:
        return {trial.number: trial for trial in self._storage.get_all_trials(self._study_id, deepcopy=False)}

    def _ask(self, number: int) -> Values:
        self.study.sampler = self._sampler(number)
        try:
            there = self.frozen(number)
        except KeyError:
            there = None
        if there is not None and there.state == TrialState.RUNNING:
            trial = optuna.Trial(self.study, there._trial_id)
        else:
            if there is None and number < len(self._design):
                self.study.enqueue_trial(self._design[number])
            trial = self.study.ask()
        assert trial.number == number, f"Optuna numbered trial {number} as {trial.number}"
        return self._space.suggest(trial)

    def _tell(self, number: int) -> None:
        if number in self._told:
            return
        end, trial = self._ends[number], self.frozen(number)
        if not trial.state.is_finished():
            state = _as_told(end)
            assert state is not None
            for name, text in (("status", end.status), ("reason", end.reason)):
                if text is not None:
                    self._storage.set_trial_user_attr(trial._trial_id, name, text)
            self.study.tell(number, end.value if state == TrialState.COMPLETE else None, state)
        self._told.add(number)

    def _sampler(self, number: int) -> BaseSampler:
        seed = int(np.random.SeedSequence([self._search.seed, number]).generate_state(1)[0])
        if self._search.sampler == "random":
            return RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(
                seed=seed,
                multivariate=True,
                group=self._conditional,
                n_startup_trials=self._search.startup,
                constant_liar=True,
            )


def _as_told(end: End | None) -> TrialState | None:
    """The state that Optuna is told; None for a trial that has not ended."""
    if end is None:
        return None
    state = _STATES.get(end.status, TrialState.FAIL)
    if state == TrialState.COMPLETE and (end.value is None or not math.isfinite(end.value)):
        return TrialState.FAIL
    return state


def startup_design(space: Space, seed: int, count: int) -> list[Values]:
    """A balanced draw of `count` points, to start a search with.

    Within each kind (a method with a proximal map) every choice comes up equally often (shuffled rounds), and so do
    the kinds themselves; each range is cut into `count` equal parts, and each part is used at most once (a Latin
    hypercube).
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x57A27]))
    parts = {name: rng.permutation(count) for name, one in space.parameters.items() if not one.choices}
    rounds: dict[tuple[str, Any], list[Any]] = {}
    kinds = space.kinds()

    def draw(parameter: Parameter, number: int, group: Any) -> Any:
        if not parameter.choices:
            return parameter.at((parts[parameter.name][number] + rng.random()) / count)
        left = rounds.setdefault((parameter.name, group), [])
        if not left:
            left.extend(rng.permutation(_round(parameter, kinds)))
        return parameter.choices[left.pop()]

    design = []
    for number in range(count):
        group: list[Any] = []

        def choose(parameter: Parameter, number: int = number, group: list[Any] = group) -> Any:
            value = draw(parameter, number, tuple(group))
            if parameter.name in ("method", "prox"):
                group.append(value)
            return value

        design.append(space.fill(choose))
    return design


def _round(parameter: Parameter, kinds: list[Values]) -> list[int]:
    """The places of a parameter's choices in one round: each once, a method once for each of its proximal maps."""
    if parameter.name != "method":
        return list(range(len(parameter.choices)))
    return [place for kind in kinds for place, choice in enumerate(parameter.choices) if kind["method"] == choice]


class TuneSearcher(Searcher):
    """What Ray Tune asks for configurations: a shell over the driver."""

    def __init__(self, driver: "Driver") -> None:
        super().__init__()
        self._driver = driver

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next trial's work order; None while it has to wait; FINISHED after the last."""
        order = self._driver.plan()
        if order is None:
            return Searcher.FINISHED if self._driver.exhausted else None
        return order

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the driver hears of it from the callback, which knows why the trial ended."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is what a resume reads."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as in `save`."""
