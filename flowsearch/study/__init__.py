"""Studies: the study file, its search space, the ledger of what happened, and the runner on Ray Tune.

Importing the package loads neither ray nor optuna nor torch; `run` and `resume` do when they are called.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowsearch.study.driving import Ending
    from flowsearch.study.file import load
    from flowsearch.study.progress import Progress, TrialState
    from flowsearch.study.runner import resume, retry, run
    from flowsearch.study.sections import Study
    from flowsearch.study.source import StudyFileError

_HOMES = {
    "Ending": "driving",
    "Progress": "progress",
    "Study": "sections",
    "StudyFileError": "source",
    "TrialState": "progress",
    "load": "file",
    "resume": "runner",
    "retry": "runner",
    "run": "runner",
}
__all__ = ["Ending", "Progress", "Study", "StudyFileError", "TrialState", "load", "resume", "retry", "run"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
