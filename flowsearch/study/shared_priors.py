"""Pre-trained priors of studies in an object store: each pre-trained once, and fetched by whoever needs it."""

import time
from typing import Any, TextIO

from flowsearch.study.mirror import Mirror
from flowsearch.study.place import Place
from flowsearch.training.prior_store import PICTURES, PRIOR, PriorStore

_LOOK_SECONDS = 1.0
"""How often to look whether a prior has come that another process pre-trains."""


class SharedPriors(PriorStore):
    """The priors at `place`. Its locks hold among the drivers of one machine.

    Drivers on two machines may pre-train the same prior side by side. Equal keys mean equal priors, so the trials are
    none the worse for it.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(place.local)
        self._place = place
        self._looked: dict[str, float] = {}
        self._held: set[str] = set()

    def finished(self, key: str) -> bool:
        """See `PriorStore`."""
        if super().finished(key):
            return True
        now = time.monotonic()
        if key not in self._held and now - self._looked.get(key, -_LOOK_SECONDS) < _LOOK_SECONDS:
            return False
        self._looked[key] = now
        return PRIOR in Mirror(self.folder(key), self._place.store.at(key)).named()

    def hold(self, key: str) -> TextIO | None:
        """See `PriorStore`."""
        found = super().hold(key)
        if found is not None:
            self._held.add(key)
        return found

    def kept(self, key: str) -> tuple[str, str] | None:
        """See `PriorStore`."""
        return self._place.kept(key)

    def pictures(self, key: str) -> list[dict[str, Any]]:
        """See `PriorStore`."""
        Mirror(self.folder(key), self._place.store.at(key)).fetch(PICTURES)
        return super().pictures(key)

    def note_use(self, key: str, study: str, trial: str) -> None:
        """Nothing: there is nothing to append to."""
