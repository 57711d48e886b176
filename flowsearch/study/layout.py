"""How a study's trials are numbered: configuration by configuration, the tasks in turn, the repeats of each together.

Numbers do not change where a study gets more trials, and do not depend on which trial ends first.
"""

from dataclasses import dataclass
from typing import Any

from flowsearch.study.sections import Study


@dataclass(frozen=True)
class Position:
    """What a trial's number says."""

    configuration: int
    """Which configuration of the study, over all tasks."""
    branch: int
    """Which of the tasks."""
    local: int
    """Which configuration of its task."""
    repeat: int


@dataclass(frozen=True)
class Layout:
    """All configurations of a study, each by its branch (the place of its task) and its number there."""

    repeats: int
    configurations: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, study: Study) -> "Layout":
        """The layout of a study."""
        points = [branch.points() for branch in study.branches]
        counts = [study.search.trials if found is None else len(found) for found in points]
        order = [
            (branch, local) for local in range(max(counts)) for branch, count in enumerate(counts) if local < count
        ]
        return cls(study.repeats, tuple(order))

    @property
    def total(self) -> int:
        """Number of trials."""
        return len(self.configurations) * self.repeats

    def position(self, number: int) -> Position:
        """Where trial `number` belongs; ValueError where the study, whose file was edited since, has no such trial."""
        configuration, repeat = divmod(number, self.repeats)
        if configuration >= len(self.configurations):
            raise ValueError(
                f"a study keeps the trials that it has planned, and its file gives it {self.total} where trial "
                f"{number:04d} was planned; put the file back (search.trials, repeats, the space), or begin a new study"
            )
        branch, local = self.configurations[configuration]
        return Position(configuration, branch, local, repeat)


def trial_values(study: Study, position: Position, proposed: dict[str, Any]) -> dict[str, Any]:
    """What tells a trial from the others: its task, where there are several, what was proposed, and its own seed."""
    values = dict(proposed)
    if study.tasks is not None:
        values = {"task": study.tasks[position.branch]} | values
    if study.repeats > 1:
        values["seed"] = study.config(values).seed + position.repeat
    return values
