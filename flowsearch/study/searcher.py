"""Proposes configurations with Optuna, in a way that does not depend on which trial happens to end first.

Trial i is proposed once trials 0 to i - window have ended, and at that moment exactly those have been told to Optuna,
in order; its sampler is a fresh one with a seed made of the study's seed and i. So the same file gives the same
configurations although trials run side by side, and a resumed study goes on as if it had not been interrupted.
"""

import json
import logging
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.samplers import NSGAIISampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.search import Searcher

from flowsearch.results import schema
from flowsearch.study.parameter import Parameter, Values
from flowsearch.study.samplers import sampler, startup_design
from flowsearch.study.sections import Study

if TYPE_CHECKING:
    from flowsearch.study.driver import Driver

_log = logging.getLogger(__name__)

optuna.logging.set_verbosity(optuna.logging.ERROR)

_DRAWS = 1000
"""Points that are drawn, at most, in the place of one that was proposed before."""

_STATES = {schema.COMPLETED: TrialState.COMPLETE, schema.PRUNED: TrialState.PRUNED}


@dataclass(frozen=True)
class End:
    """What Optuna is told of a configuration: its final status, why, the objective's value (or values), and by how much
    each constraint is broken (0 or less: kept; None: unknown)."""

    status: str
    reason: str | None = None
    value: float | tuple[float | None, ...] | None = None
    constraints: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def values(self) -> tuple[float, ...] | None:
        """The value of each objective; None where one is missing or not finite, or a constraint's is."""
        values = self.value if isinstance(self.value, tuple) else (self.value,)
        known = [value for value in (*values, *self.constraints.values()) if value is not None and math.isfinite(value)]
        return tuple(known[: len(values)]) if len(known) == len(values) + len(self.constraints) else None


@dataclass(frozen=True)
class Earlier:
    """A trial of an earlier study, as the sampler is told of it."""

    values: Values
    end: End
    steps: Mapping[int, float] = field(default_factory=dict)
    """The objective after each epoch, where it was known then."""


class _Journal(JournalFileBackend):
    """Optuna's journal, without the lock and the wait for the disk that each line of it costs otherwise.

    The study's own lock keeps other writers away, and what a power failure takes is written again from the ledger.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append whole lines."""
        with open(self._file_path, "ab") as file:
            file.write(b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs))


