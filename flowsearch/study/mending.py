"""What a driver that was killed had not written into the tables yet; whoever resumes the study writes it.

The ledger knows how each trial ended, and each trial's folder its epochs. Trials that have not ended need nothing: they
go on, and their workers tell of their earlier epochs again.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from flowsearch.results import schema
from flowsearch.results.tables import read_arrow
from flowsearch.study import ledger as events
from flowsearch.study.ledger import Ledger
from flowsearch.study.moment import Moment
from flowsearch.study.place import Place
from flowsearch.study.progress import FINAL, TROUBLE, TrialState
from flowsearch.study.records import Record


def mend(
    place: Place,
    ledger: Ledger,
    ended: Collection[TrialState],
    *,
    row: Callable[[TrialState], None],
    epoch: Callable[[str, int, Record], None],
    trace: Callable[[TrialState, str], None],
) -> None:
    """Write what is known of the trials that have ended, and of priors, and not among the study's files.

    `row` writes a trial's row, `epoch` an epoch of a trial or prior in an attempt, `trace` a failure's traceback.
    Tracebacks of earlier attempts go: a person had the trial run again.
    """
    trials, _ = read_arrow(place.store, schema.TRIALS)
    rows = set(zip(*(trials.column(name).to_pylist() for name in ("trial_id", "attempt", "status")), strict=True))
    traces = place.store.at(schema.ERRORS).names()
    last = _last_epochs(place)
    attempts: dict[str, int] = {}
    failures: dict[str, str] = {}
    for event in ledger.events:
        if event.event == events.STARTED and event.subject.startswith(schema.PRIOR_PREFIX):
            attempts[event.subject] = event.content["attempt"]
        if event.event == events.ENDED and (event.content.get("traceback") or event.subject in failures):
            failures[event.subject] = event.content.get("traceback") or ""
    wanted = {trial.id for trial in ended if trial.status in TROUBLE and failures.get(trial.id)}

    def complete(of: str, attempt: int, records: list[Record]) -> None:
        if any(record["epoch"] > last.get((of, record["phase"]), 0) for record in records):
            for record in records:
                epoch(of, attempt, record)

    for trial in ended:
        if (trial.id, trial.attempt, trial.status) not in rows:
            row(trial)
        if trial.id in wanted and f"{trial.id}.txt" not in traces:
            trace(trial, failures[trial.id])
        done = trial.metrics.get("epochs_run", 0)
        if not trial.by_epochs or last.get((trial.id, schema.TRAIN_PHASE), 0) < done:
            complete(trial.id, trial.attempt, place.records(f"{schema.CHECKPOINTS}/{trial.id}"))
    for prior, attempt in attempts.items():
        complete(prior, attempt, place.priors.records(prior.removeprefix(schema.PRIOR_PREFIX)))
    past = {f"{one}.txt" for one in failures.keys() - wanted}
    place.store.at(schema.ERRORS).remove(sorted(past.intersection(traces)))


def lost_ends(place: Place, trials: Iterable[TrialState]) -> list[tuple[TrialState, dict[str, Any], Moment]]:
    """Trials of which the ledger knows a start and no end, while the row of that attempt, which is written after it,
    has one: what the event said, and when. The state of their training may be gone, so that they could only begin anew.
    """
    begun = {trial.id: trial for trial in trials if trial.status == schema.INTERRUPTED and trial.ended is None}
    rows = read_arrow(place.store, schema.TRIALS, set(begun))[0].to_pylist() if begun else []
    metrics = [column.name for column in schema.METRIC_COLUMNS if column.name != "seconds"]
    return [
        (
            begun[row["trial_id"]],
            {name: row[name] for name in ("attempt", "status", "reason", "device", "warnings")}
            | {"metrics": {name: row[name] for name in metrics if row[name] is not None}},
            Moment(row["ended"]),
        )
        for row in rows
        if row["status"] in FINAL and row["attempt"] == begun[row["trial_id"]].attempt and row["ended"] is not None
    ]


def _last_epochs(place: Place) -> dict[tuple[str, str], int]:
    """The last epoch in the table, by trial or prior and phase."""
    epochs, _ = read_arrow(place.store, schema.EPOCHS)
    last: Any = epochs.group_by(["trial_id", "phase"]).aggregate([("epoch", "max")])
    pairs = zip(last.column("trial_id").to_pylist(), last.column("phase").to_pylist(), strict=True)
    return dict(zip(pairs, last.column("epoch_max").to_pylist(), strict=True))
