"""Intervals and corrections against answers known beforehand."""

from collections.abc import Callable

import numpy as np
import pytest
from simulated import MEAN, crossed

from flowsearch.statistics import (
    Interval,
    holm,
    stratified_difference,
    student_interval,
    two_level,
    two_level_difference,
    welch_difference,
)

Draw = Callable[[np.random.Generator], Interval]


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


@pytest.mark.parametrize("seeds", [2, 3, 8])
def test_without_images_two_levels_are_students(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(size=seeds)
    ours, students = two_level(values[:, None], draws=200_000), student_interval(values)
    width = students.high - students.low
    assert (ours.low, ours.high) == pytest.approx((students.low, students.high), abs=0.02 * width)
    assert ours.p == pytest.approx(students.p, abs=0.005)


def test_one_seed_and_many_images_agree_with_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(5, 1, 400)
    interval = two_level([values.tolist()])
    half = 1.96 * values.std(ddof=1) / 20
    assert (interval.low, interval.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)
    assert (interval.n, interval.seeds) == (400, 1)


def test_more_images_than_are_kept_at_once_give_the_same_kind_of_interval() -> None:
    values = np.random.default_rng(0).normal(0, 1, (1, 3000))
    interval = two_level(values, draws=4000)
    half = 1.96 * values.std() / np.sqrt(3000)
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.05)


def _independent_seeds(rng: np.random.Generator) -> Interval:
    hard = rng.normal(0, 4, 60)  # shared by both sides, and taken out by pairing
    return two_level_difference(
        crossed(rng, 6, 60) + hard, crossed(rng, 5, 60) + hard - MEAN, same_seeds=False, draws=500
    )


_COVERED: dict[str, Draw] = {
    "paired images, one seed": lambda rng: two_level(crossed(rng, 1, 60), draws=500),
    "paired images, one seed, skewed": lambda rng: two_level(crossed(rng, 1, 60, skewed=True), draws=500),
    "few images, one seed": lambda rng: two_level(crossed(rng, 1, 6), draws=500),
    "5 seeds and images": lambda rng: two_level(crossed(rng, 5, 60), draws=500),
    "10 seeds and images": lambda rng: two_level(crossed(rng, 10, 60), draws=500),
    "10 seeds and skewed images": lambda rng: two_level(crossed(rng, 10, 60, skewed=True), draws=500),
    "6 and 5 seeds of their own, same images": _independent_seeds,
    "independent groups": lambda rng: welch_difference(rng.normal(MEAN, 1, 12), rng.normal(0, 0.4, 30)),
    "strata": lambda rng: stratified_difference(
        [
            (rng.normal(MEAN, 1, 5), rng.normal(0, 0.4, 25)),
            (rng.normal(MEAN + 9, 0.4, 20), rng.normal(9, 1, 6)),
            (rng.normal(MEAN + 3, 1, 1), rng.normal(3, 1, 4)),
        ]
    ),
    "a few seeds": lambda rng: student_interval(rng.normal(MEAN, 1, 4)),
}


@pytest.mark.parametrize("case", _COVERED)
def test_95_percent_intervals_cover_the_known_mean_95_times_in_100(case: str) -> None:
    rng, hits = np.random.default_rng(20), 0
    for _ in range(2000):
        interval = _COVERED[case](rng)
        hits += interval.low <= MEAN <= interval.high
    assert 0.93 <= hits / 2000 <= 0.97


def test_a_plain_bootstrap_over_seeds_and_images_would_cover_less() -> None:
    """Why the seeds are not resampled: the same simulation shows what that would miss."""
    rng, hits = np.random.default_rng(3), 0
    for _ in range(1000):
        values = crossed(rng, 5, 60)
        seeds, images = rng.integers(0, 5, (300, 5)), rng.integers(0, 60, (300, 60))
        means = values[seeds[:, :, None], images[:, None, :]].mean(axis=(1, 2))
        low, high = np.quantile(means, [0.025, 0.975])
        hits += low <= MEAN <= high
    assert hits / 1000 < 0.93


@pytest.mark.parametrize("seeds", [1, 4])
def test_p_values_of_no_difference_are_as_small_as_they_say_or_less_often(seeds: int) -> None:
    rng = np.random.default_rng(5)
    found = np.array([two_level(crossed(rng, seeds, 40) - MEAN, draws=400).p for _ in range(1000)])
    for share in (0.05, 0.2, 0.5):
        assert share - 0.06 <= (found <= share).mean() <= share + 0.03


