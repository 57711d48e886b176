"""What configurations reach on the test images, seed by seed and image by image, with intervals.

A mean over images of which one has no finite value is unknown, as in a trial's own numbers: that over the others would
flatter a network that fails on the hardest images.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from flowsearch.statistics import Interval, student_interval, two_level, two_level_difference, welch_difference

if TYPE_CHECKING:
    from flowsearch.results.reader import Results

METRICS: Final = ("psnr", "ssim", "residual")
"""What is known of every test image."""
SPLITS: Final = ("test", "ood")

SEEDS_AND_IMAGES: Final = "seeds and images"
IMAGES: Final = "images"
SEEDS: Final = "seeds"
NOTHING: Final = ""
"""There is one value, and no interval."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A mean or a difference with its interval, how many `images` and `seeds` it is over, and what the interval is
    `over`: seeds and images, images, seeds, or nothing."""

    interval: Interval
    images: int
    seeds: int
    over: str

    def row(self, name: str) -> dict[str, Any]:
        """As columns of a table; what has no interval has no ends."""
        low, high = (self.interval.low, self.interval.high) if self.over else (float("nan"),) * 2
        counts = {"images": self.images, "seeds": self.seeds, "over": self.over}
        return {name: self.interval.mean, "low": low, "high": high, **counts}


class Scores:
    """A metric of `chosen`, rows of `configurations`: `test_psnr` and the like image by image, others by trial.

    Where a configuration's images were not kept, its trials' means stand for them. What is over an image without a
    finite value is unknown, and so is what is over a trial's mean that is.
    """

    def __init__(self, results: "Results", chosen: pd.DataFrame, metric: str = "test_psnr") -> None:
        ids = [trial for trials in chosen["trials"] for trial in trials]
        trials = results.trials[results.trials["trial_id"].isin(ids)].sort_values("seed", kind="stable")
        trials = trials.set_index("trial_id")
        self._seeds = trials["seed"].astype(object)
        means = trials.reindex(columns=[metric]).astype(float)
        self._means = means.where(np.isfinite(means))
        self._studies = results.studies
        self._split, _, quantity = metric.partition("_")
        split = self._split
        if split not in SPLITS or quantity not in METRICS:
            self._values = self._measured = pd.DataFrame()
            return
        images = results.images
        images = images[(images["split"] == split) & images["trial_id"].isin(ids)]
        self._values = _table(images, quantity)
        self._measured = _table(images, f"measurement_{quantity}")

    def value(self, one: Any) -> float:
        """Mean over the seeds and images of the configuration `one`; NaN where nothing is known."""
        values = self._of(self._values, one)
        values = values if values.size else self._of(self._means, one)
        return float(values.to_numpy().mean()) if values.size and _known(values) else float("nan")

    def mean(self, one: Any) -> Score | None:
        """The same with its interval; None where nothing is known."""
        values = self._of(self._values, one)
        if values.size:
            return _score(two_level(values.to_numpy())) if _known(values) else None
        means = self._of(self._means, one)
        return _of_seeds(student_interval(means.to_numpy().ravel())) if means.size else None

    def gain(self, one: Any) -> Score | None:
        """Its mean above the measurements', image by image; None where that is not known."""
        values, measured = self._of(self._values, one), self._of(self._measured, one)
        if not (_known(values) and _known(measured)):
            return None
        gains = (values - measured).dropna(axis="columns")
        return _score(two_level(gains.to_numpy())) if gains.size else None

    def difference(self, one: Any, two: Any) -> Score | None:
        """Mean of `one` minus that of `two`, paired by image; by seed too where both have the same seeds."""
        values = [self._of(self._values, each) for each in (one, two)]
        if not all(map(_known, values)):
            return None
        both = values[0].columns.intersection(values[1].columns)
        if len(both) and self._same_set(one, two):
            first, second = (side[both].to_numpy() for side in values)
            return _score(two_level_difference(first, second, same_seeds=self._same_seeds(*values)))
        means = [self._of(self._means, each) for each in (one, two)]
        if not (means[0].size and means[1].size):
            return None
        one_S, two_S = (side.to_numpy().ravel() for side in means)
        if self._same_seeds(*means):
            return _of_seeds(student_interval(one_S - two_S))
        return _of_seeds(welch_difference(one_S, two_S))

    def _of(self, table: pd.DataFrame, one: Any) -> pd.DataFrame:
        """The rows of the configuration's trials, in order of their seeds, over the images that all of these have."""
        own = set(one["trials"])
        rows = [trial for trial in self._seeds.index if trial in own and trial in table.index]
        return table.loc[rows].dropna(axis="columns") if rows else pd.DataFrame()

    def _same_set(self, one: Any, two: Any) -> bool:
        """Whether image i of one is image i of the other: they are of the same study, or of studies that take the
        test set from the same source, at the same size, by the same seed. Of a study without its file its source and
        size are known, and not what it tests on out of distribution."""
        if one["study"] == two["study"]:
            return True
        if (one["source"], one["size"]) != (two["source"], two["size"]):
            return False
        stored = [self._studies.get(each["study"]) for each in (one, two)]
        files = [None if study is None else study.study[0].get("data") for study in stored]
        names = ("seed",) if self._split == "test" else ("seed", "ood")
        known = [[data.get(name) for name in names] for data in files if isinstance(data, Mapping)]
        return known[0] == known[1] if len(known) == 2 else self._split == "test"

    def _same_seeds(self, first: pd.DataFrame, second: pd.DataFrame) -> bool:
        one, two = (self._seeds[side.index].tolist() for side in (first, second))
        return one == two and len(set(one)) == len(one) and not any(map(pd.isna, one))


def _table(images: pd.DataFrame, column: str) -> pd.DataFrame:
    """A row per trial that has values and a column per image: infinite where an image has no finite value, NaN where
    there is no such image."""
    if column not in images:
        return pd.DataFrame()
    values = images[column].astype(float)
    there = values.groupby(images["trial_id"]).transform("count") > 0
    found = images[there].assign(**{column: values.where(np.isfinite(values), np.inf)})
    return found.pivot_table(index="trial_id", columns="image", values=column)


def _known(values: pd.DataFrame) -> bool:
    """Whether all of them, if there are any, are finite."""
    return not values.size or bool(np.isfinite(values.to_numpy()).all())


def non_finite(results: "Results") -> pd.DataFrame:
    """A row per completed trial and test set of which an image's PSNR is not finite: `trial_id`, `split`, `failed`, how
    many these are, and `images`, of how many."""
    images = results.images
    images = images[images["trial_id"].isin(results.completed["trial_id"])]
    failed = ~np.isfinite(images["psnr"].astype(float))
    counts = images.assign(failed=failed).groupby(["trial_id", "split"])["failed"].agg(["sum", "size"])
    found = counts[counts["sum"] > 0].rename(columns={"sum": "failed", "size": "images"}).reset_index()
    return found.sort_values(["trial_id", "split"], ascending=[True, False], ignore_index=True)


def _score(interval: Interval) -> Score:
    over = NOTHING
    if interval.known:
        over = IMAGES if interval.seeds == 1 else SEEDS if interval.n == 1 else SEEDS_AND_IMAGES
    return Score(interval=interval, images=interval.n, seeds=interval.seeds, over=over)


def _of_seeds(interval: Interval) -> Score:
    """Of an interval whose values are trials' means."""
    seeds = replace(interval, n=0, seeds=interval.n)
    return Score(interval=seeds, images=0, seeds=interval.n, over=SEEDS if interval.n > 1 else NOTHING)
