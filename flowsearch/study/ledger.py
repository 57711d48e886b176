"""The ledger: what was planned, started and ended, an object for each event. It is the truth when a study resumes.

An event is named `<number>-<event>-<subject>.json`; the subject is a trial's id, or `study` for the driver. It is
put whole, under a name of its own, and never changed, so that whatever dies leaves whole events behind. That is all
that is asked of a `Store`: nothing is appended, and nothing renamed but by a folder on disk, to put something whole.
"""

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

PLANNED = "planned"
STARTED = "started"
AGAIN = "again"
"""A trial is taken up again by itself: its worker died, its machine went away, memory ran out."""
ENDED = "ended"
RETRIED = "retried"
"""A person asked for a trial that had failed to be run again."""
CHANGED = "changed"
"""A person changed the study file in a way that spoils nothing."""
STOPPED = "stopped"
LEARNED = "learned"
"""What was taken from earlier studies, before the first trial."""
STUDY = "study"

_EASY = frozenset({STARTED, AGAIN})
"""Events that a power failure may take: a resume then finds the trial's checkpoint all the same."""


@dataclass(frozen=True)
class Event:
    """Something that happened to `subject`: a trial's id, or `study`."""

    number: int
    event: str
    subject: str
    time: datetime
    content: dict[str, Any] = field(default_factory=dict)


class Store(Protocol):
    """Where events lie: a folder, or a prefix in an object store."""

    def names(self) -> list[str]:
        """The names of all objects, in order."""
        ...

    def get(self, name: str) -> bytes:
        """The content of an object."""
        ...

    def put(self, name: str, content: bytes, *, safe: bool) -> None:
        """Put a new object, whole or not at all; where it must be `safe`, it outlives a power failure from now on."""
        ...


class Folder:
    """A store on disk: a file is written under a hidden name, then renamed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """See `Store`."""
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(self.root) if not entry.name.startswith("."))

    def get(self, name: str) -> bytes:
        """See `Store`."""
        return (self.root / name).read_bytes()

    def put(self, name: str, content: bytes, *, safe: bool) -> None:
        """See `Store`."""
        self.root.mkdir(parents=True, exist_ok=True)
        aside = self.root / f".{name}.{os.getpid()}"
        try:
            with aside.open("wb") as file:
                file.write(content)
                if safe:
                    file.flush()
                    os.fsync(file.fileno())
            aside.replace(self.root / name)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


class Ledger:
    """The events of a study, in order; one process adds to it.

    `damaged` names what holds no whole event (a full disk, a machine that lost power); it is passed over.
    """

    def __init__(self, where: Path | Store) -> None:
        self.store: Store = Folder(where) if isinstance(where, Path) else where
        self.events: list[Event] = []
        self.damaged: list[str] = []
        last = 0
        for name in self.store.names():
            head = name.partition("-")[0]
            if not name.endswith(".json") or not head.isdigit():
                continue
            last = max(last, int(head))
            event = self._read(name)
            if event is None:
                self.damaged.append(name)
            else:
                self.events.append(event)
        self._next = last + 1

    def add(self, event: str, subject: str, **content: Any) -> Event:
        """Write an event. Raises OSError where the disk refuses it; nothing is left half-written then."""
        entry = Event(self._next, event, subject, datetime.now(UTC), content)
        self._next += 1
        self.events.append(entry)
        body = {"event": event, "subject": subject, "time": entry.time.isoformat(), **content}
        self.store.put(
            f"{entry.number:08d}-{event}-{subject}.json", json.dumps(body, indent=1).encode(), safe=event not in _EASY
        )
        return entry

    @property
    def planned(self) -> set[str]:
        """The ids of all trials that were planned."""
        return {event.subject for event in self.events if event.event == PLANNED}

    def _read(self, name: str) -> Event | None:
        try:
            body = json.loads(self.store.get(name))
            event, subject = str(body.pop("event")), str(body.pop("subject"))
            time = datetime.fromisoformat(body.pop("time"))
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return None
        return Event(int(name.partition("-")[0]), event, subject, time, body)
