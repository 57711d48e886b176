"""Statistics against answers known beforehand."""

import numpy as np
import pandas as pd
import pytest

from flowsearch.analysis.statistics import (
    bootstrap_mean,
    difference_of_means,
    gain,
    paired_difference,
    student_interval,
)


def _images(**psnr: list[float]) -> pd.DataFrame:
    rows = [
        {"trial_id": trial, "split": "test", "image": i, "psnr": value, "measurement_psnr": 20.0}
        for trial, values in psnr.items()
        for i, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("values", "half"),
    [([1.0, 3.0], 12.7062), ([20.0, 30.0, 25.0], 12.4207), ([2.0], 0.0)],  # t: 12.706 and 4.303
    ids=["two", "three", "one"],
)
def test_the_interval_of_a_few_seeds_is_students(values: list[float], half: float) -> None:
    interval = student_interval(values)
    assert (interval.mean, interval.n) == (sum(values) / len(values), len(values))
    assert interval.high - interval.mean == pytest.approx(half, abs=1e-3)
    assert interval.low + interval.high == pytest.approx(2 * interval.mean)


def test_a_constant_has_no_spread() -> None:
    interval = bootstrap_mean([3.0] * 7)
    assert (interval.mean, interval.low, interval.high, interval.n) == (3.0, 3.0, 3.0, 7)


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")]], ids=["none", "nan"])
def test_what_has_no_mean_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        bootstrap_mean(bad)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).normal(size=30)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        interval = bootstrap_mean(rng.normal(1.0, 2.0, 60), draws=400)
        hits += interval.low <= 1.0 <= interval.high
    assert 0.91 <= hits / 400 <= 0.98


def test_the_interval_agrees_with_the_normal_one_for_many_values() -> None:
    values = np.random.default_rng(0).normal(5, 1, 400)
    interval = bootstrap_mean(values)
    half = 1.96 * values.std(ddof=1) / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.02)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.02)


def test_pairing_by_image_takes_out_what_the_images_share() -> None:
    hard = np.random.default_rng(0).normal(0, 5, 40)
    images = _images(a=list(30 + hard), b=list(29 + hard))
    difference = paired_difference(images, "a", "b")
    assert difference is not None
    assert difference.mean == pytest.approx(1.0)
    assert difference.high - difference.low == pytest.approx(0.0, abs=1e-9)
    assert difference.clear


def test_pairing_does_not_depend_on_the_rows_order() -> None:
    images = _images(a=[30.0, 31.0, 35.0], b=[29.0, 28.0, 30.0])
    assert paired_difference(images, "a", "b") == paired_difference(images.iloc[::-1], "a", "b")


def test_only_images_of_both_are_compared() -> None:
    difference = paired_difference(_images(a=[30.0, 31.0, 99.0], b=[29.0, 29.0]), "a", "b")
    assert difference is not None
    assert (difference.n, difference.mean) == (2, 1.5)


@pytest.mark.parametrize(("first", "split"), [("absent", "test"), ("a", "ood")])
def test_no_common_image_is_no_difference(first: str, split: str) -> None:
    assert paired_difference(_images(a=[30.0], b=[29.0]), first, "b", split) is None


def test_gain_is_over_the_measurement() -> None:
    above = gain(_images(a=[29.0, 31.0]), "a")
    assert above is not None
    assert (above.mean, above.n) == (10.0, 2)
    assert gain(_images(a=[29.0]), "b") is None


def test_difference_of_means_turns_its_sign() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(2, 1, 50), rng.normal(0, 1, 40)
    difference = difference_of_means(one, two)
    assert difference.low < 2 < difference.high
    assert difference.n == 40
    assert difference_of_means(two, one).mean == pytest.approx(-difference.mean)
    with pytest.raises(ValueError, match="both sides"):
        difference_of_means(one, [])
