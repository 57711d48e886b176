"""Values of an object that are computed when they are first asked for."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property
from typing import Any, TypeVar

T = TypeVar("T")


class lazy(cached_property[T]):
    """`functools.cached_property` without the lock that Python 3.11 shares among all objects of a class.

    With that lock, two threads that compute values of two objects wait for each other for ever, where one's value
    needs what the other holds. Without it, two threads may both compute a value of one object, as from Python 3.12 on.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        super().__init__(compute)
        self.lock = nullcontext()
