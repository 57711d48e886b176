"""The ledger: what was planned, started and ended, one small file for each event. It is the truth when a study resumes.

A file is named `<number>-<event>-<subject>.json`; the subject is a trial's id, or `study` for the driver itself. Files
are written aside, then renamed, and never written again, so that whatever dies leaves whole events behind.
"""

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PLANNED = "planned"
STARTED = "started"
LOST = "lost"
ENDED = "ended"
STOPPED = "stopped"
LEARNED = "learned"
"""What was taken from earlier studies, before the first trial."""
STUDY = "study"


@dataclass(frozen=True)
class Event:
    """Something that happened to `subject`: a trial's id, or `study`."""

    number: int
    event: str
    subject: str
    time: datetime
    content: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """The events of a study in the folder `root`, in order; one process adds to it.

    `damaged` names the files that hold no whole event (a full disk, a machine that lost power); they are passed over.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[Event] = []
        self.damaged: list[Path] = []
        numbers = [0]
        for path in sorted(root.glob("[0-9]*.json")) if root.is_dir() else []:
            head = path.name.partition("-")[0]
            if head.isdigit():
                numbers.append(int(head))
            event = _read(path)
            if event is None:
                self.damaged.append(path)
            else:
                self.events.append(event)
        self._next = max(numbers) + 1

    def add(self, event: str, subject: str, **content: Any) -> Event:
        """Write an event. Raises OSError where the disk refuses it; nothing is left half-written then."""
        entry = Event(self._next, event, subject, datetime.now(UTC), content)
        self._next += 1
        self.events.append(entry)
        self.root.mkdir(parents=True, exist_ok=True)
        name = f"{entry.number:08d}-{event}-{subject}.json"
        aside = self.root / f".{name}.{os.getpid()}"
        body = {"event": event, "subject": subject, "time": entry.time.isoformat(), **content}
        try:
            with aside.open("w", encoding="utf-8") as file:
                json.dump(body, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self.root / name)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        return entry


def _read(path: Path) -> Event | None:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        number = int(path.name.partition("-")[0])
        event, subject, time = (
            str(body.pop("event")),
            str(body.pop("subject")),
            datetime.fromisoformat(body.pop("time")),
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return Event(number, event, subject, time, body)
