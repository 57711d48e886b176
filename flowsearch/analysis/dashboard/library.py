"""What a dashboard shows: one study, or every study in a folder."""

import hashlib
import threading
from pathlib import Path

from flowsearch.analysis.dashboard.watch import Watched
from flowsearch.results.stored import MARKS
from flowsearch.storage import inside


class Library:
    """The study in `path`, or the studies in the folders of `path`, those that come later too.

    `where` is what the path is called on the pages: of a copy, the URI of what it is a copy of. Raises `ValueError`
    where `path` is no folder.
    """

    def __init__(self, path: Path, where: str | None = None) -> None:
        if not path.is_dir():
            raise ValueError(f"a dashboard shows a study's folder, or a folder of studies; there is no folder {path}")
        self.path, self.where = path, where or str(path)
        self._several = not is_study(path)
        self._open: dict[str, Watched] = {}
        self._lock = threading.Lock()

    @property
    def several(self) -> bool:
        """Whether it is a folder of studies. An empty folder may become a study; a study that is removed is waited for,
        as long as there are none in its place."""
        if is_study(self.path):
            self._several = False
        elif not self._several:
            self._several = bool(self._names())
        return self._several

    @property
    def names(self) -> list[str]:
        """The studies' folders, in order of their names; empty for a single study."""
        return self._names() if self.several else []

    def study(self, name: str = "") -> Watched:
        """The study called `name`, or the only one. Raises `KeyError` where there is none, or none any more."""
        with self._lock:
            own = self.several == bool(name) and (not name or name in self._open or name in self._names())
            if not own or not is_study(self.path / name):
                self._open.pop(name, None)
                raise KeyError(name or self.where)
            if name not in self._open:
                where = inside(self.where, name) if name else self.where
                self._open[name] = Watched(self.path / name, str(where))
            return self._open[name]

    def version(self, name: str = "") -> str:
        """Changes when the study called `name` has; of a folder of studies without a name, when any of them has.
        Empty where there is no such study."""
        if self.several and not name:
            versions = [(one, self.version(one)) for one in self.names]
            return hashlib.blake2b(repr(versions).encode(), digest_size=8).hexdigest()
        try:
            return self.study(name).version
        except (KeyError, ValueError):
            return ""

    def _names(self) -> list[str]:
        try:
            folders = sorted(entry for entry in self.path.iterdir() if not entry.name.startswith("."))
        except FileNotFoundError:
            return []
        return [folder.name for folder in folders if folder.is_dir() and is_study(folder)]


def is_study(folder: Path) -> bool:
    """Whether the folder looks like a study's: it holds its file, its ledger or one of its tables."""
    return any((folder / mark).exists() for mark in MARKS)