@pytest.mark.parametrize(("seeds", "images"), [(1, 200), (1, 24), (1, 6), (4, 24)])
def test_p_values_go_on_where_no_draw_lies_beyond_zero(seeds: int, images: int) -> None:
    values = crossed(np.random.default_rng(8), seeds, images)
    values -= values.mean()
    alone = values[0] if seeds == 1 else values.mean(axis=1)
    sizes = np.linspace(2, 40, 400) * alone.std(ddof=1) / alone.size**0.5
    p = np.array([two_level(values + size).p for size in sizes])
    assert (np.diff(p) <= 0).all()
    assert (p[1:] > 0.5 * p[:-1])[p[1:] > 1e-6].all()  # no jump where the draws end
    below = two_level(values - sizes[-1]).p
    students = student_interval(alone + sizes[-1]).p
    assert all(students / 10 < found < max(1e-20, 10 * students) for found in (p[-1], below))


def test_a_clear_difference_stays_clear_among_many() -> None:
    values = crossed(np.random.default_rng(8), 1, 200)
    p = two_level(values + 4).p
    assert holm([p] * 400).max() < 0.001


def test_p_below_5_percent_and_an_interval_without_zero_are_the_same() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        interval = two_level(crossed(rng, 3, 30), draws=999)
        if abs(interval.p - 0.05) > 0.005:  # the quantile lies between two draws
            assert interval.clear == (interval.p < 0.05)


def test_a_constant_has_no_spread() -> None:
    interval = two_level([[3.0] * 20] * 2)
    assert (interval.mean, interval.low, interval.high) == (3.0, 3.0, 3.0)
    assert (interval.n, interval.seeds) == (20, 2)
    assert interval.clear


def test_one_value_has_no_interval() -> None:
    interval = two_level([[3.0]])
    assert (interval.low, interval.high, interval.known, interval.clear) == (3.0, 3.0, False, False)
    assert np.isnan(interval.p)


@pytest.mark.parametrize("bad", [[[]], [[1.0, float("nan")]]], ids=["none", "nan"])
def test_what_has_no_mean_is_refused(bad: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="finite"):
        two_level(bad)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).normal(size=(2, 30))
    assert two_level(values, seed=1) == two_level(values, seed=1)
    assert two_level(values, seed=1) != two_level(values, seed=2)


def test_pairing_by_image_takes_out_what_the_images_share() -> None:
    hard = np.random.default_rng(0).normal(0, 5, 40)
    difference = two_level_difference(30 + hard[None], 29 + hard[None], same_seeds=True)
    assert difference.mean == pytest.approx(1.0)
    assert difference.high - difference.low == pytest.approx(0.0, abs=1e-9)
    assert difference.clear


def test_pairing_by_seed_takes_out_what_the_seeds_share() -> None:
    rng = np.random.default_rng(0)
    lucky = rng.normal(0, 1, (5, 1))
    one, two = 1 + lucky + rng.normal(0, 0.1, (5, 50)), lucky + rng.normal(0, 0.1, (5, 50))
    paired = two_level_difference(one, two, same_seeds=True)
    alone = two_level_difference(one, two, same_seeds=False)
    assert paired.mean == pytest.approx(alone.mean)
    assert alone.high - alone.low > 10 * (paired.high - paired.low)


@pytest.mark.parametrize(
    ("shapes", "same", "match"),
    [(((1, 3), (1, 4)), False, "same images"), (((2, 3), (1, 3)), True, "same seeds")],
    ids=["images", "seeds"],
)
def test_what_cannot_be_paired_is_refused(shapes: tuple[tuple[int, int], ...], same: bool, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        two_level_difference(np.zeros(shapes[0]), np.zeros(shapes[1]), same_seeds=same)


def test_welch_against_scipys() -> None:
    from scipy.stats import ttest_ind

    rng = np.random.default_rng(0)
    one, two = rng.normal(2, 1, 9), rng.normal(0, 3, 14)
    ours, theirs = welch_difference(one, two), ttest_ind(one, two, equal_var=False)
    between = theirs.confidence_interval()
    assert (ours.low, ours.high, ours.p) == pytest.approx((between.low, between.high, theirs.pvalue))
    assert ours.n == 9
    assert welch_difference(two, one).mean == pytest.approx(-ours.mean)
    with pytest.raises(ValueError, match="both sides"):
        welch_difference(one, [])


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        # By hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, 1 x 0.04 raised to what comes before it.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.4, 0.6], [0.8, 0.8]),
        ([0.9, 0.8, 0.01], [1.0, 1.0, 0.03]),
        ([0.02, float("nan"), 0.01], [0.02, float("nan"), 0.02]),
        ([], []),
    ],
    ids=["four", "past one half", "capped", "missing", "none"],
)
def test_holm_by_hand(p: list[float], adjusted: list[float]) -> None:
    np.testing.assert_allclose(holm(p), adjusted)


def test_holm_keeps_false_findings_rare() -> None:
    rng = np.random.default_rng(0)
    families = [(holm(rng.uniform(size=10)) <= 0.05).any() for _ in range(2000)]
    assert np.mean(families) <= 0.06
