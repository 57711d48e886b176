"""How configurations ended, in the terms that a sampler learns from: a status, objectives, violated constraints."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from optuna.trial import TrialState

from flowsearch.results import schema
from flowsearch.results.objective import finite
from flowsearch.study.outcome import OUT_OF_MEMORY
from flowsearch.study.parameter import Values
from flowsearch.study.sections import Study

_STATES = {schema.COMPLETED: TrialState.COMPLETE, schema.PRUNED: TrialState.PRUNED, schema.DIVERGED: TrialState.PRUNED}


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

    @property
    def state(self) -> TrialState:
        """Optuna's word for it: a configuration that was completed without a value failed.

        Of failed ones no sampler learns. One that diverged, or for which memory ran out, may well do so whenever it is
        tried: as PRUNED it is worse than all that were completed, and TPE keeps away from it.
        """
        state = TrialState.PRUNED if self.reason == OUT_OF_MEMORY else _STATES.get(self.status, TrialState.FAIL)
        return TrialState.FAIL if state == TrialState.COMPLETE and self.values is None else state

    @property
    def told(self) -> tuple[float, ...] | None:
        """The values that Optuna takes with that state."""
        return self.values if self.state == TrialState.COMPLETE else None

    @property
    def violations(self) -> dict[str, float]:
        """The constraints that are known, as Optuna takes them."""
        return {text: value for text, value in self.constraints.items() if value is not None}


@dataclass(frozen=True)
class Earlier:
    """A trial of an earlier study, as the sampler is told of it."""

    values: Values
    end: End
    steps: Mapping[int, float] = field(default_factory=dict)
    """The objective after each epoch, where it was known then."""


def end_of(study: Study, status: str, reason: str | None, metrics: Mapping[str, Any]) -> End:
    """How a trial of `study` ended, that has these metrics."""
    return End(
        status,
        reason,
        tuple(finite(metrics, metric) for metric in study.objective),
        {limit.text: limit.violation(metrics) for limit in study.limits},
    )


def together(ends: Sequence[End]) -> End:
    """How a configuration ended, given how its repeats did: the mean of those that were completed."""
    completed = [end for end in ends if end.status == schema.COMPLETED]
    if len(ends) == 1 or not completed:
        return ends[0]
    measured = [end for end in completed if end.values is not None]
    if not measured:
        return completed[0]
    columns = zip(*(end.values for end in measured if end.values is not None), strict=True)
    constraints = {text: fmean(end.constraints[text] or 0.0 for end in measured) for text in measured[0].constraints}
    return End(schema.COMPLETED, None, tuple(fmean(column) for column in columns), constraints)
