"""The search for one number on a log scale."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsearch.training.tuning import tune


@given(st.floats(-4.5, 1.0))
def test_a_single_peak_is_found_inside_the_range_and_beyond(peak: float) -> None:
    found, score = tune(lambda value: -abs(math.log10(value) - peak), 1e-3, 1e-1)
    assert abs(math.log10(found) - peak) < 0.08
    assert score == -abs(math.log10(found) - peak)


def test_no_value_is_tried_twice_and_few_are() -> None:
    tried: list[float] = []

    def score(value: float) -> float:
        tried.append(value)
        return -((math.log(value) - math.log(0.02)) ** 2)

    tune(score, 1e-3, 1e-1)
    assert len(tried) == len(set(tried)) <= 11


@pytest.mark.parametrize("sign", [1, -1], ids=["above", "below"])
@pytest.mark.parametrize("most", [0, 2])
def test_the_range_is_left_only_as_often_as_allowed(most: int, sign: int) -> None:
    tried: list[float] = []
    tune(lambda value: tried.append(value) or sign * value, 1.0, 16.0, most=most)
    if sign > 0:
        assert max(tried) == pytest.approx(16 * 2**most)
    else:
        assert min(tried) == pytest.approx(0.5**most)


@pytest.mark.parametrize(("peak", "told"), [(1e-9, "0.001, the lowest"), (1.0, "0.1, the highest"), (0.02, "")])
def test_a_best_value_at_an_end_is_told(peak: float, told: str, caplog: pytest.LogCaptureFixture) -> None:
    tune(lambda value: -abs(math.log(value / peak)), 1e-3, 1e-1, most=0)
    assert told in caplog.text
    assert bool(caplog.records) == bool(told)


def test_what_is_not_a_number_is_never_the_best() -> None:
    found, _ = tune(lambda value: math.nan if value > 0.05 else value, 1e-3, 1e-1)
    assert found <= 0.05
