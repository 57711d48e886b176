"""A study's tables kept in memory and read again when the folder has changed, so that a poll costs a few `stat` calls.

A part file is never changed in place: whatever happens to a table changes the time of its folder.
"""

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from flowsearch.results import Results, schema
from flowsearch.results.lock import is_locked
from flowsearch.results.stored import Stored
from flowsearch.results.tables import read_tables

_LOCK_SECONDS = 5.0
_LATELY_SECONDS = 60.0
_SETTLED_NS = 2_000_000_000
"""A folder's time is trusted once it is this old: on a coarse clock two changes may have the same one."""
_LARGE = (schema.IMAGES, schema.PANELS)
_FEW = 16
"""Trials whose rows of the large tables are looked up, rather than taken from all of them."""
_KEPT = 32
"""Answers about a few trials' rows that are kept."""
_SHARE = 0.1
"""At most this share of the time goes into reading a table that keeps changing."""
_FILES = (schema.STUDY_FILE, schema.PROVENANCE_FILE)
_FOLDERS = (*schema.TABLES, schema.LEDGER, schema.ERRORS)

Stamp = tuple[int, ...]


class View(Results):
    """The study as it was at one moment, or some of its trials; tables are read when they are asked for."""

    def __init__(self, watched: "Watched", ids: Sequence[str] | None = None) -> None:
        super().__init__([Stored(watched.path)])
        self._watched, self._ids = watched, ids

    @property
    def said(self) -> list[str]:
        """What could not be read, in the tables that were read by now."""
        return list(dict.fromkeys([*self.notes, *self._watched.notes]))

    def _table(self, name: str) -> pd.DataFrame:
        if self._ids is None:
            return self._watched.table(name)
        if name in _LARGE and len(self._ids) <= _FEW:
            return self._watched.rows_of(name, self._ids)
        frame = self._watched.table(name)
        # A pre-training that trials share is none of theirs alone.
        own = frame["trial_id"].isin(self._ids) | frame["trial_id"].str.startswith(schema.PRIOR_PREFIX)
        return frame[own].reset_index(drop=True)

    def pictures(self, trials: Collection[str]) -> pd.DataFrame:
        """See `Results.pictures`; kept for whoever looks at the same trials."""
        return self._watched.rows_of(schema.PANELS, sorted(trials))

    def _note(self, note: str) -> None:
        if note:
            self.notes.append(note)


class Watched:
    """One study's folder. Safe to use from several threads. `where` is what it is called in commands.

    Raises `ValueError` where `path` is no study's folder.
    """

    def __init__(self, path: Path, where: str | None = None) -> None:
        self.stored = Stored(path)
        self.path, self.where = path, where or str(path)
        self.turn = threading.RLock()
        """Held where pages and figures are computed from the tables, which all threads share: pandas' own notes of
        which frames share a column are not safe with several threads, and a figure would fail now and then."""
        self._locks = {name: threading.RLock() for name in (*schema.TABLES, "view", "rows")}
        self._tables: dict[str, tuple[Stamp, pd.DataFrame, list[str]]] = {}
        self._rows: dict[tuple[str, tuple[str, ...]], tuple[Stamp, pd.DataFrame]] = {}
        self._paid: dict[str, tuple[float, float]] = {}
        """When a table was read last, and how long that took."""
        self._view: tuple[str, View] | None = None
        self._running: tuple[float, bool] = (float("-inf"), False)

    @property
    def version(self) -> str:
        """Changes when the study's folder has; costs a few `stat` calls."""
        stamps = {name: _stamp(self.path / name) for name in (*_FILES, *_FOLDERS)}
        behind = any(kept[0] != stamps[name] for name, kept in list(self._tables.items()))
        text = repr((stamps, self.is_running, int(time.monotonic()) if behind else 0))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def view(self, ids: Iterable[str] | None = None) -> View:
        """The study now; with `ids` as if it had only these trials."""
        if ids is not None:
            return View(self, list(ids))
        version = self.version
        with self._locks["view"]:
            if self._view is None or self._view[0] != version:
                self._view = version, View(self)
            return self._view[1]

    def table(self, name: str) -> pd.DataFrame:
        """A table, read again if its folder has changed and the last reading is paid for."""
        with self._locks[name]:
            stamp, kept = _stamp(self.path / name), self._tables.get(name)
            if kept is not None and (kept[0] == stamp or not self._may_read(name)):
                return kept[1]
            began = time.monotonic()
            reader = Results([self.stored])
            frame: pd.DataFrame = getattr(reader, name)
            if name == schema.TRIALS:
                frame = self._orphans_interrupted(frame)
            self._paid[name] = time.monotonic(), time.monotonic() - began
            self._tables[name] = stamp, frame, reader.notes
            return frame

    @property
    def notes(self) -> list[str]:
        """What could not be read in the tables that were read by now, a sentence each."""
        return [note for _, _, notes in list(self._tables.values()) for note in notes]

    @property
    def is_running(self) -> bool:
        """Whether a process holds the study's lock; where there is none, whether the tables grew in the last minute."""
        now = time.monotonic()
        if now - self._running[0] > _LOCK_SECONDS:
            held = is_locked(self.path)
            self._running = now, self._grew_lately() if held is None else held
        return self._running[1]

    def rows_of(self, name: str, ids: Sequence[str]) -> pd.DataFrame:
        """The rows of a large table that belong to a few trials, in their last attempt, without reading the rest."""
        kept = self._tables.get(name)
        if kept is not None and kept[0] == _stamp(self.path / name):
            return kept[1][kept[1]["trial_id"].isin(ids)]
        key, stamp = (name, tuple(ids)), _stamp(self.path / name)
        with self._locks["rows"]:
            if key in self._rows and self._rows[key][0] == stamp:
                return self._rows[key][1]
            frame, _ = read_tables({"": self.stored.store}, name, ids)  # the whole table's reader says what is broken
            self._rows[key] = stamp, frame
            while len(self._rows) > _KEPT:
                del self._rows[next(iter(self._rows))]
            return frame

    def _may_read(self, name: str) -> bool:
        at, cost = self._paid.get(name, (float("-inf"), 0.0))
        return time.monotonic() - at >= cost / _SHARE

    def _orphans_interrupted(self, trials: pd.DataFrame) -> pd.DataFrame:
        """A driver that was killed could not write that its trials no longer run."""
        orphans = trials["status"].eq(schema.RUNNING)
        if not orphans.any() or self.is_running:
            return trials
        trials = trials.copy()
        trials.loc[orphans, "status"] = schema.INTERRUPTED
        trials.loc[orphans, "reason"] = "its driver is gone; resume the study"
        return trials

    def _grew_lately(self) -> bool:
        times = [stamp[0] for name in schema.TABLES if (stamp := _stamp(self.path / name))]
        return bool(times) and time.time_ns() - max(times) < _LATELY_SECONDS * 1e9


def once(function: Callable[[], Any]) -> None:
    """Run `function` in the background, whatever becomes of it."""

    def run() -> None:
        with contextlib.suppress(Exception):
            function()

    threading.Thread(target=run, daemon=True).start()


def _stamp(path: Path) -> Stamp:
    """The time of the last change, and how many seconds ago while that is too short to be trusted."""
    try:
        changed = path.stat().st_mtime_ns
    except OSError:
        return ()
    age = time.time_ns() - changed
    return (changed, age // 500_000_000) if 0 <= age < _SETTLED_NS else (changed,)
