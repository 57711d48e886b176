"""How studies stand, read from what they left: quickly for many (`listed`), wholly for one (`opened`)."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from flowsearch.results import schema
from flowsearch.results.lock import is_locked
from flowsearch.storage import inside, is_uri, store_at
from flowsearch.study import ledger as events
from flowsearch.study.lease import is_held
from flowsearch.study.ledger import Ledger, event_of
from flowsearch.study.place import Place
from flowsearch.study.priors import PREFIX, PriorState
from flowsearch.study.progress import Progress, TrialState, replay


@dataclass(frozen=True)
class Listed:
    """A study in a line."""

    name: str
    place: Place
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


def listed(root: Path | str) -> list[Listed]:
    """The studies in the results' folder, by name. Raises ValueError where there is no such folder."""
    if not is_uri(root) and not Path(root).is_dir():
        raise ValueError(f"there is no folder {root}; name the one that holds the studies' results")
    places = [Place(inside(root, name)) for name in store_at(root).names()]
    return [_line(place) for place in places if place.exists]


def opened(where: Path | str) -> tuple[Progress, Ledger]:
    """The study at a path or URI and its ledger, also while it runs. Raises ValueError where there is none."""
    place = Place(where)
    study = place.study()
    ledger = Ledger(place.store.at(schema.LEDGER))
    progress = replay(study, ledger)
    if is_running(place):
        _alive(progress, ledger, place)
    return progress, ledger


def is_running(place: Place) -> bool:
    """Whether a process runs the study: of this machine, of one that shares its locks, or the holder of its lease."""
    return is_held(place.store) if place.remote else bool(is_locked(place.local))


def trace(ledger: Ledger, trial_id: str) -> str:
    """The last traceback noted of a trial; empty where there is none."""
    found = [event.content["traceback"] for event in ledger.events if event.subject == trial_id and _traced(event)]
    return str(found[-1]) if found else ""


def _traced(event: events.Event) -> bool:
    return event.event == events.ENDED and bool(event.content.get("traceback"))


def _alive(progress: Progress, ledger: Ledger, place: Place) -> None:
    """What started and has not ended is running, since its driver is; its epochs lie beside its checkpoints."""
    last = {event.subject: event for event in ledger.events}
    for trial in progress.trials.values():
        event = last.get(trial.id)
        if event is not None and event.event == events.STARTED:
            trial.status, trial.reason = schema.RUNNING, None
            for record in place.records(f"{schema.CHECKPOINTS}/{trial.id}")[-1:]:
                trial.phase, trial.epoch, trial.current = record["phase"], record["epoch"], record
    for subject, event in last.items():
        if subject.startswith(PREFIX) and event.event == events.STARTED and "config" in event.content:
            state = PriorState(subject.removeprefix(PREFIX), event.content["config"], status=schema.RUNNING)
            for record in place.priors.records(state.key)[-1:]:
                state.epoch, state.current = record["epoch"], record
            progress.priors[state.key] = state


def _line(place: Place) -> Listed:
    """A study's line from its file and its ledger, of which only each trial's last event is opened, if it is an end."""
    try:
        study = place.study()
    except (OSError, ValueError):
        return Listed(place.name, place, problem=f"{schema.STUDY_FILE} cannot be read")
    ledger = place.store.at(schema.LEDGER)
    names = [name for name in ledger.names() if name[:1].isdigit() and name.endswith(".json")]
    last: dict[str, tuple[str, str]] = {}
    for name in names:  # in the order of their numbers
        _, event, subject = name.removesuffix(".json").split("-", 2)
        if subject.isdigit():
            last[subject] = (event, name)
    ends = [name for event, name in last.values() if event == events.ENDED]
    found = {name: event_of(name, content) for name, content in ledger.fetch({*ends, *names[-1:]})}
    changed = found.get(names[-1]) if names else None
    progress = Progress(study=study)
    unfinished = schema.RUNNING if is_running(place) else schema.INTERRUPTED
    for subject, (event, name) in last.items():
        ended = found.get(name)
        content = {} if ended is None else ended.content
        try:
            position = progress.layout.position(int(subject))
        except ValueError:
            return Listed(place.name, place, problem=f"{schema.STUDY_FILE} has fewer trials than are planned")
        trial = TrialState(int(subject), {}, {}, position.configuration, position.repeat)
        trial.status = content.get("status") or (unfinished if event == events.STARTED else schema.PLANNED)
        trial.metrics = content.get("metrics", {})
        progress.trials[trial.number] = trial
    best = progress.best_configuration
    return Listed(
        place.name,
        place,
        study.mode,
        progress.total,
        progress.done,
        progress.counts,
        study.metric,
        None if best is None else best.mean(study.metric),
        None if best is None else best.completed[0].id,
        None if changed is None else changed.at.time,
    )
