"""Parts of a researcher's own, named `module:name`: a task's operator, say. Needs no torch; the module may."""

import re
from collections.abc import Callable
from functools import reduce
from importlib import import_module
from typing import Any

from flowsearch.checks import nearest

_WORD = r"[A-Za-z_]\w*"
PART = rf"{_WORD}(?:\.{_WORD})*:{_WORD}(?:\.{_WORD})*"
"""What names a part, as a regular expression: `mylab.ops:Radon`."""


def is_part(text: str) -> bool:
    """Whether `text` has the form of a part's name."""
    return re.fullmatch(PART, text) is not None


def load_part(path: str) -> Callable[..., Any]:
    """The function or class that `module:name` names, e.g. `mylab.ops:Radon`; its module is imported.

    Raises ValueError where the name has another form, the module is not found or fails, or holds no such callable.
    """
    if not is_part(path):
        raise ValueError(f"a part of your own is named module:name, such as mylab.ops:Radon, not {path!r}")
    where, _, name = path.partition(":")
    try:
        module = import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{where}.".startswith(f"{error.name}."):
            raise ValueError(f"{path}: importing {where} failed: {error}; install what it needs") from error
        raise ValueError(
            f"{path}: there is no module {error.name}; install it, or put it on PYTHONPATH or beside the study file"
        ) from None
    except Exception as error:
        raise ValueError(f"{path}: importing {where} failed: {type(error).__name__}: {error}") from error
    try:
        part = reduce(getattr, name.split("."), module)
    except AttributeError:
        public = [known for known in vars(module) if not known.startswith("_")]
        raise ValueError(f"{path}: {where} holds no {name}{nearest(name, public)}") from None
    if not callable(part):
        raise ValueError(f"{path} is a function or a class, not {type(part).__name__}")
    return part
