"""Means over seeds and test images, with intervals over both.

Every seed reconstructs the same images, so seeds and images are crossed, not nested: the value of seed s on image i is

    x_si = m + a_s + b_i + c_si,        Var(mean) = Var(a)/S + Var(b)/I + Var(c)/(S I).

Images drawn anew within each drawn seed would treat b as independent between seeds and miss most of Var(b)/I; here a
draw has the same images for all seeds (Owen, Annals of Applied Statistics 1, 2007: the pigeonhole bootstrap).

A draw of the error of the mean is the sum of two:

- Images: I of them with replacement, as a bootstrap-t, (m* - m) SE / SE* (Efron and Tibshirani, An Introduction to the
  Bootstrap, chapter 12); below `FEW` images Student's t instead.
- Seeds: two to ten of them cannot be resampled (a plain bootstrap over seeds and images covers down to 64% where it
  says 95%, docs/statistics.md). Their level is drawn from what the seeds' spread says of the true one: with s^2 the
  variance of the S seeds' means, r the part of it that single images explain, and k from chi^2 with S - 1 degrees,
  z sqrt(max(0, (S-1) s^2 / k - r) / S), z standard normal. With r = 0 that is Student's t, exactly. (A generalized
  pivotal quantity: Weerahandi, Journal of the American Statistical Association 88, 1993.)

The interval is the middle `level` of mean - error over the draws; p is twice the smaller share of them on one side of
zero. So a p-value below 0.05 and a 95% interval without zero are the same. Where fewer than `TAIL` draws lie beyond
zero, their number says no more than that p is small, and Student's t goes on from the last of them (`_tail`).
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from flowsearch.statistics.interval import LEVEL, Interval, finite, student_interval

Array = npt.NDArray[np.float64]

DRAWS: Final = 10_000
FEW: Final = 10
"""Fewer images than this are not resampled."""
TAIL: Final = 10
"""Draws beyond zero, at least, for a p-value by their number."""

_CACHED = 4_000_000
"""Largest table of counts, in entries, that is kept for the next mean over as many images."""


def two_level(
    values: Array | Sequence[Sequence[float]], *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> Interval:
    """Mean of `values` (seeds, images), with its interval over seeds and images; over images alone for one seed.

    Raises `ValueError` where there is no value, or one is missing.
    """
    x_SI = _matrix(values)
    return _interval(x_SI.mean(axis=0), [x_SI], draws, level, seed)


def two_level_difference(
    first: Array,
    second: Array,
    *,
    same_seeds: bool,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """mean(first) - mean(second), paired by image: `first` and `second` are (seeds, images) over the same images.

    With `same_seeds` row s of both has the same seed, and the difference is taken seed by seed too; otherwise the seeds
    of each side vary on their own. Where a side has one seed, the interval is over images alone. Raises `ValueError`
    where the images, or paired seeds, differ in number.
    """
    one, two = _matrix(first), _matrix(second)
    if one.shape[1] != two.shape[1]:
        raise ValueError(f"paired by image takes the same images on both sides, not {one.shape[1]} and {two.shape[1]}")
    if same_seeds:
        if len(one) != len(two):
            raise ValueError(f"paired by seed takes the same seeds on both sides, not {len(one)} and {len(two)}")
        return two_level(one - two, draws=draws, level=level, seed=seed)
    return _interval(one.mean(axis=0) - two.mean(axis=0), [one, two], draws, level, seed)


def _interval(means_I: Array, sides: Sequence[Array], draws: int, level: float, seed: int) -> Interval:
    """The interval of the mean over images of `means_I`, over images and the seeds of all `sides` (seeds, images)."""
    mean, seeds, images = float(means_I.mean()), min(len(x_SI) for x_SI in sides), means_I.size
    if seeds == 1 and images == 1:
        return Interval(mean=mean, low=mean, high=mean, n=1)
    errors = _image_errors(means_I, draws, seed)
    if seeds > 1:
        rng = np.random.default_rng((seed, 1))
        for x_SI in sides:
            errors = errors + _seed_errors(x_SI, draws, rng)
    drawn = mean - errors
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    beyond, fewest = min(int((drawn <= 0).sum()), int((drawn >= 0).sum())), min(TAIL, draws // 100)
    p = min(1.0, 2 * (1 + beyond) / (draws + 1))
    if beyond < fewest:
        p = _tail(means_I, errors if mean > 0 else -errors, fewest, min(n for n in (seeds, images) if n > 1) - 1)
    return Interval(mean=mean, low=float(low), high=float(high), n=images, seeds=seeds, p=p)


def _tail(means_I: Array, errors: Array, fewest: int, degrees: int) -> float:
    """The p-value of a difference, the mean of `means_I`, that fewer than `fewest` of the draws of its error reach.

    Twice the tail of Student's t, of the scale at which it has as much beyond the last draw that `fewest` reach as the
    draws have; never below that of Student's t over the images alone. `degrees` are those of the level, seeds or
    images, with the fewest: it has the heaviest tail, and far out that is the tail of the sum.
    """
    from scipy.special import stdtr, stdtrit  # Student's t; to load all of scipy.stats takes half a second more

    size, last = abs(float(means_I.mean())), float(np.partition(errors, -fewest)[-fewest])
    if last == 0:
        return float(size == 0)
    edge = 2 * (1 + fewest) / (len(errors) + 1)
    p = float(2 * stdtr(degrees, stdtrit(degrees, edge / 2) * size / last))
    least = student_interval(means_I).p if means_I.size > 1 else 0.0
    return min(edge, max(p, least))


def _image_errors(means_I: Array, draws: int, seed: int) -> Array:
    """Draws (draws,) of the error of the mean of `means_I` that comes of which images there are."""
    images = means_I.size
    spread = means_I.std(ddof=1) if images > 1 else 0.0
    if spread <= 1e-12 * max(1.0, float(np.abs(means_I).max())):
        return np.zeros(draws)
    error = spread / np.sqrt(images)
    if images < FEW:
        return error * np.random.default_rng((seed, 2)).standard_t(images - 1, draws)
    x_I = means_I - means_I.mean()
    moments = np.stack([x_I, x_I**2], axis=1)
    drawn = np.concatenate([counts @ moments for counts in _counts(images, draws, seed)]) / images
    errors = np.sqrt(np.maximum(drawn[:, 1] - drawn[:, 0] ** 2, 0) / (images - 1))
    # A resample of one value many times has no spread to divide by; it is then taken as it is.
    return drawn[:, 0] * np.divide(error, errors, out=np.ones(draws), where=errors > 1e-6 * error)


def _seed_errors(x_SI: Array, draws: int, rng: np.random.Generator) -> Array:
    """Draws (draws,) of the error of the mean of `x_SI` that comes of which seeds there are."""
    seeds, images = x_SI.shape
    means_S = x_SI.mean(axis=1)
    explained = 0.0
    if images > 1:
        rest = x_SI - means_S[:, None] - x_SI.mean(axis=0) + x_SI.mean()
        explained = float((rest**2).sum()) / ((seeds - 1) * (images - 1)) / images
    squares = (seeds - 1) * means_S.var(ddof=1)
    variance = np.maximum(0.0, squares / rng.chisquare(seeds - 1, draws) - explained)
    return rng.standard_normal(draws) * np.sqrt(variance / seeds)


def _counts(images: int, draws: int, seed: int) -> Iterator[Array]:
    """How often each image is in each resample, (draws, images), in blocks that fit into memory."""
    if draws * images <= _CACHED:
        yield _kept_counts(images, draws, seed)
        return
    rng, block = np.random.default_rng(seed), max(1, _CACHED // images)
    for start in range(0, draws, block):
        yield _draw_counts(images, min(block, draws - start), rng)


@lru_cache(maxsize=4)
def _kept_counts(images: int, draws: int, seed: int) -> Array:
    return _draw_counts(images, draws, np.random.default_rng(seed))


def _draw_counts(images: int, draws: int, rng: np.random.Generator) -> Array:
    drawn = rng.integers(0, images, (draws, images)) + images * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=draws * images).reshape(draws, images).astype(np.float64)


def _matrix(values: Array | Sequence[Sequence[float]]) -> Array:
    x_SI = finite(np.asarray(values, dtype=np.float64))
    if x_SI.ndim != 2:
        raise ValueError(f"values are (seeds, images), not of shape {x_SI.shape}")
    return x_SI
