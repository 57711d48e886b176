"""How a trial ended, and the one function that makes a status and a reason of it."""

import traceback
from dataclasses import dataclass
from typing import Literal

from flowsearch.results import schema

_LONGEST_TRACE = 20_000

How = Literal["finished", "pruned", "raised", "lost", "interrupted"]


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

    @property
    def line(self) -> str:
        """The exception on one line, as Python prints it."""
        message = " ".join(self.message.split())
        return f"{self.kinds[0]}: {message}" if message else self.kinds[0]

    @property
    def out_of_memory(self) -> bool:
        """Whether memory ran out, on the CPU or on a GPU."""
        said = self.message.lower()
        return (
            "MemoryError" in self.kinds
            or "OutOfMemoryError" in self.kinds
            or "out of memory" in said
            or "can't allocate memory" in said
        )


@dataclass(frozen=True)
class Outcome:
    """How a trial ended, and what is known of it."""

    how: How
    failure: Failure | None = None
    """What was raised (`raised`, and `lost` where Ray said why)."""
    why: str = ""
    """Why it was `interrupted`."""


def settle(outcome: Outcome) -> tuple[str, str | None]:
    """The status and reason of a trial that ended so: the only place where either is decided."""
    if outcome.how == "finished":
        return schema.COMPLETED, None
    if outcome.how == "pruned":
        return schema.PRUNED, "stopped early by the scheduler"
    if outcome.how == "interrupted":
        return schema.INTERRUPTED, outcome.why or "interrupted"
    failure = outcome.failure
    if failure is not None and failure.out_of_memory:
        return schema.FAILED, "out of memory"
    if outcome.how == "lost":
        return schema.FAILED, "lost its worker process twice" + (f" ({failure.line})" if failure is not None else "")
    assert failure is not None
    if "NonFiniteError" in failure.kinds:
        return schema.DIVERGED, " ".join(failure.message.split())
    return schema.FAILED, failure.line
