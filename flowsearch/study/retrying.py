"""Failed trials that are to be run again: which, and whether from their checkpoint or from the start."""

from collections.abc import Sequence

from flowsearch.results import schema
from flowsearch.study import ledger as events
from flowsearch.study.ledger import Ledger
from flowsearch.study.outcome import OUT_OF_MEMORY
from flowsearch.study.progress import TROUBLE, Progress, TrialState

_HEALTHY = (OUT_OF_MEMORY, "lost its ")
"""How the reasons begin after which a trial's checkpoint is as good as any: nothing was wrong with the trial itself."""


def chosen(progress: Progress, ids: Sequence[str], reason: str | None) -> list[TrialState]:
    """The failed and diverged trials, only those named by `ids`, only those whose reason contains `reason`.

    Raises ValueError where there is nothing to retry, or an id is not that of a failed trial.
    """
    by_number = progress.trials
    named = []
    for one in ids:
        trial = by_number.get(int(one)) if one.isdigit() else None
        if trial is None:
            last = f"{max(by_number):04d}" if by_number else "none yet"
            raise ValueError(f"there is no trial {one} in {progress.study.name} (the last is {last})")
        if trial.status not in TROUBLE:
            raise ValueError(f"trial {trial.id} is {trial.status}; only failed and diverged trials are run again")
        named.append(trial)
    candidates = named or sorted(progress.trouble, key=lambda trial: trial.number)
    if not candidates:
        raise ValueError(f"no trial of {progress.study.name} has failed; there is nothing to retry")
    found = [one for one in candidates if reason is None or reason.lower() in (one.reason or "").lower()]
    if not found:
        reasons = "; ".join(sorted({one.reason or "" for one in candidates}))
        raise ValueError(f"no failed trial has {reason!r} in its reason; the reasons are: {reasons}")
    return found


def note(ledger: Ledger, trials: Sequence[TrialState]) -> None:
    """Write into the ledger that the trials are to be run again; a resume does it."""
    for trial in trials:
        healthy = trial.status == schema.FAILED and (trial.reason or "").startswith(_HEALTHY)
        ledger.add(events.RETRIED, trial.id, anew=not healthy, reason=trial.reason)
