"""Linear measurement operators with exact adjoints, and tasks: an operator and its noise."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowsearch.operators.blur import Blur
    from flowsearch.operators.fourier import UndersampledFourier
    from flowsearch.operators.linear import Identity, LinearOperator, Mask
    from flowsearch.operators.names import TaskSpec, check_task, parse_task
    from flowsearch.operators.sensing import GaussianSensing, SubsampledTransform
    from flowsearch.operators.superres import BoxDecimation, GaussianDecimation
    from flowsearch.operators.task import Task
    from flowsearch.operators.wrapped import check_operator, probe, wrap

_HOMES = {
    "Blur": "blur",
    "BoxDecimation": "superres",
    "GaussianDecimation": "superres",
    "GaussianSensing": "sensing",
    "Identity": "linear",
    "LinearOperator": "linear",
    "Mask": "linear",
    "SubsampledTransform": "sensing",
    "Task": "task",
    "TaskSpec": "names",
    "UndersampledFourier": "fourier",
    "check_operator": "wrapped",
    "check_task": "names",
    "parse_task": "names",
    "probe": "wrapped",
    "wrap": "wrapped",
}
__all__ = [
    "Blur",
    "BoxDecimation",
    "GaussianDecimation",
    "GaussianSensing",
    "Identity",
    "LinearOperator",
    "Mask",
    "SubsampledTransform",
    "Task",
    "TaskSpec",
    "UndersampledFourier",
    "check_operator",
    "check_task",
    "parse_task",
    "probe",
    "wrap",
]


def __getattr__(name: str) -> Any:
    """Load a name on first use, so that a task's name can be checked without loading torch."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
