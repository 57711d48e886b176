"""How the configurations of a study stand: means over repeats, limits kept, the best one, and the Pareto front."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from flowsearch.results import schema
from flowsearch.results.objective import finite, over_images
from flowsearch.study.sections import Study

if TYPE_CHECKING:
    from flowsearch.study.progress import TrialState


@dataclass
class Configuration:
    """A configuration with its repeats."""

    number: int
    trials: "list[TrialState]" = field(default_factory=list)

    @property
    def task(self) -> str:
        """What its trials reconstruct from."""
        return str(self.trials[0].config["task"])

    @property
    def completed(self) -> "list[TrialState]":
        """Its repeats that ran to their end."""
        return [trial for trial in self.trials if trial.status == schema.COMPLETED]

    def measured(self, metric: str) -> list[float]:
        """The values of `metric` over its completed repeats, as far as they are finite; of one that is over test images
        all or none."""
        values = [finite(trial.metrics, metric) for trial in self.completed]
        if over_images(metric) and None in values:
            return []
        return [value for value in values if value is not None]

    def mean(self, metric: str) -> float | None:
        """The mean over its completed repeats; None where none has the metric."""
        values = self.measured(metric)
        return fmean(values) if values else None

    def keeps(self, study: Study) -> bool:
        """Whether it is known to keep to all limits of the study."""
        means = {limit.metric: self.mean(limit.metric) for limit in study.limits}
        violations = [limit.violation(means) for limit in study.limits]
        return all(violation is not None and violation <= 0 for violation in violations)

    def losses(self, study: Study) -> tuple[float, ...] | None:
        """The objectives, each so that less is better; None where one is unknown."""
        means = [(self.mean(metric), direction) for metric, direction in study.objective.items()]
        known = [value if direction == "minimize" else -value for value, direction in means if value is not None]
        return tuple(known) if len(known) == len(means) else None


def configurations(trials: "Iterable[TrialState]") -> list[Configuration]:
    """The trials by configuration, in order."""
    found: dict[int, Configuration] = {}
    for trial in sorted(trials, key=lambda one: one.number):
        found.setdefault(trial.configuration, Configuration(trial.configuration)).trials.append(trial)
    return list(found.values())


def ranked(study: Study, trials: "Iterable[TrialState]") -> list[Configuration]:
    """The configurations that were completed and keep to the limits, the best by the first objective first."""
    known = [
        (losses, one.number, one)
        for one in configurations(trials)
        if one.completed and one.keeps(study) and (losses := one.losses(study)) is not None
    ]
    return [one for _, _, one in sorted(known, key=lambda entry: entry[:2])]


def front(study: Study, trials: "Iterable[TrialState]") -> list[Configuration]:
    """Those of `ranked` that none of the others equals or beats in every objective: the Pareto front."""
    kept: list[tuple[tuple[float, ...], Configuration]] = []
    for one in ranked(study, trials):
        losses = one.losses(study)
        assert losses is not None
        # In the order of the first objective, what beats one comes before it.
        if not any(all(a <= b for a, b in zip(other, losses, strict=True)) for other, _ in kept):
            kept.append((losses, one))
    return [one for _, one in kept]
