"""What there is in a study's space, before it runs: its corners, its sizes, and the priors that it needs."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np

from flowsearch.data.config import DataConfig
from flowsearch.data.splits import Counted, counted
from flowsearch.study.parameter import Parameter, Values
from flowsearch.study.sections import Study
from flowsearch.study.shapes import shape_of
from flowsearch.study.space import Space
from flowsearch.training.config import TrialConfig
from flowsearch.training.need import Need, estimate, flow_parameters
from flowsearch.training.prior_store import PRIOR_NAMES, prior_key

_DRAWS = 51


def images_of(data: DataConfig) -> Counted:
    """The study's images; colour, and as many as the file says, where they are not prepared here."""
    try:
        return counted(data)
    except ValueError:
        return Counted(channels=3, pretraining=data.train + (data.prior_images or 0))


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What there is in the space of one task."""

    corners: dict[str, Values]
    """The smallest, the middle and the largest configuration by memory; one where they are the same."""
    parameters: float
    """Of a trial, in the mean."""
    most_parameters: int
    priors: int
    """Of the whole study."""
    priors_at_most: bool
    prior_parameters: float
    """Of a prior's flow, in the mean."""
    most_prior_parameters: int
    largest_flow: Values | None
    """A configuration with the largest flow to pre-train; None where none is."""


def survey_of(study: Study, configurations: int) -> Survey:
    """Of a grid or an ablation all points are looked at; of a search the corners, and a seeded draw for the means and
    the middle. The whole study has so many `configurations`."""
    needs: dict[str, Need] = {}

    def need(values: Values) -> tuple[Need, TrialConfig, int]:
        config = study.config(values)
        channels = images_of(config.data).channels
        shape = shape_of(config.to_dict(), channels)
        if shape not in needs:
            needs[shape] = estimate(config, channels)
        return needs[shape], config, channels

    def size(values: Values) -> tuple[int, bool]:
        """Its memory; of two alike, one with a prior is larger."""
        found, config, _ = need(values)
        return found.bytes, bool(config.pretrain)

    def parameters(values: Values) -> tuple[int]:
        return (need(values)[0].parameters,)

    def flow(values: Values) -> tuple[int]:
        _, config, channels = need(values)
        return (flow_parameters(config, channels) if config.pretrain else 0,)

    points = study.points()
    if points is None:
        space = study.parsed_space()
        corners = [values for _, values in space.corners()]

        def highest(height: Callable[[Values], tuple[int, ...]]) -> Values:
            return _climb(space, max(corners, key=height), height)

        smallest = highest(lambda values: tuple(-part for part in size(values)))
        largest, most, widest = highest(size), highest(parameters), highest(flow)
        rngs = map(np.random.default_rng, range(_DRAWS))
        points = [space.fill(partial(Parameter.drawn, rng=rng)) for rng in rngs]
        flows = [count for values in points if (count := flow(values)[0])] or list(flow(widest))
        priors = _distinct(space, configurations) if flow(widest)[0] else 0
    else:
        smallest, largest, most, widest = (
            min(points, key=size),
            *(max(points, key=by) for by in (size, parameters, flow)),
        )
        by_key = {prior_key(need(values)[1], ""): count for values in points if (count := flow(values)[0])}
        flows, priors = list(by_key.values()) or [0], len(by_key)
    middle = sorted(points, key=size)[len(points) // 2]
    alike = size(smallest) == size(largest)
    return Survey(
        corners={"each": middle} if alike else {"smallest": smallest, "middle": middle, "largest": largest},
        parameters=fmean(parameters(values)[0] for values in points),
        most_parameters=parameters(most)[0],
        priors=priors,
        priors_at_most=study.points() is None and priors > 0,
        prior_parameters=fmean(flows),
        most_prior_parameters=max(*flows, *flow(widest)),
        largest_flow=widest if flow(widest)[0] else None,
    )


def _climb(space: Space, start: Values, height: Callable[[Values], tuple[int, ...]]) -> Values:
    """The highest point that is reached from `start` by moving one name after another to one of its corners."""
    best = start
    for _ in range(len(space.parameters)):
        before = best
        for name, parameter in space.parameters.items():
            for corner in parameter.corners:
                best = max(best, _moved(space, best, name, corner), key=height)
        if best == before:
            break
    return best


def _moved(space: Space, point: Values, name: str, value: Any) -> Values:
    moved = point | {name: value}
    return space.fill(lambda parameter: moved.get(parameter.name, parameter.corners[-1]))


def _distinct(space: Space, configurations: int) -> int:
    """The most priors that a search's trials can need: of each configuration one, and no more than there are flows."""
    distinct = 1.0
    for name in PRIOR_NAMES:
        parameter = space.parameters.get(name)
        if parameter is None:
            continue
        if parameter.choices:
            values: float = len(parameter.choices)
        elif parameter.whole:
            values = (int(parameter.high) - int(parameter.low)) // parameter.step + 1
        else:
            values = math.inf
        # Where it is not searched it has one value more: its default.
        distinct *= values + bool({*parameter.when} & {*space.parameters} - {"prox", "method", "pretrain"})
    return int(min(distinct, configurations))
