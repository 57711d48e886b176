"""How studies stand, read from what they left: quickly for many (`listed`), wholly for one (`opened`)."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flowsearch.results import schema
from flowsearch.study import ledger as events
from flowsearch.study.file import load
from flowsearch.study.ledger import Ledger
from flowsearch.study.priors import PREFIX, PriorState
from flowsearch.study.progress import Progress, TrialState, replay


@dataclass(frozen=True)
class Listed:
    """A study in a line."""

    name: str
    folder: Path
    mode: str = ""
    trials: int = 0
    done: int = 0
    states: Counter[str] = field(default_factory=Counter)
    metric: str = ""
    best: float | None = None
    best_trial: str | None = None
    changed: datetime | None = None
    """When its ledger last grew."""
    problem: str = ""
    """Why it cannot be read, where it cannot."""


def listed(root: Path) -> list[Listed]:
    """The studies in the results' folder, by name. Raises ValueError where there is no such folder."""
    if not root.is_dir():
        raise ValueError(f"there is no folder {root}; name the one that holds the studies' results")
    return [_line(path.parent) for path in sorted(root.glob(f"*/{schema.STUDY_FILE}"))]


def opened(folder: Path) -> tuple[Progress, Ledger]:
    """The study in `folder` and its ledger, also while it runs. Raises ValueError where there is none."""
    file = folder / schema.STUDY_FILE
    if not file.is_file():
        raise ValueError(
            f"{folder} holds no study (there is no {schema.STUDY_FILE}); name its folder, such as results/quickstart"
        )
    study = load(file)
    ledger = Ledger(folder / schema.LEDGER)
    progress = replay(study, ledger)
    if is_running(folder):
        _alive(progress, ledger, folder)
    return progress, ledger


def is_running(folder: Path) -> bool:
    """Whether a process of this machine, or of one that shares its locks, runs the study."""
    import fcntl

    try:
        with (folder / ".lock").open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def trace(ledger: Ledger, trial_id: str) -> str:
    """The last traceback noted of a trial; empty where there is none."""
    found = [event.content["traceback"] for event in ledger.events if event.subject == trial_id and _traced(event)]
    return str(found[-1]) if found else ""


def _traced(event: events.Event) -> bool:
    return event.event == events.ENDED and bool(event.content.get("traceback"))


def _alive(progress: Progress, ledger: Ledger, folder: Path) -> None:
    """What started and has not ended is running, since its driver is; its epochs lie beside its checkpoints."""
    from flowsearch.study.trainable import read_records

    last = {event.subject: event for event in ledger.events}
    for trial in progress.trials.values():
        event = last.get(trial.id)
        if event is not None and event.event == events.STARTED:
            trial.status, trial.reason = schema.RUNNING, None
            for record in read_records(folder / schema.CHECKPOINTS / trial.id)[-1:]:
                trial.phase, trial.epoch, trial.current = record["phase"], record["epoch"], record
    for subject, event in last.items():
        if subject.startswith(PREFIX) and event.event == events.STARTED and "config" in event.content:
            state = PriorState(subject.removeprefix(PREFIX), event.content["config"], status=schema.RUNNING)
            records = read_records(folder.resolve().parent / "priors" / state.key)
            state.epoch = records[-1]["epoch"] if records else 0
            progress.priors[state.key] = state


def _line(folder: Path) -> Listed:
    """A study's line from its file and its ledger, of which only each trial's last event is opened, if it is an end."""
    try:
        study = load(folder / schema.STUDY_FILE)
    except (OSError, ValueError):
        return Listed(folder.name, folder, problem=f"{schema.STUDY_FILE} cannot be read")
    last: dict[str, tuple[int, str, Path]] = {}
    changed = 0.0
    for path in (folder / schema.LEDGER).glob("[0-9]*.json"):
        number, event, subject = path.stem.split("-", 2)
        changed = max(changed, path.stat().st_mtime)
        if subject.isdigit() and (subject not in last or int(number) > last[subject][0]):
            last[subject] = (int(number), event, path)
    progress = Progress(study=study)
    unfinished = schema.RUNNING if is_running(folder) else schema.INTERRUPTED
    for subject, (_, event, path) in last.items():
        content = _content(path) if event == events.ENDED else {}
        configuration = int(subject) // progress.layout.repeats
        trial = TrialState(int(subject), {}, {}, configuration, int(subject) % progress.layout.repeats)
        trial.status = content.get("status") or (unfinished if event == events.STARTED else schema.PLANNED)
        trial.metrics = content.get("metrics", {})
        progress.trials[trial.number] = trial
    best = progress.best_of(None)
    return Listed(
        folder.name,
        folder,
        study.mode,
        progress.total,
        progress.done,
        progress.counts,
        study.metric,
        None if best is None else best.mean(study.metric),
        None if best is None else best.completed[0].id,
        datetime.fromtimestamp(changed, UTC) if changed else None,
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
