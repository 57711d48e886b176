"""Differences with their intervals: paired by test image where two trials saw the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

DRAWS = 10_000
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean over `n` values and its interval."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.n > 1 and (self.low > 0 or self.high < 0)


def bootstrap_mean(
    values: Sequence[float] | npt.NDArray[np.float64], *, draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> Interval:
    """Mean of `values` (n,) with its interval over resamples of them. Raises `ValueError` where there are none."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0 or not np.isfinite(sample).all():
        raise ValueError("a mean is taken over one or more finite numbers; drop missing ones first")
    low, high = _percentiles(_resampled_means(sample, draws, np.random.default_rng(seed)), level)
    return Interval(mean=float(sample.mean()), low=low, high=high, n=sample.size)


def student_interval(values: Sequence[float], *, level: float = LEVEL) -> Interval:
    """Mean of a few independent `values` (seeds, not images) with its interval by Student's t; both ends are the mean
    where there is one value. Raises `ValueError` where there are none."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0 or not np.isfinite(sample).all():
        raise ValueError("a mean is taken over one or more finite numbers; drop missing ones first")
    mean, half = float(sample.mean()), 0.0
    if sample.size > 1:
        from scipy.stats import t

        half = float(t.ppf((1 + level) / 2, sample.size - 1) * sample.std(ddof=1) / np.sqrt(sample.size))
    return Interval(mean=mean, low=mean - half, high=mean + half, n=sample.size)


def difference_of_means(
    first: Sequence[float] | npt.NDArray[np.float64],
    second: Sequence[float] | npt.NDArray[np.float64],
    *,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> Interval:
    """mean(first) - mean(second) of two independent groups; `n` is the smaller group's size."""
    one, two = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if min(one.size, two.size) == 0:
        raise ValueError(f"a difference needs values on both sides, not {one.size} and {two.size}")
    rng = np.random.default_rng(seed)
    means = _resampled_means(one, draws, rng) - _resampled_means(two, draws, rng)
    low, high = _percentiles(means, level)
    return Interval(mean=float(one.mean() - two.mean()), low=low, high=high, n=min(one.size, two.size))


def gain(images: pd.DataFrame, trial_id: str, split: str = "test") -> Interval | None:
    """PSNR of a trial above its measurement, in dB, paired by image; None where the trial has no images."""
    rows = images[(images["trial_id"] == trial_id) & (images["split"] == split)]
    differences = (rows["psnr"] - rows["measurement_psnr"]).dropna()
    return bootstrap_mean(differences.to_numpy(dtype=np.float64)) if len(differences) else None


def paired_difference(images: pd.DataFrame, first: str, second: str, split: str = "test") -> Interval | None:
    """PSNR of trial `first` minus that of trial `second`, in dB, over the images of `split` that both were tested on.

    The interval is over images alone: it says nothing of other seeds. None where the two share no image.
    """
    psnr = images[images["split"] == split].pivot_table(index="image", columns="trial_id", values="psnr")
    if first not in psnr or second not in psnr:
        return None
    differences = (psnr[first] - psnr[second]).dropna()
    return bootstrap_mean(differences.to_numpy(dtype=np.float64)) if len(differences) else None


def _resampled_means(sample: npt.NDArray[np.float64], draws: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Means (draws,) of resamples of `sample` (n,), a block at a time so that memory stays small."""
    block = max(1, 2_000_000 // sample.size)
    means = [
        sample[rng.integers(0, sample.size, (min(block, draws - start), sample.size))].mean(axis=1)
        for start in range(0, draws, block)
    ]
    return np.concatenate(means)


def _percentiles(means: npt.NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
