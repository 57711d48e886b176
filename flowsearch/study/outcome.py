"""How a trial ended, the one function that makes a status and a reason of it, and whether it is taken up again."""

import re
import traceback
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from flowsearch.results import schema

_LONGEST_TRACE = 20_000

How = Literal["finished", "pruned", "raised", "died", "lost", "interrupted"]

Cause = Literal["memory", "died", "lost"]
"""Why a trial is taken up again by itself: memory ran out, its worker process died, or its machine went away."""

TAKEN_UP: dict[Cause, int] = {"memory": 1, "died": 1, "lost": 10}
"""How often a trial is taken up again for each cause, before it has failed; `lost` without an epoch in between."""

OUT_OF_MEMORY = "out of memory"

_NODE_GONE = ("node has died", "node it was running on is dead", "node was terminated", "its node is dead")
_NEVER_RAN = ("error raised in its creation task", "failed to set up runtime environment")
_DISK_FULL = ("no space left on device", "disk quota exceeded", "read-only file system")
_MEMORY_GONE = ("out of memory", "can't allocate memory", "running low on memory")


@dataclass(frozen=True)
class Failure:
    """An exception as plain text: it crosses from the worker to the driver, where its class may not be importable."""

    kinds: tuple[str, ...]
    """Names of its class and of the classes that it inherits from."""
    message: str
    trace: str

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """The description of `error`."""
        kinds = tuple(kind.__name__ for kind in type(error).__mro__ if kind not in (object, BaseException))
        trace = "".join(traceback.format_exception(error))[-_LONGEST_TRACE:]
        return cls(kinds=kinds, message=str(error), trace=trace)

    @classmethod
    def of_ray(cls, said: str) -> "Failure":
        """What Ray says about a worker process that went away: text with a class that it does not name."""
        return cls(kinds=("RayError",), message=said, trace=said[-_LONGEST_TRACE:])

    @property
    def line(self) -> str:
        """The exception on one line, as Python prints it."""
        if self.before_it_ran:
            return self.message.splitlines()[-1].strip()
        message = " ".join(self.message.split())
        return f"{self.kinds[0]}: {message}" if message else self.kinds[0]

    @property
    def out_of_memory(self) -> bool:
        """Whether memory ran out: on a GPU, on the CPU, or on the whole machine, where Ray then ends a worker."""
        said = self.message.lower()
        return (
            "MemoryError" in self.kinds or "OutOfMemoryError" in self.kinds or any(one in said for one in _MEMORY_GONE)
        )

    @property
    def disk_full(self) -> bool:
        """Whether a disk had no room, or took nothing any more (as Linux has it after an error of the disk), as the
        system says it, in Python's words or a library's."""
        return any(one in self.message.lower() for one in _DISK_FULL)

    @property
    def node_gone(self) -> bool:
        """Whether Ray says that the machine went away."""
        return any(one in self.message.lower() for one in _NODE_GONE)

    @property
    def cut_off(self) -> bool:
        """Whether Ray says only that it does not reach the process: that its machine is gone it learns later."""
        return "actor is temporarily unavailable" in self.message

    @property
    def before_it_ran(self) -> bool:
        """Whether the worker process could not even set itself up, which is a mistake in the code or its packages."""
        return any(one in self.message.lower() for one in _NEVER_RAN)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, and what is known of it."""

    how: How
    failure: Failure | None = None
    """What was raised (`raised`; `died` and `lost` where Ray said why)."""
    why: str = ""
    """Why it was `interrupted`; why it was `lost`, where that was said before."""

    @classmethod
    def of_worker(cls, failure: Failure | None, *, leaving: bool = False, here: bool = False) -> "Outcome":
        """The end of a trial whose worker process went away, for what Ray says of it.

        `leaving`: the worker had said that its machine was about to go. `here`: that is this one, which is there.
        """
        if leaving:
            return cls("lost", why="its machine was taken back, with notice")
        if failure is not None and failure.before_it_ran:
            return cls("raised", failure)
        if failure is not None and failure.cut_off and not here:
            return cls("lost", failure, "the connection to it broke")
        return cls("lost" if failure is not None and failure.node_gone else "died", failure)

    @property
    def disk_full(self) -> bool:
        """Whether it ended for want of a disk to write to, which is no failure of its own: a resume goes on with it."""
        return self.how == "raised" and self.failure is not None and self.failure.disk_full

    @property
    def cause(self) -> Cause | None:
        """What a trial that ended so may be taken up again for; None where it ends for good."""
        if self.failure is not None and self.how in ("raised", "died") and self.failure.out_of_memory:
            return "memory"
        if self.how == "died":
            return "died"
        return "lost" if self.how == "lost" else None


def settle(outcome: Outcome) -> tuple[str, str | None]:
    """The status and reason of a trial that ended so: the only place where either is decided."""
    if outcome.how == "finished":
        return schema.COMPLETED, None
    if outcome.how == "pruned":
        return schema.PRUNED, "stopped early by the scheduler"
    if outcome.how == "interrupted":
        return schema.INTERRUPTED, outcome.why or "interrupted"
    failure = outcome.failure
    if outcome.cause == "memory":
        return schema.FAILED, OUT_OF_MEMORY
    if failure is not None and outcome.disk_full:
        return schema.INTERRUPTED, failure.line
    if outcome.how == "died":
        return schema.FAILED, "lost its worker process twice"
    if outcome.how == "lost":
        return schema.FAILED, f"lost its machine {TAKEN_UP['lost'] + 1} times without an epoch in between"
    assert failure is not None
    if "NonFiniteError" in failure.kinds:
        return schema.DIVERGED, " ".join(failure.message.split())
    if "DataError" in failure.kinds:
        return schema.FAILED, f"data error: {' '.join(failure.message.split())}"
    return schema.FAILED, failure.line


@dataclass(frozen=True)
class Again:
    """That a trial is taken up again by itself, and how."""

    cause: Cause
    reason: str
    micro_batch: int | None = None
    """Images whose gradient is computed at once from now on, where memory ran out."""


def again(outcome: Outcome, before: Counter[str], batch: int | None) -> Again | None:
    """Whether a trial that ended so is taken up again from its last checkpoint; None where it is not.

    `before` counts how often it was already, by cause; `batch` is the images whose gradient it computes at once (None:
    it has no batches). A machine that went away is not the trial's failure, so it is tried again many times.
    """
    cause = outcome.cause
    if cause is None or before[cause] >= TAKEN_UP[cause]:
        return None
    if cause == "memory":
        if batch is None or batch < 2:
            return None
        return Again(cause, f"out of memory; now in micro-batches of {batch // 2}", batch // 2)
    return Again(cause, outcome.why or ("its worker process died" if cause == "died" else "its machine went away"))


class Hopeless:
    """Notices a study whose every trial breaks in the same way at once: a mistake in the file or the code.

    Trials that diverge, or that find too little memory, do not count: that may well depend on their configuration.
    """

    def __init__(self, stop_after: int | None) -> None:
        self._stop_after = stop_after
        self._line, self._count = "", 0

    def noted(self, status: str, reason: str | None, began: bool) -> str | None:
        """Take up the end of a trial, that `began` if it came to its first epoch; why to stop, where it is time to."""
        if status == schema.INTERRUPTED:
            return None
        if status != schema.FAILED or reason is None or reason == OUT_OF_MEMORY or began:
            self._line, self._count = "", 0
            return None
        line = re.sub(r"\d+", "#", reason)
        self._count = self._count + 1 if line == self._line else 1
        self._line = line
        if self._stop_after is None or self._count < self._stop_after:
            return None
        return f"{self._count} trials in a row failed before their first epoch: {reason}"
