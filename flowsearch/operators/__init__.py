"""Linear measurement operators with exact adjoints, and the named tasks: an operator and its noise."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowsearch.operators.linear import CircularBlur, Identity, LinearOperator, Mask, centre_mask, gaussian_kernel
    from flowsearch.operators.names import TaskSpec, check_task
    from flowsearch.operators.task import Task

_HOMES = {
    "CircularBlur": "linear",
    "Identity": "linear",
    "LinearOperator": "linear",
    "Mask": "linear",
    "Task": "task",
    "TaskSpec": "names",
    "centre_mask": "linear",
    "check_task": "names",
    "gaussian_kernel": "linear",
}
__all__ = [
    "CircularBlur",
    "Identity",
    "LinearOperator",
    "Mask",
    "Task",
    "TaskSpec",
    "centre_mask",
    "check_task",
    "gaussian_kernel",
]


def __getattr__(name: str) -> Any:
    """Load a name on first use, so that a task's name can be checked without loading torch."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
