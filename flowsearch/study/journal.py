"""Optuna's journal: one file that holds what Optuna knows of a study.

It is a record and not the truth: what it lacks, or all of it where it cannot be read, a driver writes again from the
ledger.
"""

import json
import logging
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from flowsearch.results import schema
from flowsearch.study.place import Place

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 60.0


class _Backend(JournalFileBackend):
    """Optuna's own, without the lock and the wait for the disk that each line costs otherwise.

    The study's own lock keeps other writers away, and what a power failure takes is written again from the ledger.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append whole lines."""
        with open(self._file_path, "ab") as file:
            file.write(b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs))


def open_journal(path: Path) -> JournalStorage:
    """Optuna's journal at `path`; one that cannot be read is moved aside, and a new one begun."""
    try:
        return _opened(path)
    except Exception as error:  # Optuna trusts each line, and stumbles over a strange one in its own ways
        _log.warning("%s cannot be read (%s); it is moved aside and written again", path, error)
        set_aside(path, "damaged")
        return _opened(path)


def set_aside(path: Path, why: str) -> None:
    """Keep a journal that is to be written anew, under another name."""
    path.replace(path.with_name(f"{path.name}.{why}"))


def _opened(path: Path) -> JournalStorage:
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            last = next(iter(deque(file, maxlen=1)))
        # Optuna takes a last line that it cannot read for one that is still being written.
        if not last.endswith(b"\n"):
            raise ValueError("its last line is torn")
        json.loads(last)
    # A driver that was killed leaves its lock behind; the study's own lock says that there is no other driver.
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    storage = JournalStorage(_Backend(str(path)))
    storage.get_all_studies()
    return storage


class Journal:
    """The journal's file at `path`. Optuna appends to it, which an object store cannot: it is put there now and then,
    and fetched from there.

    One that an earlier driver left on this machine, of which the ledger may know nothing, is removed where the study is
    kept elsewhere.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._shared_at = time.monotonic()
        self._size = 0
        self.path = place.local / schema.JOURNAL
        if place.remote:
            place.local.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)
            with suppress(OSError):  # what it lacks, or all of it, is written again
                self._size = self.path.write_bytes(place.store.get(schema.JOURNAL))

    def tick(self) -> None:
        """Put it into the store if it has grown and was not put there for a while."""
        if self._place.remote and time.monotonic() - self._shared_at >= _EVERY_SECONDS:
            self.share()

    def share(self) -> None:
        """Put it into the store if it has grown. Raises OSError where that fails."""
        self._shared_at = time.monotonic()
        if self._place.remote and self.path.is_file() and (size := self.path.stat().st_size) != self._size:
            self._place.store.put(schema.JOURNAL, self.path.read_bytes())
            self._size = size
