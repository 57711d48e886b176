"""An interval, and those that need no resampling: Student's for a few independent values, Welch's for two groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Values = Sequence[float] | npt.NDArray[np.float64]

LEVEL: Final = 0.95
"""How often an interval covers what it is an interval of."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean, or a difference of means, with its interval and the two-sided p-value of its being zero.

    `n` counts the values that the mean is over: images, or what else the function says. `seeds` counts the repeats
    that the interval is over as well; 1 says that it is over `n` alone. Without a spread to go by (`n` and `seeds` both
    1) both ends are the mean and `p` is NaN.
    """

    mean: float
    low: float
    high: float
    n: int
    seeds: int = 1
    p: float = math.nan

    @property
    def known(self) -> bool:
        """Whether there were values enough for an interval."""
        return self.n > 1 or self.seeds > 1

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.known and (self.low > 0 or self.high < 0)


def student_interval(values: Values, *, level: float = LEVEL) -> Interval:
    """Mean of a few independent `values` (seeds, not images), m +- t s / sqrt(n), t Student's with n - 1 degrees.

    Both ends are the mean where there is one value. Raises `ValueError` where there are none.
    """
    sample = finite(values)
    if sample.size == 1:
        return Interval(mean=float(sample[0]), low=float(sample[0]), high=float(sample[0]), n=1)
    return _by_t(float(sample.mean()), sample.var(ddof=1) / sample.size, sample.size - 1, sample.size, level)


def welch_difference(first: Values, second: Values, *, level: float = LEVEL) -> Interval:
    """mean(first) - mean(second) of two independent groups, whose spreads may differ; `n` is the smaller group's size.

    d +- t sqrt(s1^2/n1 + s2^2/n2), with the degrees of freedom of Welch (Biometrika 34, 1947). Both ends are the
    difference where a group has one value. Raises `ValueError` where a group has none.
    """
    return stratified_difference([(first, second)], level=level)


def stratified_difference(strata: Sequence[tuple[Values, Values]], *, level: float = LEVEL) -> Interval:
    """mean(first) - mean(second) within each of several strata, such as networks, averaged over these.

    d = sum w_g d_g, w_g in proportion to n1_g n2_g / (n1_g + n2_g), with Welch's interval: what differs between strata
    drops out. Strata with one value on a side tell no spread and have no part, unless all are such: then both ends are
    the difference. `n` is the smaller side's number of values. Raises `ValueError` where a side has none.
    """
    known = [tuple(np.asarray(side, dtype=np.float64) for side in pair) for pair in strata]
    for one, two in known:
        if min(one.size, two.size) == 0:
            raise ValueError(f"a difference needs values on both sides, not {one.size} and {two.size}")
    several = [pair for pair in known if min(side.size for side in pair) > 1]
    pairs = [tuple(map(finite, pair)) for pair in several or known]
    weights = np.array([one.size * two.size / (one.size + two.size) for one, two in pairs])
    weights /= weights.sum()
    difference = float(weights @ [one.mean() - two.mean() for one, two in pairs])
    if not several:
        return Interval(mean=difference, low=difference, high=difference, n=1)
    n = min(sum(pair[side].size for pair in pairs) for side in (0, 1))
    parts = [
        (weight**2 * side.var(ddof=1) / side.size, side.size - 1)
        for weight, pair in zip(weights, pairs, strict=True)
        for side in pair
    ]
    variance, squares = sum(part for part, _ in parts), sum(part**2 / degrees for part, degrees in parts)
    return _by_t(difference, variance, variance**2 / squares if squares else 1, n, level)


def finite(values: Values) -> npt.NDArray[np.float64]:
    """`values` as an array; `ValueError` where there are none, or one is missing."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0 or not np.isfinite(sample).all():
        raise ValueError("a mean is taken over one or more finite numbers; drop missing ones first")
    return sample


def _by_t(mean: float, variance: float, degrees: float, n: int, level: float) -> Interval:
    """`mean` with its `variance`, known with so many `degrees` of freedom."""
    from scipy.special import stdtr, stdtrit  # Student's t; to load all of scipy.stats takes half a second more

    error = math.sqrt(variance)
    half = float(stdtrit(degrees, (1 + level) / 2)) * error
    p = float(2 * stdtr(degrees, -abs(mean) / error)) if error else float(mean == 0)
    return Interval(mean=mean, low=mean - half, high=mean + half, n=n, p=p)
