"""The ledger: what was planned, started and ended, an object for each event. It is the truth when a study resumes.

An event is named `<number>-<event>-<subject>.json`; the subject is a trial's id, or `study` for the driver. It is
put whole, under a name of its own, and never changed, so that whatever dies leaves whole events behind. That is all
that is asked of a `Store`.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from flowsearch.storage import Folder, Store
from flowsearch.study.moment import Moment

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

_NEEDED = {
    PLANNED: ("values",),
    STARTED: ("attempt",),
    AGAIN: ("cause",),
    ENDED: ("status",),
    RETRIED: ("anew",),
}
"""What an event of a trial or a prior says at least; without it, it is none."""
_NEEDED_OF_STUDY = {LEARNED: ("tasks",)}

_EASY = frozenset({STARTED, AGAIN})
"""Events that a power failure may take: a resume then finds the trial's checkpoint all the same."""


@dataclass(frozen=True)
class Event:
    """Something that happened to `subject`: a trial's id, or `study`."""

    number: int
    event: str
    subject: str
    at: Moment
    content: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """The events of a study, in order; one process adds to it.

    `damaged` names what holds no whole event (a full disk, a machine that lost power); it is passed over.
    """

    def __init__(self, where: Path | Store) -> None:
        self.store: Store = Folder(where) if isinstance(where, Path) else where
        self.events: list[Event] = []
        self.damaged: list[str] = []
        self._late: dict[str, bytes] = {}
        last = 0
        names = [name for name in self.store.names() if name.endswith(".json") and name.partition("-")[0].isdigit()]
        for name, found in self.store.fetch(names):
            last = max(last, int(name.partition("-")[0]))
            if isinstance(found, OSError) and not isinstance(self.store, Folder):
                raise found  # nothing is known of it yet; on a disk it is as good as damaged
            event = event_of(name, found)
            if event is None:
                self.damaged.append(name)
            else:
                self.events.append(event)
        self._next = last + 1

    def add(self, event: str, subject: str, *, at: Moment | None = None, **content: Any) -> Event:
        """Write an event that happened `at` a time, or now.

        Raises OSError where the store refuses it; nothing is left half-written then.

        What is not about what is to run is then written with the next event.
        """
        entry = Event(self._next, event, subject, at or Moment.now(), content)
        self._next += 1
        self.events.append(entry)
        seen = {"clock": [entry.at.process, entry.at.ticks]} if entry.at.process else {}
        body = {"event": event, "subject": subject, "time": entry.at.time.isoformat(), **seen, **content}
        name, text = f"{entry.number:08d}-{event}-{subject}.json", json.dumps(body, indent=1).encode()
        try:
            for late, its in list(self._late.items()):
                self.store.put(late, its, safe=True)
                del self._late[late]
            self.store.put(name, text, safe=event not in _EASY)
        except OSError:
            if event != PLANNED:
                self._late[name] = text
            raise
        return entry

    @property
    def planned(self) -> set[str]:
        """The ids of all trials that were planned."""
        return {event.subject for event in self.events if event.event == PLANNED}


def event_of(name: str, content: bytes | OSError) -> Event | None:
    """The event of that name; None where it is no whole one, or lacks what all of its kind say."""
    try:
        if isinstance(content, OSError):
            raise content
        body = json.loads(content)
        event, subject = str(body.pop("event")), str(body.pop("subject"))
        process, ticks = body.pop("clock", ("", 0.0))
        at = Moment(datetime.fromisoformat(body.pop("time")), str(process), float(ticks))
        for needed in (_NEEDED_OF_STUDY if subject == STUDY else _NEEDED).get(event, ()):
            body[needed]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return Event(int(name.partition("-")[0]), event, subject, at, body)
