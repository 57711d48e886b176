"""CMA-ES as an Optuna sampler that keeps no state: each proposal replays the trials that have ended so far.

Optuna's own sampler keeps its state as a pickle in the journal, and nothing in a study's folder may run code when it is
read. A replay needs none, learns from trials that another sampler proposed, and gives the same proposal for the same
trials.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

Vector = npt.NDArray[np.float64]


class ReplayedCma(BaseSampler):
    """Numbers that every trial so far has are drawn by CMA-ES; choices, and names that some trials lack, at random."""

    def __init__(self, seed: int, startup: int) -> None:
        self._seed, self._startup = seed, startup
        self._independent = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Ranges of all trials that were completed; none where there are too few of either."""
        space: dict[str, BaseDistribution] = {
            name: kind
            for name, kind in IntersectionSearchSpace().calculate(study).items()
            if isinstance(kind, FloatDistribution | IntDistribution) and not kind.single()
        }
        # CMA-ES is about how numbers go together; it does not exist for one.
        return space if len(space) > 1 and len(_completed(study)) >= max(1, self._startup) else {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The point that CMA-ES draws after the trials so far."""
        if not search_space:
            return {}
        from cmaes import CMA

        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        told = [
            (np.array([_share(kind, one.params[name]) for name, kind in search_space.items()]), sign * float(one.value))
            for one in _completed(study)
            if one.value is not None
        ]
        dimensions = len(search_space)
        # The first trials cover the space evenly: they say where to start, and the rest how to go on.
        start = min(told[: max(1, self._startup)], key=lambda pair: pair[1])[0]
        strategy = CMA(
            mean=np.clip(start, 0.05, 0.95),
            sigma=0.2,
            bounds=np.tile([0.0, 1.0], (dimensions, 1)),
            seed=self._seed,
            population_size=4 + math.floor(3 * math.log(dimensions)),
        )
        later, size = told[max(1, self._startup) :], strategy.population_size
        for first in range(0, len(later) - size + 1, size):
            strategy.tell([(_unlike(point, index), value) for index, (point, value) in enumerate(later[first:][:size])])
            if strategy.should_stop():
                break
        drawn = strategy.ask()
        return {name: _value(kind, share) for (name, kind), share in zip(search_space.items(), drawn, strict=True)}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value at random."""
        return self._independent.sample_independent(study, trial, param_name, param_distribution)


def _completed(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _unlike(point: Vector, index: int) -> Vector:
    """Equal points (whole numbers) would take the covariance's rank away."""
    return point + 1e-6 * (index + 1)


def _share(kind: Any, value: float) -> float:
    """Where `value` stands in its range, from 0 to 1."""
    low, high, at = _scaled(kind, value)
    return float(min(max((at - low) / (high - low), 0.0), 1.0))


def _value(kind: Any, share: float) -> float | int:
    """The value at `share` of its range."""
    low, high, _ = _scaled(kind, kind.low)
    at = low + float(share) * (high - low)
    value = math.exp(at) if kind.log else at
    if isinstance(kind, IntDistribution):
        value = kind.low + kind.step * round((value - kind.low) / kind.step)
    value = min(max(value, kind.low), kind.high)
    return int(value) if isinstance(kind, IntDistribution) else float(value)


def _scaled(kind: Any, value: float) -> tuple[float, float, float]:
    """Both ends of a range and a value of it, on the scale that it is searched on; half a step more for whole ones."""
    more = kind.step / 2 if isinstance(kind, IntDistribution) else 0.0
    ends = kind.low - more, kind.high + more, value
    return tuple(math.log(end) for end in ends) if kind.log else ends  # type: ignore[return-value]
