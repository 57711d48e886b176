"""One trial, as plain PyTorch: its configuration, pre-training, fitting, evaluation and checkpoints."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowsearch.training.config import TrialConfig
    from flowsearch.training.errors import NonFiniteError
    from flowsearch.training.prior_config import PriorConfig
    from flowsearch.training.trial import run_trial

_HOMES = {
    "PriorConfig": "prior_config",
    "TrialConfig": "config",
    "NonFiniteError": "errors",
    "run_trial": "trial",
}
__all__ = ["NonFiniteError", "PriorConfig", "TrialConfig", "run_trial"]


def __getattr__(name: str) -> Any:
    """Load a name on first use, so that a configuration can be checked without loading torch."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
