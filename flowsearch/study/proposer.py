"""Proposes configurations in a way that does not depend on which trial happens to end first.

Trial i is proposed once trials 0 to i - window have ended, and at that moment exactly those have been told to Optuna,
in order. So the same file gives the same configurations although trials run side by side, and a resumed study goes on
as if it had not been interrupted.
"""

from collections.abc import Callable, Mapping, Sequence

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from flowsearch.study.ends import Earlier, End
from flowsearch.study.optuna_study import OptunaStudy
from flowsearch.study.parameter import Values
from flowsearch.study.sections import Study

_RECENT = 256
"""Configurations of which a sampler may still look at what it noted of them, beside what Optuna is told at their end;
at least eight windows of them: those of the last are looked at, and were chosen by what was noted of those before, and
so on, by less and less."""


class Proposer:
    """The configurations of one task, numbered from 0: which were proposed, which have ended, what Optuna knows by now.

    What `storage` lacks is written there again from what `restore` is given.
    """

    def __init__(
        self,
        study: Study,
        storage: JournalStorage,
        window: int,
        name: str | None = None,
        earlier: Sequence[Earlier] = (),
    ) -> None:
        self._window = window
        self._optuna = OptunaStudy(study, storage, name, earlier)
        self._waits = study.search.reproducible and (not self._optuna.enumerated or study.scheduler is not None)
        self._planned: dict[int, Values] = {}
        self._ends: dict[int, End] = {}
        self._told: set[int] = set()
        self._settled = 0

    @property
    def study(self) -> optuna.Study:
        """Optuna's study."""
        return self._optuna.study

    @property
    def exhausted(self) -> bool:
        """Whether every configuration has been proposed."""
        return len(self._planned) >= self._optuna.count

    def restore(
        self,
        planned: Mapping[int, Values],
        ends: Mapping[int, End],
        count: int | None = None,
        judge: Callable[[int], None] = lambda number: None,
    ) -> dict[int, Values]:
        """Take up what the ledger says; return configurations whose plan the ledger lost (its file is damaged).

        `count` is how many there were, where that is known better than by the last in `planned`. `judge` is called
        before a configuration's end is told, which notes its epochs first: Optuna takes none after it.
        """
        found = self._optuna.asked()
        lost = {}
        self._ends, self._settled = dict(ends), 0
        self._told = {number for number, trial in found.items() if trial.state.is_finished()}
        count = max(planned, default=-1) + 1 if count is None else count
        recent = count - max(_RECENT, 8 * self._window)
        for number in range(count):
            there, values = found.get(number), planned.get(number)
            asked = there is not None and there.state != TrialState.WAITING
            if not asked or values is None:
                # In the order in which it was first done: some samplers note what they knew when they proposed.
                for earlier in self._due(number):
                    if earlier in self._ends and earlier in self._planned:
                        if earlier not in self._told:
                            judge(earlier)
                        self._tell(earlier)
            if values is None:
                known = self._planned.values()
                values = lost[number] = self._optuna.ask(number, known) if there is None else dict(there.params)
            elif not asked:
                over = number < recent and number in self._ends
                self._optuna.ask_again(number, values, waits=there is not None, over=over)
            self._planned[number] = dict(values)
        return lost

    def contradicts(self, planned: Mapping[int, Values], ends: Mapping[int, End]) -> bool:
        """Whether Optuna was told what these do not say, which it cannot take back: values, an end, or how far a limit
        is broken in other units; or epochs beside several objectives, on which TPE fails, as code before did."""
        several = len(self.study.directions) > 1
        for number, trial in self._optuna.asked().items():
            if several and trial.intermediate_values:
                return True
            if trial.state != TrialState.WAITING and trial.params != planned.get(number, trial.params):
                return True
            if trial.state.is_finished():
                end = ends.get(number)
                if end is None or end.state != trial.state or end.violations != trial.constraints:
                    return True
        return False

    def next(self) -> tuple[int, Values] | None:
        """The next configuration's number and values, or None while it has to wait for earlier ones to end."""
        number = len(self._planned)
        if self.exhausted:
            return None
        due = self._due(number)
        if any(earlier not in self._ends for earlier in due):
            return None
        for earlier in due:
            self._tell(earlier)
        self._settled += len(due) if self._waits else 0
        values = self._planned[number] = self._optuna.ask(number, self._planned.values())
        return number, values

    def report(self, number: int, step: int, value: float) -> bool:
        """Note the objective's value after epoch `step`; False where it was noted before or is not finite."""
        return self._optuna.report(number, step, value)

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
        return self._optuna.frozen(number)

    def visible(self, number: int) -> list[FrozenTrial]:
        """What a decision about trial `number` may take into account beside itself: trials 0 to number - window, and
        those of earlier studies.

        A pruner adds the trial itself, which would count twice where an epoch is judged again.
        """
        seen, first = self._optuna.seen(), self._optuna.offset
        at = first + number
        if not self._waits:
            return [trial for trial in seen if trial.number != at and trial.state != TrialState.WAITING]
        return [trial for trial in seen if trial.number < first or trial.number <= at - self._window]

    def _due(self, number: int) -> Sequence[int]:
        """Which configurations have yet to end and be told before configuration `number` is proposed."""
        if self._waits:
            return range(self._settled, max(0, number - self._window + 1))
        return sorted(self._ends.keys() - self._told)

    def _tell(self, number: int) -> None:
        if number not in self._told:
            self._optuna.tell(number, self._ends[number])
            self._told.add(number)
