"""What a study of `mode: grid` or `mode: ablate` goes through: every point once, in an order that the file decides."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Any

from flowsearch.study.parameter import SpaceError, Values, same
from flowsearch.study.space import Space

MOST = 10_000
"""Points of a grid. A larger one is a mistake, or a search."""

Point = tuple[str, Values]
"""The name that a point is about, and its values."""


def grid(space: Space) -> list[Point]:
    """Every combination of values; the space's first name varies slowest. A name stands only where it means something.

    Raises SpaceError for a range without an end to its values, or a grid that is too large.
    """
    values = {name: parameter.values for name, parameter in space.parameters.items()}
    first = next(iter(values))

    def below(names: Sequence[str], chosen: Values) -> Iterator[Values]:
        if not names:
            yield chosen
            return
        name, rest = names[0], names[1:]
        if not space.active(space.parameters[name], chosen):
            yield from below(rest, chosen)
            return
        for value in values[name]:
            yield from below(rest, {**chosen, name: value})

    points = list(islice(below(list(values), {}), MOST + 1))
    if len(points) > MOST:
        raise SpaceError(f"space has more than {MOST:,} combinations; try fewer values, or write mode: search", first)
    return [(first, point) for point in points]


def ablation(space: Space, names: Sequence[str], pairs: Sequence[Sequence[str]]) -> list[Point]:
    """The baseline (each name's first choice), then each of `names` at each other value, then each of the `pairs`.

    A name that means nothing beside the varied one is left out, and one that only then means something has its
    baseline's value. What is the same point as an earlier one is left out. Raises SpaceError for a name that has other
    values, none of which ever means anything.
    """
    start = {name: parameter.choices[0] for name, parameter in space.parameters.items()}
    points = [(names[0], _settled(space, start))]
    seen = {_key(points[0][1])}
    for group in [*([name] for name in names), *pairs]:
        others = [space.parameters[name].choices[1:] for name in group]
        for values in product(*others):
            point = _settled(space, start | dict(zip(group, values, strict=True)))
            if _key(point) not in seen:
                seen.add(_key(point))
                points.append((group[0], point))
    for name in names:
        varies = any(name in varied(start, point) for _, point in points)
        if not varies and len(space.parameters[name].choices) > 1:
            raise SpaceError(f"space.{name} means nothing beside the baseline, so it cannot vary; take it away", name)
    return points


def varied(baseline: Mapping[str, Any], point: Mapping[str, Any]) -> Values:
    """The values of `point` that are not the `baseline`'s, which has one for every name."""
    return {name: value for name, value in point.items() if not same(baseline[name], value)}


def _settled(space: Space, values: Mapping[str, Any]) -> Values:
    return space.fill(lambda parameter: values[parameter.name])


def _key(point: Values) -> str:
    return json.dumps(point, sort_keys=True)
