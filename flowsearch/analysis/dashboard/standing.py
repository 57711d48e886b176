"""How a study stands: what is done, what runs, what is left of time and budget, and what went wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from flowsearch.analysis.findings import asked_for
from flowsearch.results import Results, schema

NEEDS_NOTHING = (schema.COMPLETED, schema.PRUNED, schema.FAILED, schema.DIVERGED)
"""Statuses of trials that a resume leaves alone."""
TROUBLE = (schema.FAILED, schema.DIVERGED, schema.INTERRUPTED)


@dataclass(frozen=True)
class Used:
    """A part of the budget: what was used of what is allowed; `allowed` is None where there is no limit."""

    name: str
    unit: str
    used: float
    allowed: float | None


Spending = Callable[[Path, bool], Sequence[Used]]
"""What the study in a folder has used of its budget, given whether it runs. The ledger knows, and whoever serves the
dashboard reads it."""


@dataclass(frozen=True)
class Standing:
    """A study in numbers."""

    total: int
    """Trials asked for, or those there are where the study file does not say."""
    counts: dict[str, int]
    running: bool
    seconds_left: float | None
    """An estimate; None where nothing runs or nothing is known."""
    spent_seconds: float
    """Time of all trials together."""

    @property
    def done(self) -> int:
        """Trials that need nothing more."""
        return sum(self.counts.get(status, 0) for status in NEEDS_NOTHING)

    @property
    def words(self) -> str:
        """The state in a word: running, finished, not finished, empty."""
        if self.counts and self.done >= self.total:
            return "finished"
        if self.running:
            return "running"
        return "not finished" if self.counts else "empty"


def standing(results: Results, running: bool) -> Standing:
    """How the study stands; `running` says whether a driver is at work."""
    trials = results.trials
    total = max(asked_for(results) or 0, len(trials))
    return Standing(
        total=total,
        counts=results.counts,
        running=running,
        seconds_left=seconds_left(trials, shares(results), total) if running else None,
        spent_seconds=float(trials["seconds"].astype(float).sum()),
    )


def seconds_left(trials: pd.DataFrame, share: pd.Series, total: int, now: datetime | None = None) -> float | None:
    """Estimate of the time left, as many at once as now: the rest of those that run by their own epochs, where they
    have done some (`share`, see `shares`), and the others as long as the mean of those that ended.

    None before a trial has ended, or where none runs.
    """
    ended = trials[trials["status"].isin(NEEDS_NOTHING) & trials["seconds"].notna()]
    under_way = trials[trials["status"] == schema.RUNNING]
    if ended.empty or under_way.empty:
        return None
    mean = float(ended["seconds"].astype(float).mean())
    age = (pd.Timestamp(now or datetime.now(UTC)) - under_way["started"]).dt.total_seconds().fillna(0.0)
    done = under_way["trial_id"].map(share)
    left = (age / done - age).fillna(mean - age).clip(lower=0.0)
    waiting = max(0, total - int(trials["status"].isin(NEEDS_NOTHING).sum()) - len(under_way))
    return max((float(left.sum()) + waiting * mean) / len(under_way), float(left.max()))


def shares(results: Results) -> pd.Series:
    """By trial that runs, the share of its epochs of training that is done; nothing of one that has done none."""
    going = so_far(results).set_index("trial_id")
    going = going[going["phase"] == schema.TRAIN_PHASE]
    done = going["epoch"].astype(float) / going["of"].astype(float)
    return done[done > 0]


def reasons(trials: pd.DataFrame) -> pd.DataFrame:
    """Why trials failed, diverged or were interrupted: `status`, `reason`, `count` and `trials`, most often first."""
    bad = trials[trials["status"].isin(TROUBLE)]
    if bad.empty:
        return pd.DataFrame(columns=["status", "reason", "count", "trials"])
    bad = bad.assign(reason=bad["reason"].fillna("no reason recorded"))
    grouped = bad.groupby(["status", "reason"], sort=False)["trial_id"].agg(["count", list])
    found = grouped.rename(columns={"list": "trials"}).reset_index()
    return found.sort_values("count", ascending=False, kind="stable", ignore_index=True)


def so_far(results: Results) -> pd.DataFrame:
    """What the running trials have reached: `trial_id`, `phase`, `epoch`, `of` (epochs allowed), `val_psnr` (the last
    epoch's), in the order of their ids. The table of trials does not know it before they end."""
    trials = results.trials[results.trials["status"] == schema.RUNNING]
    columns = ["trial_id", "started", "phase", "epoch", "of", "val_psnr"]
    if trials.empty:
        return pd.DataFrame(columns=columns)
    epochs = results.epochs
    epochs = epochs[epochs["trial_id"].isin(trials["trial_id"])]
    # Training comes after pre-training, whatever the names' order.
    order = epochs["phase"].eq(schema.TRAIN_PHASE)
    last = epochs.assign(order=order).sort_values(["order", "epoch"], kind="stable")
    last = last.drop_duplicates("trial_id", keep="last")
    frame = trials[["trial_id", "started", "epochs"]].rename(columns={"epochs": "of"})
    frame = frame.merge(last[["trial_id", "phase", "epoch", "val_psnr"]], on="trial_id", how="left")
    return frame[columns].sort_values("trial_id", ignore_index=True)
