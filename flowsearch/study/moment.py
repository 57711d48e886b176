"""When something happened, for people by the system's clock, and for durations by one that nobody sets.

The system's clock is set forward and back (NTP, a wrong BIOS clock) and goes on while a laptop sleeps. So where one
process saw both a beginning and an end, what lies between them is counted by that process's own clock.
"""

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

_PROCESS = secrets.token_hex(4)


@dataclass(frozen=True)
class Moment:
    """A moment by the system's clock and by that of the process that saw it."""

    time: datetime
    process: str = ""
    """Which process saw it; empty where that is not known."""
    ticks: float = 0.0
    """By its own clock, in seconds since whenever."""

    @classmethod
    def now(cls) -> Self:
        """This moment, as this process sees it."""
        return cls(datetime.now(UTC), _PROCESS, time.monotonic())


def between(since: Moment, then: Moment) -> float:
    """Seconds from one moment to another; 0 where two processes saw them and the system's clock was set back."""
    if since.process and since.process == then.process:
        return max(0.0, then.ticks - since.ticks)
    return max(0.0, (then.time - since.time).total_seconds())
