"""A copy on disk of studies in an object store, which follows them while somebody looks.

Part files and events never change once they are there, so that following costs a listing of each folder and the
fetching of what is new. What is copied is what the pages show: tables, ledger, errors, and the two files about the
study; no checkpoints.
"""

import fcntl
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from flowsearch.results import schema
from flowsearch.results.lock import LOCK
from flowsearch.results.stored import MARKS
from flowsearch.storage import Folder, Store, store_at

_EVERY_SECONDS = 5.0
_SHARE = 0.1
"""At most this share of the time goes into following."""
_LOOKS_SECONDS = 30.0
"""Nobody looks any more so long after the last request."""
_FILES = (schema.STUDY_FILE, schema.PROVENANCE_FILE)
_log = logging.getLogger(__name__)

Held = Callable[[Store], bool]
"""Tells whether somebody runs the study in a store."""


def never(store: Store) -> bool:
    """What is told without a reader of leases: nobody is known to run it."""
    return False


class Copy:
    """The study at a URI, or the studies below it, in the folder `path`.

    Whether a study is run is known there as everywhere: a lock is held on the copy as long as it is.
    Raises `ValueError` where there is nothing at the URI.
    """

    def __init__(self, where: str, held: Held) -> None:
        self.where, self._store, self._held = where, store_at(where), held
        if not self._store.names():
            raise ValueError(f"a dashboard shows a study, or a folder of studies; there is nothing at {where}")
        self.path = Path(tempfile.mkdtemp(prefix="flowsearch-dashboard-"))
        self._locks: dict[Path, TextIO] = {}
        self._looked, self._wanted, self._over = time.monotonic(), threading.Event(), threading.Event()
        try:
            self.follow()
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        self._thread = threading.Thread(target=self._following, daemon=True, name="copy")
        self._thread.start()

    def look(self) -> None:
        """Somebody looks."""
        self._looked = time.monotonic()
        self._wanted.set()

    def follow(self) -> None:
        """Make the copy what the store is now. Raises `OSError` where the store does not answer."""
        names = self._store.names()
        if not MARKS.isdisjoint(names):
            self._study(self._store, self.path)
            return
        found = {name: store for name in names if not MARKS.isdisjoint((store := self._store.at(name)).names())}
        for name, store in found.items():
            self._study(store, self.path / name)
        for path in self.path.iterdir():
            if path.name not in found:
                self._remove(path)

    def close(self) -> None:
        """Let go of the copy."""
        self._over.set()
        self._wanted.set()
        self._thread.join()
        for file in self._locks.values():
            file.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def _study(self, store: Store, folder: Path) -> None:
        local = Folder(folder)
        for name in _FILES:
            try:
                content = store.get(name)
            except FileNotFoundError:
                continue
            if not (folder / name).is_file() or local.get(name) != content:
                local.put(name, content, safe=False)
        for name in schema.TABLES:
            _follow(store.at(name), local.at(name))
        happened = _follow(store.at(schema.LEDGER), local.at(schema.LEDGER))
        # An error's file is a trial's, and is written anew if the trial fails again.
        _follow(store.at(schema.ERRORS), local.at(schema.ERRORS), anew=happened)
        self._lock(folder, self._held(store))

    def _remove(self, path: Path) -> None:
        """A study that is gone, or a part of the only one."""
        for folder in (path, path.parent):
            if folder in self._locks:
                self._locks.pop(folder).close()
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    def _lock(self, folder: Path, running: bool) -> None:
        """Have the study's lock on the copy, or not."""
        if running and folder not in self._locks:
            file = (folder / LOCK).open("w")
            fcntl.flock(file, fcntl.LOCK_EX)
            self._locks[folder] = file
        elif not running:
            (folder / LOCK).touch()
            if folder in self._locks:
                self._locks.pop(folder).close()

    def _following(self) -> None:
        while not self._over.is_set():
            self._wanted.wait()
            began = time.monotonic()
            if began - self._looked > _LOOKS_SECONDS:
                self._wanted.clear()
                continue
            try:
                self.follow()
            except (OSError, ValueError) as error:
                _log.warning("%s cannot be read now (%s); the pages show what was there before", self.where, error)
            took = time.monotonic() - began
            self._over.wait(max(_EVERY_SECONDS, took / _SHARE))


def _follow(store: Store, local: Folder, *, anew: bool = False) -> bool:
    """Copy what is new, or everything `anew`, and only then remove what is gone; whether anything was new."""
    there, here = store.names(), set(local.names())
    wanted = [name for name in there if anew or name not in here]
    for name, content in store.fetch(wanted):
        if isinstance(content, bytes):  # else it was removed meanwhile, or comes with the next look
            local.put(name, content, safe=False)
    local.remove(here.difference(there))
    return bool(wanted)
