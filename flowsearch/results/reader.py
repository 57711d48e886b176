"""Opens what a study left behind: finished, running, interrupted or empty; or several studies at once."""

import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from flowsearch.checks import check_choice, nearest
from flowsearch.lazy import lazy
from flowsearch.results import schema
from flowsearch.results.compare import compare as compare_best
from flowsearch.results.configurations import (
    ONE_ALONE,
    best_first,
    configurations,
    gathered,
    lost_repeats,
    refuse_mixed,
)
from flowsearch.results.labels import labels
from flowsearch.results.objective import Constraint, constraint
from flowsearch.results.stored import Stored, told_apart
from flowsearch.results.tables import read_tables
from flowsearch.storage import is_uri

_SCORES = ("val_psnr", "test_psnr", "ood_psnr")
_COSTS = ("parameters", "seconds")
DEFAULT_METRIC = "val_psnr"
_UNLESS = {"objective": f"the best is by {DEFAULT_METRIC}", "constraints": "the best need not keep to them"}
"""What holds where several studies differ."""
_MEND = {"task": "ask for the best of one: task={first!r}", **ONE_ALONE}
"""What to do where numbers that are not compared would be."""


def load(*where: Path | str | Sequence[Path | str]) -> "Results":
    """Open the study at a path or URI, such as `results/quickstart` or `s3://bucket/results/quickstart`.

    Its tables are read when they are asked for. Several studies, `load("results/a", "results/b")` or a list of them,
    are opened as one (see `Results`). Raises `ValueError` where something is no study. What cannot be read inside (a
    torn or foreign file) is named in a warning and in `Results.notes`, and everything else is there.
    """
    places = [one for each in where for one in ([each] if isinstance(each, Path | str) else each)]
    if not places:
        raise ValueError("load takes the path or URI of a study, or of several; there was none")
    return Results([Stored(one) for one in places])


