"""Parts of a researcher's own, named `module:name`: a task's operator, say. Needs no torch; the module may."""

import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from importlib import import_module, invalidate_caches
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import Any

from flowsearch.checks import nearest

_WORD = r"[A-Za-z_]\w*"
PART = rf"{_WORD}(?:\.{_WORD})*:{_WORD}(?:\.{_WORD})*"
"""What names a part, as a regular expression: `mylab.ops:Radon`."""

_NOT_THEIRS = (Path(__file__).parent, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")))
"""Folders of flowsearch, Python and installed packages."""


def is_part(text: str) -> bool:
    """Whether `text` has the form of a part's name."""
    return re.fullmatch(PART, text) is not None


@contextmanager
def beside(folder: Path | None) -> Iterator[None]:
    """Let modules that lie in `folder` be found, after installed ones and those on PYTHONPATH; None changes nothing.

    At the end those imported from there are forgotten, so that the next study finds its own of the same name.
    """
    if folder is None:
        yield
        return
    place, before = str(folder.resolve()), set(sys.modules)
    sys.path.append(place)
    invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(place)
        for name in modules_in(folder):
            if name not in before:
                del sys.modules[name]


def modules_in(folder: Path) -> dict[str, Path]:
    """The imported modules whose file, or whose outermost package, lies right in `folder`, and where that is."""
    folder = folder.resolve()
    homes = {name: _home(module) for name, module in list(sys.modules.items()) if "." not in name}
    inside = {name: home for name, home in homes.items() if home is not None and home.parent == folder}
    return {
        name: inside[top]
        for name in list(sys.modules)
        if (top := name.partition(".")[0]) in inside and top not in ("flowsearch", "__main__")
    }


def _home(module: ModuleType) -> Path | None:
    """The file of a module, or the folder of a package."""
    folders = list(getattr(module, "__path__", ()))
    place = folders[0] if folders else getattr(module, "__file__", None)
    return Path(place).resolve() if isinstance(place, str) else None


def load_part(path: str) -> Callable[..., Any]:
    """The function or class that `module:name` names, e.g. `mylab.ops:Radon`; its module is imported.

    Raises ValueError where the name has another form, the module is not found or fails, or holds no such callable.
    """
    if not is_part(path):
        raise ValueError(f"a part of your own is named module:name, such as mylab.ops:Radon, not {path!r}")
    where, _, name = path.partition(":")
    try:
        with blamed(f"{path}: importing {where}"):
            module = import_module(where)
    except ValueError as failed:
        error = failed.__cause__
        if not isinstance(error, ModuleNotFoundError):
            raise
        if error.name is None or not f"{where}.".startswith(f"{error.name}."):
            raise ValueError(f"{failed}; install what it needs") from error
        raise ValueError(
            f"{path}: there is no module {error.name}; install it, or put it on PYTHONPATH or beside the study file"
        ) from None
    try:
        part = reduce(getattr, name.split("."), module)
    except AttributeError:
        public = [known for known in vars(module) if not known.startswith("_")]
        raise ValueError(
            f"{path}: {where} ({getattr(module, '__file__', 'no file')}) holds no {name}{nearest(name, public)}"
        ) from None
    if not callable(part):
        raise ValueError(f"{path} is a function or a class, not {type(part).__name__}")
    return part


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Make a ValueError of what a part raises in the body, `{what} failed: ...`; of `sys.exit`, too, which a script
    calls that was meant to be run, and which would end a study without a word."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ValueError(f"{what} failed: {told(error)}") from error


def told(error: BaseException) -> str:
    """An error in a part: its type, what it says, and the last line of the researcher's own code that it came through.

    `ValueError: no such angle (ops.py, line 12)`; no line where all of it is flowsearch's or an installed package's.
    """
    frames = [frame for frame in extract_tb(error.__traceback__) if is_theirs(frame.filename)]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def is_theirs(file: str) -> bool:
    """Whether a file of code is neither flowsearch's nor installed nor made up, as `<string>` is."""
    return not file.startswith("<") and not any(Path(file).is_relative_to(folder) for folder in _NOT_THEIRS)
