"""From how a trial ended to its status and reason."""

import pytest

from flowsearch.study.outcome import Failure, Outcome, settle
from flowsearch.training.errors import NonFiniteError


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


RAISED = {
    "diverged": (NonFiniteError("non-finite loss at epoch 3"), "diverged", "non-finite loss at epoch 3"),
    "MemoryError": (MemoryError(), "failed", "out of memory"),
    "torch": (OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "failed", "out of memory"),
    "allocator": (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "failed", "out of memory"),
    "KeyError": (KeyError("x"), "failed", "KeyError: 'x'"),
    "several lines": (RuntimeError("one\n  two"), "failed", "RuntimeError: one two"),
    "no message": (AssertionError(), "failed", "AssertionError"),
    "exit": (SystemExit(3), "failed", "SystemExit: 3"),
}


@pytest.mark.parametrize(("error", "status", "reason"), RAISED.values(), ids=RAISED)
def test_exceptions(error, status, reason):
    assert settle(Outcome("raised", Failure.of(error))) == (status, reason)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome("finished"), ("completed", None)),
        (Outcome("pruned"), ("pruned", "stopped early by the scheduler")),
        (Outcome("interrupted", why="by a signal"), ("interrupted", "by a signal")),
        (Outcome("lost"), ("failed", "lost its worker process twice")),
        (
            Outcome("lost", Failure.of(RuntimeError("gone"))),
            ("failed", "lost its worker process twice (RuntimeError: gone)"),
        ),
        (Outcome("lost", Failure.of(RuntimeError("killed: out of memory"))), ("failed", "out of memory")),
    ],
    ids=["finished", "pruned", "interrupted", "lost", "lost, said why", "lost for memory"],
)
def test_other_endings(outcome, expected):
    assert settle(outcome) == expected


def test_a_failure_keeps_the_traceback():
    with pytest.raises(ValueError, match="deep") as caught:
        raise ValueError("deep inside")
    assert "test_study_outcome.py" in Failure.of(caught.value).trace
