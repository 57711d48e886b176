"""The notice that this machine is about to be taken away, which comes seconds before the end.

It is the process's: whoever hears of it gives it, and training looks for it between two optimizer steps.
"""

import threading
from typing import Any

_given = threading.Event()


class LeavingError(Exception):
    """Training stopped because of the notice, with its state kept: it goes on elsewhere and loses nothing.

    `under_way` is what was done of an epoch (`loop.Course`).
    """

    def __init__(self, said: str = "", under_way: dict[str, Any] | None = None) -> None:
        super().__init__(said)
        self.under_way = under_way


def give() -> None:
    """Tell whatever trains in this process that its machine is about to go."""
    _given.set()


def given() -> bool:
    """Whether notice was given."""
    return _given.is_set()
