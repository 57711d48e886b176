"""flowsearch: studies over unrolled proximal-gradient networks with normalizing flow priors.

`flowsearch.load(path)` opens what a study left behind; everything else lives in the subpackages and loads on demand.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowsearch.results import load

__version__ = version("flowsearch")
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    if name == "load":
        from flowsearch.results import load

        return load
    raise AttributeError(f"module 'flowsearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
