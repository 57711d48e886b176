"""Numbers the trials of a whole study: an Optuna study for each task behind them, and repeats of each configuration.

Seen from outside it is one proposer, by the trials' own numbers.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from flowsearch.study.ends import Earlier, End, together
from flowsearch.study.journal import open_journal, set_aside
from flowsearch.study.layout import Layout, Position, trial_values
from flowsearch.study.parameter import Values
from flowsearch.study.proposer import Proposer
from flowsearch.study.sections import Study


class Planner:
    """Proposes trials: for each task configurations in turn, each with all its repeats one after another."""

    def __init__(
        self,
        study: Study,
        layout: Layout,
        journal: Path,
        window: int,
        earlier: Sequence[Sequence[Earlier]] = (),
    ) -> None:
        self._study, self._layout = study, layout
        self._journal, self._window, self._earlier = journal, window, earlier
        self._proposers = self._opened()
        self._names = set(study.space)
        self._configurations: dict[int, Values] = {}
        self._ends: dict[int, End] = {}
        self._next = 0

    def _opened(self) -> list[Proposer]:
        """A proposer for each task, all of them in one journal."""
        study, storage = self._study, open_journal(self._journal)
        return [
            Proposer(
                branch,
                storage,
                self._window,
                study.name if study.tasks is None else f"{study.name}/{study.tasks[place]}",
                self._earlier[place] if self._earlier else (),
            )
            for place, branch in enumerate(study.branches)
        ]

    @property
    def study(self) -> optuna.Study:
        """Optuna's study; the first task's, where there are several."""
        return self._proposers[0].study

    @property
    def exhausted(self) -> bool:
        """Whether every trial has been proposed."""
        return self._next >= self._layout.total

    def restore(
        self,
        planned: Mapping[int, Values],
        ends: Mapping[int, End],
        judge: Callable[[int], None] = lambda number: None,
    ) -> dict[int, Values]:
        """Take up what the ledger says of trials; return those whose plan the ledger lost (its file is damaged).

        `judge` notes the epochs of a trial that has ended, where Optuna is told of it once more.
        Where Optuna's journal has an end that the ledger has not (a trial is to be run again), the journal is written
        anew: what the samplers learn is what the ledger says.
        """
        self._ends = dict(ends)
        self._next = max(planned, default=-1) + 1
        configurations: list[dict[int, Values]] = [{} for _ in self._proposers]
        for number, values in planned.items():
            position = self._layout.position(number)
            configurations[position.branch][position.local] = {
                name: values[name] for name in values if name in self._names
            }
        ended: list[dict[int, End]] = [{} for _ in self._proposers]
        for configuration in {self._layout.position(number).configuration for number in ends}:
            end = self._end_of(configuration)
            if end is not None:
                position = self._layout.position(configuration * self._layout.repeats)
                ended[position.branch][position.local] = end
        if any(one.contradicts(configurations[place], ended[place]) for place, one in enumerate(self._proposers)):
            set_aside(self._journal, "before-retry")
            self._proposers = self._opened()
        numbers = {self._local(number): number for number in range(self._next)}
        counts = Counter(branch for branch, _ in numbers)
        for branch, proposer in enumerate(self._proposers):

            def again(local: int, branch: int = branch) -> None:
                judge(numbers[branch, local])

            configurations[branch] |= proposer.restore(configurations[branch], ended[branch], counts[branch], again)
        for number in range(self._next):
            position = self._layout.position(number)
            self._configurations[position.configuration] = configurations[position.branch][position.local]
        return {number: self._values(number) for number in range(self._next) if number not in planned}

    def next(self) -> tuple[int, Values] | None:
        """The next trial's number and values, or None while it has to wait for earlier ones to end."""
        if self.exhausted:
            return None
        number = self._next
        position = self._layout.position(number)
        if position.configuration not in self._configurations:
            proposal = self._proposers[position.branch].next()
            if proposal is None:
                return None
            assert proposal[0] == position.local, f"trial {number} is configuration {position.local}, not {proposal[0]}"
            self._configurations[position.configuration] = proposal[1]
        self._next += 1
        return number, self._values(number)

    def report(self, number: int, step: int, value: float) -> bool:
        """Note the objective's value after epoch `step`; False where it was noted before or is not finite."""
        position = self._layout.position(number)
        # Only a study that repeats nothing is judged by its epochs, so that there is one curve to note.
        return self._layout.repeats == 1 and self._proposers[position.branch].report(position.local, step, value)

    def end(self, number: int, end: End) -> None:
        """Note how a trial ended; Optuna is told of its configuration once all its repeats have."""
        self._ends[number] = end
        position = self._layout.position(number)
        whole = self._end_of(position.configuration)
        if whole is not None:
            self._proposers[position.branch].end(position.local, whole)

    def close(self) -> None:
        """Tell what was held back, if nothing more will be proposed. An interrupted study keeps it for its resume."""
        if self.exhausted:
            for proposer in self._proposers:
                proposer.close()

    def frozen(self, number: int) -> FrozenTrial:
        """Optuna's own record of a trial's configuration."""
        position = self._layout.position(number)
        return self._proposers[position.branch].frozen(position.local)

    def visible(self, number: int) -> list[FrozenTrial]:
        """What a decision about a trial may take into account beside itself."""
        position = self._layout.position(number)
        return self._proposers[position.branch].visible(position.local)

    def position(self, number: int) -> Position:
        """What a trial's number says."""
        return self._layout.position(number)

    def _local(self, number: int) -> tuple[int, int]:
        position = self._layout.position(number)
        return position.branch, position.local

    def _values(self, number: int) -> Values:
        position = self._layout.position(number)
        return trial_values(self._study, position, self._configurations[position.configuration])

    def _end_of(self, configuration: int) -> End | None:
        """How a configuration ended; None before all its repeats have."""
        first = configuration * self._layout.repeats
        ends = [self._ends.get(number) for number in range(first, first + self._layout.repeats)]
        return together([end for end in ends if end is not None]) if all(ends) else None
