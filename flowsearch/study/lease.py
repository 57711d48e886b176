"""Who runs a study in an object store: an object with a heartbeat, since there are no locks.

    <study>/lease.json      {"holder": ..., "who": "process 4711 on node-1 since ...", "beat": 17}

The holder puts it anew every few seconds, one higher. Another driver waits until the number has stood still for long
enough, takes the lease by putting its own name there, and looks after a moment whether it is still there: of two that
try at once, the later one has it. A holder that does not find its own name has lost the study, and stops without
writing.

What that guarantees: a second driver is refused while the first one's heart beats, whatever their clocks say. What it
does not: a driver that stood still for longer than that (its machine asleep, its network cut) while another took over
may write until its next beat. Even then no event is lost or overwritten: events are objects of their own.
"""

import json
import logging
import os
import platform
import secrets
import threading
import time
from datetime import UTC, datetime
from typing import Any

from flowsearch.storage import Store

LEASE = "lease.json"

_BEAT_SECONDS = 5.0
_PATIENCE_SECONDS = 20.0
"""How long a lease stands still before it counts as left behind."""
_SETTLE_SECONDS = 1.0
_LOOK_SECONDS = 7.0
"""How long to look for a beat where the clocks do not tell."""
_STALE_SECONDS = 120.0
"""Age of a beat, by the clocks of two machines, from which it is not taken for the last of several."""
_APART_SECONDS = 86400.0
"""So far the clocks of two machines may differ; an older beat is that of a driver that is gone."""

_seen: dict[str, tuple[tuple[Any, Any], float]] = {}
"""The last beat of each lease that this process doubted, and since when, by its own clock, it knows it."""

_log = logging.getLogger(__name__)


class Lease:
    """The lease of the study in `store`, for the body of a `with`. ValueError where another process has it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._holder = secrets.token_hex(8)
        self._beat = 0
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beating, daemon=True, name="lease")
        self.lost = False
        """Whether another driver has taken the study over."""

    def __enter__(self) -> "Lease":
        found = read(self._store)
        if found and not _left(found):
            self._wait(found)
        self._put()
        time.sleep(_SETTLE_SECONDS)
        now = read(self._store)
        if now.get("holder") != self._holder:
            raise ValueError(_refusal(self._store, now))
        self._heart.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._heart.join()
        if not self.lost:
            try:
                self._store.remove([LEASE])
            except OSError as error:
                _log.warning("the lease of %s could not be given back (%s)", self._store.where, error)

    def _wait(self, found: dict[str, Any]) -> None:
        """Wait until the lease is given back or has stood still; ValueError where it goes on."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < until:
            time.sleep(min(1.0, _PATIENCE_SECONDS / 4))
            now = read(self._store)
            if not now:
                return
            if _beat_of(now) != _beat_of(found):
                raise ValueError(_refusal(self._store, now))

    def _beating(self) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            try:
                # None there at all: whoever took it over has come to an end and given it back.
                if read(self._store).get("holder") != self._holder:
                    self.lost = True
                    return
                self._put()
            except OSError as error:
                _log.warning("the lease of %s could not be renewed (%s)", self._store.where, error)

    def _put(self) -> None:
        self._beat += 1
        content = {
            "holder": self._holder,
            "who": f"process {os.getpid()} on {platform.node()}",
            "host": platform.node(),
            "process": os.getpid(),
            "beat": self._beat,
            "time": datetime.now(UTC).isoformat(),
        }
        self._store.put(LEASE, json.dumps(content, indent=1).encode())


def read(store: Store) -> dict[str, Any]:
    """What the lease says; nothing where there is none."""
    try:
        found = json.loads(store.get(LEASE))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_held(store: Store) -> bool:
    """Whether somebody runs the study, as far as the lease tells at a glance, or within a beat where clocks differ."""
    found = read(store)
    try:
        age = (datetime.now(UTC) - datetime.fromisoformat(found["time"])).total_seconds()
    except (KeyError, TypeError, ValueError):
        return False
    if abs(age) > _APART_SECONDS or _left(found):
        return False
    return abs(age) < _STALE_SECONDS or _beats(store, found)


def _beats(store: Store, found: dict[str, Any]) -> bool:
    """Whether a lease is renewed, whatever the clocks say: since it was last asked for, or in the next seconds."""
    now, beat = time.monotonic(), _beat_of(found)
    known, since = _seen.setdefault(store.where, (beat, now))
    if known == beat and (left := since + _LOOK_SECONDS - now) > 0:
        time.sleep(left)
        found = read(store)
        beat = _beat_of(found)
    if known == beat or not found:
        return False
    _seen[store.where] = beat, time.monotonic()
    return True


def _beat_of(found: dict[str, Any]) -> tuple[Any, Any]:
    return found.get("holder"), found.get("beat")


def _left(found: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is no more."""
    number = found.get("process")
    if found.get("host") != platform.node() or not isinstance(number, int):
        return False
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _refusal(store: Store, found: dict[str, Any]) -> str:
    return (
        f"another process is running the study in {store.where} ({found.get('who', 'unknown')}); wait for it, or end "
        "it first"
    )
