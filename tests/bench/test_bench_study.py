"""The benchmark of a study's overhead, with few trials."""

import pytest

from flowsearch.bench.study import measure

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_the_overhead_is_measured_beside_plain_tune():
    found = measure(6)
    assert found["trials"] == 6
    assert found["ratio"] == pytest.approx(found["seconds_per_trial"] / found["ray_tune_seconds_per_trial"])
    assert 0 < found["driver_bytes_before"] <= found["driver_bytes_after"] * 2