class Proposer:
    """Optuna's side of a study on one task: what was proposed, how it went epoch by epoch, and how it ended.

    Configurations are numbered from 0; in Optuna they come after the earlier studies' trials, if there are any. The
    journal is a record, not the truth: what it lacks (or all of it, where it cannot be read) is written again from
    what `restore` is given.
    """

    def __init__(
        self,
        study: Study,
        journal: Path | JournalStorage,
        window: int,
        name: str | None = None,
        earlier: Sequence[Earlier] = (),
    ) -> None:
        self.window = window
        self._search = study.search
        self._name = study.name if name is None else name
        self._directions = list(study.objective.values())
        self._space = study.parsed_space()
        self._conditional = self._space.conditional
        points = study.points()
        self._enumerated = points is not None
        self.trials = self._search.trials if points is None else len(points)
        self._given = len(study.enqueue)
        self._waits = self._search.reproducible and (points is None or study.scheduler is not None)
        self._design = self._first(study, len(earlier)) if points is None else points
        self._offset = len(earlier)
        self._planned: dict[int, Values] = {}
        self._ends: dict[int, End] = {}
        self._told: set[int] = set()
        self._settled = 0
        self._storage = open_journal(journal) if isinstance(journal, Path) else journal
        self.study = optuna.create_study(
            storage=self._storage, study_name=self._name, directions=self._directions, load_if_exists=True
        )
        self._study_id = self._storage.get_study_id_from_name(self._name)
        for one in earlier[len(self._storage.get_all_trials(self._study_id, deepcopy=False)) :]:
            self._learn(one)

    def _first(self, study: Study, earlier: int) -> list[Values]:
        """What is proposed before the sampler has learned anything."""
        given = [dict(values) for values in study.enqueue]
        if self._search.sampler == "random":
            return given
        drawn = min(self._search.startup - earlier, self.trials) - len(given)
        return given + (startup_design(self._space, self._search.seed, drawn) if drawn > 0 else [])

    def _learn(self, one: Earlier) -> None:
        """Give Optuna a trial of an earlier study."""
        state = _as_told(one.end)
        assert state is not None
        distributions = {name: self._space.parameters[name].distribution for name in one.values}
        self.study.add_trial(
            create_trial(
                state=state,
                values=one.end.values if state == TrialState.COMPLETE else None,
                params=one.values,
                distributions=distributions,
                intermediate_values=dict(one.steps),
                constraints={text: value for text, value in one.end.constraints.items() if value is not None},
                user_attrs={"status": one.end.status, "reason": one.end.reason},
                # What a genetic sampler breeds from; others do not know the word.
                system_attrs={NSGAIISampler._get_generation_key(): 0},
            )
        )

    def restore(
        self, planned: Mapping[int, Values], ends: Mapping[int, End], count: int | None = None
    ) -> dict[int, Values]:
        """Take up what the ledger says; return configurations whose plan the ledger lost (its file is damaged).

        `count` is how many there were, where that is known better than by the last in `planned`.
        """
        found = self._existing()
        lost = {}
        self._ends, self._settled = dict(ends), 0
        self._told = {number for number, trial in found.items() if trial.state.is_finished()}
        for number in range(max(planned, default=-1) + 1 if count is None else count):
            there = found.get(number)
            values = planned.get(number)
            if there is None or there.state == TrialState.WAITING or values is None:
                # In the order in which it was first done: some samplers note what they knew when they proposed.
                for earlier in self._due(number):
                    if earlier in self._ends and earlier in self._planned:
                        self._tell(earlier)
            if values is None:
                values = lost[number] = self._ask(number) if there is None else dict(there.params)
            elif there is None or there.state == TrialState.WAITING:
                if there is None:
                    self.study.enqueue_trial(values)
                self.study.sampler = self._sampler(number)
                trial = self.study.ask()
                self._note_generation(number)
                given = self._design[number] if number < len(self._design) else {}
                if not values.keys() <= given.keys():
                    # The sampler chose some of it then, and notes what it chose: also names that this trial has not.
                    _ = trial.relative_params
                self._space.suggest(trial)
            self._planned[number] = dict(values)
        return lost

    def contradicts(self, ends: Mapping[int, End]) -> bool:
        """Whether Optuna knows of an end that is not among these. It cannot take one back."""
        found = self._existing().items()
        return any(trial.state.is_finished() and _as_told(ends.get(number)) != trial.state for number, trial in found)

    @property
    def exhausted(self) -> bool:
        """Whether every configuration has been proposed."""
        return len(self._planned) >= self.trials

    def next(self) -> tuple[int, Values] | None:
        """The next configuration's number and values, or None while it has to wait for earlier ones to end."""
        number = len(self._planned)
        if self.exhausted:
            return None
        if any(earlier not in self._ends for earlier in self._due(number)):
            return None
        self._tell_due(number)
        values = self._ask(number)
        self._planned[number] = values
        return number, values

    def _due(self, number: int) -> Sequence[int]:
        """Which configurations have yet to end and be told before configuration `number` is proposed."""
        if self._waits:
            return range(self._settled, max(0, number - self.window + 1))
        return sorted(self._ends.keys() - self._told)

    def _tell_due(self, number: int) -> None:
        due = self._due(number)
        for earlier in due:
            self._tell(earlier)
        self._settled += len(due) if self._waits else 0

    def report(self, number: int, step: int, value: float) -> bool:
        """Note the objective's value after epoch `step`; False where it was noted before or is not finite."""
        trial = self.frozen(number)
        if not math.isfinite(value) or step in trial.intermediate_values or trial.state.is_finished():
            return False
        self._storage.set_trial_intermediate_value(trial._trial_id, step, float(value))
        return True

    def end(self, number: int, end: End) -> None:
        """Note how a configuration ended; Optuna is told when it is its turn."""
        self._ends[number] = end
        if not self._waits:
            self._tell(number)

    def close(self) -> None:
        """Tell what was held back, if nothing more will be proposed. An interrupted study keeps it for its resume."""
        if self.exhausted:
            for number in sorted(self._ends):
                self._tell(number)

    def frozen(self, number: int) -> FrozenTrial:
        """Optuna's own record of a configuration."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, self._offset + number)
        return self._storage.get_trial(trial_id)

    def visible(self, number: int) -> list[FrozenTrial]:
        """What a decision about trial `number` may take into account: trials 0 to number - window, and itself."""
        seen = self._storage.get_all_trials(self._study_id, deepcopy=False)
        if not self._waits:
            return [trial for trial in seen if trial.state != TrialState.WAITING]
        at = self._offset + number
        return [trial for trial in seen if trial.number <= at - self.window or trial.number == at]

    def _existing(self) -> dict[int, FrozenTrial]:
        seen = self._storage.get_all_trials(self._study_id, deepcopy=False)
        return {trial.number - self._offset: trial for trial in seen if trial.number >= self._offset}

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
        asked = trial.number - self._offset
        assert asked == number, f"Optuna numbered configuration {number} as {asked}"
        self._note_generation(number)
        return self._space.suggest(trial) if number < self._given or self._enumerated else self._new(trial, number)

    def _new(self, trial: optuna.Trial, number: int) -> Values:
        """What the sampler proposes, or a point at random where that was proposed before: the same configuration with
        the same seeds gives the same numbers. A space of which nothing is left repeats itself.
        """
        there, known = self.frozen(number), list(self._planned.values())
        fixed = there.params | there.system_attrs.get("fixed_params", {})

        def proposed(one: Parameter) -> Any:
            name, kind = one.name, one.distribution
            if name in fixed:
                return fixed[name]
            if kind.single():
                return one.corners[0]
            # Asked for only where it is needed: some samplers note that they were asked.
            if name in trial.relative_params and kind._contains(kind.to_internal_repr(trial.relative_params[name])):
                return trial.relative_params[name]
            return self.study.sampler.sample_independent(self.study, there, name, kind)

        values = self._space.fill(proposed)
        rng = np.random.default_rng(np.random.SeedSequence([self._search.seed, number, 0x2EDF]))
        for _ in range(_DRAWS):
            if values not in known:
                break
            values = self._space.fill(lambda one: one.drawn(rng))
        for name, value in values.items():
            kind = self._space.parameters[name].distribution
            self._storage.set_trial_param(trial._trial_id, name, kind.to_internal_repr(value), kind)
        return values

    def _note_generation(self, number: int) -> None:
        """Have a genetic sampler count a configuration into its generation.

        It does so by itself for what it proposes, but what was given to it (the balanced draw, `enqueue`) would never
        be a parent.
        """
        if isinstance(self.study.sampler, NSGAIISampler):
            self.study.sampler.get_trial_generation(self.study, self.frozen(number))

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        return sampler(self._search, number, conditional=self._conditional, at_random=self._enumerated)

    def _tell(self, number: int) -> None:
        if number in self._told:
            return
        end, trial = self._ends[number], self.frozen(number)
        if not trial.state.is_finished():
            state = _as_told(end)
            for name, text in (("status", end.status), ("reason", end.reason)):
                if text is not None:
                    self._storage.set_trial_user_attr(trial._trial_id, name, text)
            told = optuna.Trial(self.study, trial._trial_id)
            for text, violation in end.constraints.items():
                if violation is not None and text not in trial.constraints:
                    told.set_constraint(text, violation)
            self.study.tell(trial.number, end.values if state == TrialState.COMPLETE else None, state)
        self._told.add(number)


def _as_told(end: End | None) -> TrialState | None:
    """The state that Optuna is told; None for a configuration that has not ended."""
    if end is None:
        return None
    state = _STATES.get(end.status, TrialState.FAIL)
    return TrialState.FAIL if state == TrialState.COMPLETE and end.values is None else state


def open_journal(path: Path) -> JournalStorage:
    """Optuna's journal at `path`; one that cannot be read is moved aside, and a new one begun."""
    try:
        return _journal(path)
    except Exception as error:  # Optuna trusts each line, and stumbles over a strange one in its own ways
        _log.warning("%s cannot be read (%s); it is moved aside and written again", path, error)
        set_aside(path, "damaged")
        return _journal(path)


