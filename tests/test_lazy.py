"""Values computed when they are first asked for, by several threads at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from flowsearch.lazy import lazy


class Pair:
    """Two objects whose values are computed together, or not at all."""

    together = Barrier(2)

    def __init__(self) -> None:
        self.times = 0

    @lazy
    def value(self) -> int:
        self.together.wait(timeout=10)
        self.times += 1
        return 7


def test_two_threads_compute_the_values_of_two_objects_at_once() -> None:
    pairs = [Pair(), Pair()]
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda one: one.value, pairs)) == [7, 7]
    assert [one.value for one in pairs] == [7, 7]
    assert [one.times for one in pairs] == [1, 1]