class Results:
    """A study's tables as data frames, each read once: `trials`, `epochs`, `folds`, `images`, `panels`.

    Whole numbers and truth values are pandas' nullable types, times are UTC. A row of `trials` is a trial in its last
    attempt; the other tables hold what that attempt wrote, and what it went on from. Load again to see newer rows of a
    running study.

    Of several studies the tables lie one below the other. `study` says whose a row is: its name, with folders before
    it where two have the same. `trial_id` then begins with that name, as in `quickstart/0003`, so that it names one
    trial whatever the studies; `index` and `configuration` are numbers within a study. `study`, and with it the
    objective and the constraints, is what all the study files agree on.
    """

    def __init__(self, studies: Sequence[Stored]) -> None:
        self.studies = told_apart(studies)
        """Each study, by the name that tells it from the others."""
        self.where = " ".join(one.where for one in studies)
        """The path or URI that was opened."""
        nothing = schema.arrow_schema(schema.PANELS).empty_table().to_pandas()
        self._pictures: tuple[set[str], pd.DataFrame] = set(), nothing
        self.notes: list[str] = []
        """What could not be read so far, a sentence each."""

    def __repr__(self) -> str:
        counts = ", ".join(f"{number} {status}" for status, number in self.counts.items()) or "no trials yet"
        return f"Results({self.where!r}: {counts})"

    @property
    def path(self) -> Path:
        """The study's folder. Raises ValueError where it is not one folder on this machine."""
        if len(self.studies) > 1 or is_uri(self.where):
            raise ValueError(f"this takes one study in a folder on this machine; {self.where} is none")
        return Path(self.where)

    @lazy
    def trials(self) -> pd.DataFrame:
        """A row per trial: its configuration, status, times and results."""
        return self._table(schema.TRIALS)

    @lazy
    def epochs(self) -> pd.DataFrame:
        """A row per epoch of pre-training (phase `prior`) and training (phase `train`)."""
        return self._table(schema.EPOCHS)

    @lazy
    def folds(self) -> pd.DataFrame:
        """A row per epoch and fold: mu, lambda and the validation PSNR after the fold."""
        return self._table(schema.FOLDS)

    @lazy
    def images(self) -> pd.DataFrame:
        """A row per test image and trial: PSNR and SSIM, of the measurement too."""
        return self._table(schema.IMAGES)

    @lazy
    def panels(self) -> pd.DataFrame:
        """A row per picture kept, as PNG bytes: measurement, reconstruction, truth, after a fold, or of a prior."""
        return self._table(schema.PANELS)

    def pictures(self, trials: Collection[str]) -> pd.DataFrame:
        """The rows of `panels` of these trials and priors, without those of all others in memory; each read once."""
        asked, read = self._pictures
        missing = set(trials) - asked
        if missing:
            stores = {of: stored.store for of, stored in self.studies.items()}
            frame, notes = read_tables(stores, schema.PANELS, missing)
            for note in notes:
                self._note(note)
            read = pd.concat([read, frame], ignore_index=True) if len(read) else frame
            self._pictures = asked | missing, read
        return read[read["trial_id"].isin(list(trials))].reset_index(drop=True)

    @lazy
    def study(self) -> dict[str, Any]:
        """The resolved study file; empty where there is none."""
        files = []
        for stored in self.studies.values():
            values, note = stored.study
            files.append(values)
            self._note(note)
        first, *others = files
        for key in ("objective", "constraints"):
            if any(one.get(key) != first.get(key) for one in others):
                self._note(f"the studies differ in their {key}; {_UNLESS[key]}")
        return {key: value for key, value in first.items() if all(one.get(key) == value for one in others)}

    @lazy
    def provenance(self) -> dict[str, Any]:
        """Versions, commit, hosts, data fingerprint, as the study noted them; empty where there is no such file.

        Of several studies, each one's by its name.
        """
        found = {}
        for name, stored in self.studies.items():
            found[name], note = stored.provenance
            self._note(note)
        return found if len(found) > 1 else next(iter(found.values()))

    @property
    def name(self) -> str:
        """The study's name; those of several."""
        return ", ".join(self.studies)

    def text(self, name: str) -> str | None:
        """A text file of the study's folder, such as study.yaml; None where there is none, or of several studies."""
        return self._only.text(name) if self._only is not None else None

    def traceback(self, trial_id: str) -> str:
        """The traceback of a failed trial's last attempt; empty where there is none."""
        stored = self._only
        if stored is None:
            name, _, trial_id = trial_id.rpartition("/")
            stored = self.studies.get(name)
        return (stored.text(f"{schema.ERRORS}/{trial_id}.txt") if stored is not None else None) or ""

    @property
    def objective(self) -> tuple[str, bool]:
        """The study's metric, and whether more of it is better."""
        declared = self.study.get("objective")
        if isinstance(declared, dict) and declared:
            metric, direction = next(iter(declared.items()))
            return str(metric), direction != "minimize"
        return DEFAULT_METRIC, True

    @property
    def limits(self) -> list[Constraint]:
        """The study's constraints, which its best trial keeps to."""
        declared = self.study.get("constraints")
        return [constraint(str(text)) for text in declared] if isinstance(declared, list) else []

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials in each status that occurs, in the order of a trial's life."""
        found = self.trials["status"].value_counts()
        return {status: int(found[status]) for status in schema.STATUSES if status in found}

    @lazy
    def labelled(self) -> pd.DataFrame:
        """`trials` with a column more, `label`: the method and its proximal map in a word or two."""
        return self.trials.assign(
            label=pd.Series(labels(self.trials.to_dict("records")), self.trials.index, dtype=object)
        )

    @lazy
    def completed(self) -> pd.DataFrame:
        """The rows of `labelled` that were completed."""
        return self.labelled[self.labelled["status"] == schema.COMPLETED]

    @property
    def tasks(self) -> list[str]:
        """The tasks of the completed trials, in order."""
        return sorted(self.completed["task"].dropna().unique())

    def ranked(self, metric: str | None = None, task: str | None = None) -> pd.DataFrame:
        """The rows of `configurations` (of `task`, or all) that have `metric` (default: the study's objective), best
        first, by the mean over their repeats.

        Without those that break one of the study's constraints. Raises `ValueError` where several studies of one task
        are of different images.
        """
        name, more = self.objective
        if metric is not None:
            check_choice("metric", metric, [one.name for one in schema.METRIC_COLUMNS])
            more = more if metric == name else metric not in schema.MINIMIZED
            name = metric
        return best_first(self, configurations(self, task), name, more)

    def best(self, metric: str | None = None, task: str | None = None) -> pd.Series:
        """The first completed repeat of the best configuration by `metric` (default: the study's objective), as a row
        of `trials`.

        Raises `ValueError` where no trial was completed and keeps to the constraints, for a task that no trial has,
        where a study of several tasks is not asked for one, and where several studies are of different images.
        """
        known = [str(name) for name in self.trials["task"].dropna().unique()]
        if task is not None and known and task not in known:
            raise ValueError(f"{self.name} has no task {task!r}{nearest(task, known)} (its tasks: {', '.join(known)})")
        there = self.completed if task is None else self.completed[self.completed["task"] == task]
        refuse_mixed(there, (), self.name, _MEND)
        ranked = self.ranked(metric, task)
        if ranked.empty:
            counts = ", ".join(f"{number} {status}" for status, number in self.counts.items()) or "no trials"
            of = "" if task is None else f" of {task}"
            name = metric or self.objective[0]
            that = f" that keep to {' and '.join(limit.text for limit in self.limits)}" if self.limits else ""
            if len(there) and (name not in there or there[name].isna().all()):
                that = f" that have {name}"
            raise ValueError(f"the best is one of the completed trials{of}{that}, and {self.name} has none ({counts})")
        return self.completed[self.completed["trial_id"] == ranked.iloc[0]["trial_id"]].iloc[0]

    def by(self, *columns: str) -> pd.DataFrame:
        """A row per value of `columns` (default: label): trials, completed ones, best and mean PSNR, cost of the best.

        `best_*`, `parameters` and `seconds` are those of the configuration that is best by the objective, means over
        its repeats, so that the test sets choose nothing; `best_trial` is the first of these; `mean_*` are over the
        completed trials of all configurations that keep to the constraints. Raises `ValueError` for what is no column,
        and where completed trials of several tasks or kinds of images would be in one row.
        """
        chosen = list(columns or ("label",))
        for column in chosen:
            if column not in self.labelled:
                raise ValueError(
                    f"by takes columns of trials, not {column!r}{nearest(column, map(str, self.labelled))}"
                )
        for _, own in self.completed.groupby(chosen):
            refuse_mixed(own, chosen, self.name)
        rows = []
        for values, trials in self.labelled.groupby(chosen, sort=True):
            completed = trials[trials["status"] == schema.COMPLETED]
            ranked = best_first(self, gathered(completed), *self.objective)
            best = ranked.iloc[0] if len(ranked) else None
            own = completed[completed["trial_id"].isin({trial for ids in ranked["trials"] for trial in ids})]
            row: dict[str, Any] = dict(zip(chosen, values, strict=True))
            row |= {"trials": len(trials), "completed": len(completed)}
            row["best_trial"] = None if best is None else best["trial_id"]
            for name in _SCORES:
                row[f"best_{name}"] = float("nan") if best is None else best[name]
                row[f"mean_{name}"] = own[name].mean()
            row |= {name: pd.NA if best is None else best[name] for name in _COSTS}
            rows.append(row)
        return pd.DataFrame(rows).set_index(chosen) if rows else pd.DataFrame()

    @lazy
    def configurations(self) -> pd.DataFrame:
        """A row per configuration with completed trials, its metrics the means over its `repeats`; `lost` counts those
        of its repeats that were pruned, failed or diverged."""
        found = gathered(self.completed)
        return found.assign(lost=lost_repeats(self, found))

    compare = compare_best

    @property
    def _only(self) -> Stored | None:
        return next(iter(self.studies.values())) if len(self.studies) == 1 else None

    def _table(self, name: str) -> pd.DataFrame:
        frame, notes = read_tables({of: stored.store for of, stored in self.studies.items()}, name)
        for note in notes:
            self._note(note)
        return frame

    def _note(self, note: str) -> None:
        if note and note not in self.notes:
            self.notes.append(note)
            warnings.warn(f"{self.where}: {note}", stacklevel=4)
