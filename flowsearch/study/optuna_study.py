"""One task's study in Optuna: how a configuration is asked for, and how its epochs and its end are told.

When that happens, `proposer` decides. A sampler is made anew for each configuration, with a seed made of the study's
and the configuration's number.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.samplers import NSGAIISampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from flowsearch.study.ends import Earlier, End
from flowsearch.study.parameter import Parameter, Values
from flowsearch.study.samplers import sampler, startup_design
from flowsearch.study.sections import Study

optuna.logging.set_verbosity(optuna.logging.ERROR)

_DRAWS = 1000
"""Points that are drawn, at most, in the place of one that was proposed before."""


class OptunaStudy:
    """Configurations by their numbers, from 0; in Optuna they come after the earlier studies' trials, if any."""

    def __init__(
        self, study: Study, storage: JournalStorage, name: str | None = None, earlier: Sequence[Earlier] = ()
    ) -> None:
        self._search, self._storage = study.search, storage
        self._space = study.parsed_space()
        self._conditional = self._space.conditional
        points = study.points()
        self.enumerated = points is not None
        """Whether all configurations are given (grid, ablate), so that there is nothing to learn."""
        self.count = self._search.trials if points is None else len(points)
        """How many configurations there are to ask for."""
        self.offset = len(earlier)
        """Optuna's number of configuration 0."""
        self._given = len(study.enqueue)
        self._design = self._first(study) if points is None else points
        name = study.name if name is None else name
        self.study = optuna.create_study(
            storage=storage, study_name=name, directions=list(study.objective.values()), load_if_exists=True
        )
        self._study_id = storage.get_study_id_from_name(name)
        for one in earlier[len(self.seen()) :]:
            self._learn(one)

    def _first(self, study: Study) -> list[Values]:
        """What is proposed before the sampler has learned anything."""
        given = [dict(values) for values in study.enqueue]
        if self._search.sampler == "random":
            return given
        drawn = min(self._search.startup - self.offset, self.count) - len(given)
        return given + (startup_design(self._space, self._search.seed, drawn) if drawn > 0 else [])

    def _learn(self, one: Earlier) -> None:
        """Give Optuna a trial of an earlier study."""
        self.study.add_trial(
            create_trial(
                state=one.end.state,
                values=one.end.told,
                params=one.values,
                distributions={name: self._space.parameters[name].distribution for name in one.values},
                intermediate_values=dict(one.steps) if len(self.study.directions) == 1 else {},
                constraints=one.end.violations,
                user_attrs={"status": one.end.status, "reason": one.end.reason},
                # What a genetic sampler breeds from; others do not know the word.
                system_attrs={NSGAIISampler._get_generation_key(): 0},
            )
        )

    # What there is ----------------------------------------------------------------------------------------------

    def seen(self) -> list[FrozenTrial]:
        """Optuna's own records, those of earlier studies first."""
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    def asked(self) -> dict[int, FrozenTrial]:
        """Optuna's own records of this study's configurations."""
        return {trial.number - self.offset: trial for trial in self.seen() if trial.number >= self.offset}

    def frozen(self, number: int) -> FrozenTrial:
        """Optuna's own record of a configuration; KeyError where it has none."""
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, self.offset + number)
        return self._storage.get_trial(trial_id)

    # Asking -----------------------------------------------------------------------------------------------------

    def ask(self, number: int, known: Collection[Values]) -> Values:
        """The values of configuration `number`; the sampler's are none of those `known`, while there are others."""
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
        asked = trial.number - self.offset
        assert asked == number, f"Optuna numbered configuration {number} as {asked}"
        self._note_generation(number)
        if number < self._given or self.enumerated:
            return self._space.suggest(trial)
        return self._proposed(trial, number, known)

    def ask_again(self, number: int, values: Values, *, waits: bool, over: bool) -> None:
        """Have Optuna note a configuration that was asked for before, and that its journal lacks.

        `waits`: the journal has its values, and not yet that it was asked for. `over`: it ended long ago.
        """
        if not waits:
            self.study.enqueue_trial(values)
        self.study.sampler = self._sampler(number)
        trial = self.study.ask()
        self._note_generation(number)
        given = self._design[number] if number < len(self._design) else {}
        if not values.keys() <= given.keys() and self._notes_more(number, values, over):
            _ = trial.relative_params
        self._space.suggest(trial)

    def _notes_more(self, number: int, values: Values, over: bool) -> bool:
        """Whether the sampler, where it chose a configuration, noted more than these `values`.

        A genetic one notes the parents. Others note what they chose, also names that the configuration has not, and
        look at it until its end is told; choosing takes time with the number of trials, or its cube.
        """
        if isinstance(self.study.sampler, NSGAIISampler):
            return True
        if over or self._space.parameters.keys() <= values.keys():
            return False
        chosen = self.study.sampler.infer_relative_search_space(self.study, self.frozen(number))
        return not chosen.keys() <= values.keys()

    def _proposed(self, trial: optuna.Trial, number: int, known: Collection[Values]) -> Values:
        """What the sampler proposes, or a point at random where that was proposed before: the same configuration with
        the same seeds gives the same numbers. A space of which nothing is left repeats itself.
        """
        there = self.frozen(number)
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
        return sampler(self._search, number, conditional=self._conditional, at_random=self.enumerated)

    # Telling ----------------------------------------------------------------------------------------------------

    def report(self, number: int, step: int, value: float) -> bool:
        """Note the objective's value after epoch `step`; False where it was noted before or is not finite.

        With several objectives nothing is noted: Optuna knows no such values there, and TPE fails on them.
        """
        trial = self.frozen(number)
        if not math.isfinite(value) or step in trial.intermediate_values or trial.state.is_finished():
            return False
        if len(self.study.directions) > 1:
            return False
        self._storage.set_trial_intermediate_value(trial._trial_id, step, float(value))
        return True

    def tell(self, number: int, end: End) -> None:
        """Note how a configuration ended, unless that was noted before."""
        trial = self.frozen(number)
        if trial.state.is_finished():
            return
        for name, text in (("status", end.status), ("reason", end.reason)):
            if text is not None:
                self._storage.set_trial_user_attr(trial._trial_id, name, text)
        told = optuna.Trial(self.study, trial._trial_id)
        for text, violation in end.violations.items():
            if text not in trial.constraints:
                told.set_constraint(text, violation)
        self.study.tell(trial.number, end.told, end.state)