def set_aside(path: Path, why: str) -> None:
    """Keep a journal that is to be written anew, under another name."""
    path.replace(path.with_name(f"{path.name}.{why}"))


def _journal(path: Path) -> JournalStorage:
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            last = next(iter(deque(file, maxlen=1)))
        # Optuna takes a last line that it cannot read for one that is still being written.
        if not last.endswith(b"\n"):
            raise ValueError("its last line is torn")
        json.loads(last)
    # A driver that was killed leaves its lock behind; the study's own lock says that there is no other driver.
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    storage = JournalStorage(_Journal(str(path)))
    storage.get_all_studies()
    return storage


class TuneSearcher(Searcher):
    """What Ray Tune asks for configurations: a shell over the driver."""

    def __init__(self, driver: "Driver", check: Callable[[], None]) -> None:
        super().__init__()
        self._driver, self._check = driver, check
        self._out: set[str] = set()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next work order; None while it has to wait; FINISHED after the last.

        As many orders are out at once as there are slots, which may become more while a study runs.
        While nothing runs, Ray Tune does nothing but ask again, so whether to stop is looked at here too.
        """
        self._check()
        if len(self._out) >= self._driver.progress.slots:
            return None
        order = self._driver.plan()
        if order is None:
            return Searcher.FINISHED if self._driver.exhausted else None
        self._out.add(trial_id)
        return order

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """An order has come back. How it ended the driver hears from the callback, which knows why."""
        self._out.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is what a resume reads."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as in `save`."""
