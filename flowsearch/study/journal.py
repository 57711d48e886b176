"""Optuna's journal of a study in an object store: a file here, put there now and then."""

import time

from flowsearch.results import schema
from flowsearch.study.place import Place

_EVERY_SECONDS = 60.0


class Journal:
    """The journal's file at `path`. Optuna appends to it, which an object store cannot.

    It is a record and not the truth: a driver writes it anew from the ledger. So one that an earlier driver left on
    this machine, of which the ledger may know nothing, is removed where the study is kept elsewhere.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._shared_at = time.monotonic()
        self._size = 0
        self.path = place.local / schema.JOURNAL
        if place.remote:
            place.local.mkdir(parents=True, exist_ok=True)
            self.path.unlink(missing_ok=True)

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
