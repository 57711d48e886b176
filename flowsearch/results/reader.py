"""Opens what a study left behind: finished, running, interrupted or empty."""

import json
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from flowsearch.checks import nearest
from flowsearch.results import schema
from flowsearch.results.compare import compare
from flowsearch.results.configurations import gathered
from flowsearch.results.labels import labels
from flowsearch.results.objective import Constraint, constraint
from flowsearch.results.tables import read_table

_SCORES = ("val_psnr", "test_psnr", "ood_psnr")
_COSTS = ("parameters", "seconds")
DEFAULT_METRIC = "val_psnr"


def load(path: Path | str) -> "Results":
    """Open the study in the folder `path`; its tables are read when they are asked for.

    Raises `ValueError` where `path` is no study's folder. What cannot be read inside (a torn or foreign file) is named
    in a warning and in `Results.notes`, and everything else is there.
    """
    return Results(Path(path))


class Results:
    """A study's tables as data frames, each read once: `trials`, `epochs`, `folds`, `images`, `panels`.

    Whole numbers and truth values are pandas' nullable types, times are UTC. A row of `trials` is a trial in its last
    attempt; the other tables hold what that attempt wrote, and what it went on from. Load again to see newer rows of a
    running study.
    """

    def __init__(self, path: Path) -> None:
        marks = (*schema.TABLES, schema.LEDGER, schema.STUDY_FILE, schema.PROVENANCE_FILE)
        if not path.is_dir():
            raise ValueError(f"a study is a folder with its tables; there is no folder {path}")
        if not any((path / mark).exists() for mark in marks):
            raise ValueError(
                f"a study's folder holds {schema.STUDY_FILE} and {schema.TRIALS}/; {path} has neither. "
                "Name the study's own folder, such as results/quickstart"
            )
        self.path = path
        self.notes: list[str] = []
        """What could not be read so far, a sentence each."""

    def __repr__(self) -> str:
        counts = ", ".join(f"{number} {status}" for status, number in self.counts.items()) or "no trials yet"
        return f"Results({str(self.path)!r}: {counts})"

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row per trial: its configuration, status, times and results."""
        return self._table(schema.TRIALS)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """A row per epoch of pre-training (phase `prior`) and training (phase `train`)."""
        return self._table(schema.EPOCHS)

    @cached_property
    def folds(self) -> pd.DataFrame:
        """A row per epoch and fold: mu, lambda and the validation PSNR after the fold."""
        return self._table(schema.FOLDS)

    @cached_property
    def images(self) -> pd.DataFrame:
        """A row per test image and trial: PSNR and SSIM, of the measurement too."""
        return self._table(schema.IMAGES)

    @cached_property
    def panels(self) -> pd.DataFrame:
        """A row per picture kept, as PNG bytes: measurement, reconstruction, truth, after a fold, or of a prior."""
        return self._table(schema.PANELS)

    @cached_property
    def study(self) -> dict[str, Any]:
        """The resolved study file; empty where there is none."""
        from ruamel.yaml import YAML, YAMLError

        path = self.path / schema.STUDY_FILE
        try:
            value = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (YAMLError, UnicodeDecodeError):
            self._note(f"{path.name} is not readable YAML; shown without it")
            return {}
        return dict(value) if isinstance(value, Mapping) else {}

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Versions, commit, hosts, data fingerprint, as the study noted them; empty where there is no such file."""
        path = self.path / schema.PROVENANCE_FILE
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            self._note(f"{path.name} is not readable JSON; shown without it")
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self.study.get("name") or self.path.resolve().name)

    @property
    def objective(self) -> tuple[str, bool]:
        """The study's metric, and whether more of it is better."""
        declared = self.study.get("objective")
        if isinstance(declared, Mapping) and declared:
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

    @cached_property
    def labelled(self) -> pd.DataFrame:
        """`trials` with a column more, `label`: the method and its proximal map in a word or two."""
        return self.trials.assign(
            label=pd.Series(labels(self.trials.to_dict("records")), self.trials.index, dtype=object)
        )

    @cached_property
    def completed(self) -> pd.DataFrame:
        """The rows of `labelled` that were completed."""
        return self.labelled[self.labelled["status"] == schema.COMPLETED]

    def ranked(self, metric: str | None = None) -> pd.DataFrame:
        """The completed trials that have `metric` (default: the study's objective), best first.

        Without those that break one of the study's constraints.
        """
        name, more = self.objective
        if metric is not None:
            self._check_metric(metric)
            more = more if metric == name else metric not in schema.MINIMIZED
            name = metric
        if name not in self.trials:
            return self.completed.iloc[:0]
        measured = self.completed.dropna(subset=[name])
        for limit in self.limits:
            values = measured[limit.metric].astype(float)
            measured = measured[values <= limit.bound if limit.at_most else values >= limit.bound]
        return measured.sort_values(name, ascending=not more, kind="stable")

    def best(self, metric: str | None = None) -> pd.Series:
        """The best completed trial by `metric` (default: the study's objective), as a row of `trials`.

        Raises `ValueError` where no trial was completed.
        """
        ranked = self.ranked(metric)
        if ranked.empty:
            counts = ", ".join(f"{number} {status}" for status, number in self.counts.items()) or "no trials"
            raise ValueError(f"the best is one of the completed trials, and {self.name} has none ({counts})")
        return ranked.iloc[0]

    def by(self, *columns: str) -> pd.DataFrame:
        """A row per value of `columns` (default: label): trials, completed ones, best and mean PSNR, cost of the best.

        `best_*`, `parameters` and `seconds` are those of the trial that is best by the objective, so that the test sets
        choose nothing; `mean_*` are over the completed trials.
        """
        chosen = list(columns or ("label",))
        for column in chosen:
            if column not in self.labelled:
                raise ValueError(f"by takes columns of trials, not {column!r}{nearest(column, self._names())}")
        ranked = self.ranked()
        rows = []
        for values, trials in self.labelled.groupby(chosen, sort=True):
            own = ranked[ranked["trial_id"].isin(trials["trial_id"])]
            best = own.iloc[0] if len(own) else None
            row: dict[str, Any] = dict(zip(chosen, values, strict=True))
            row |= {"trials": len(trials), "completed": int((trials["status"] == schema.COMPLETED).sum())}
            row["best_trial"] = None if best is None else best["trial_id"]
            for name in _SCORES:
                row[f"best_{name}"] = float("nan") if best is None else best[name]
                row[f"mean_{name}"] = own[name].mean()
            row |= {name: pd.NA if best is None else best[name] for name in _COSTS}
            rows.append(row)
        return pd.DataFrame(rows).set_index(chosen) if rows else pd.DataFrame()

    @cached_property
    def configurations(self) -> pd.DataFrame:
        """A row per configuration with completed trials, its metrics the means over its `repeats`."""
        return gathered(self.completed)

    def compare(
        self,
        column: str,
        by: str | Sequence[str] = "task",
        *,
        metric: str = "psnr",
        split: str = "test",
        versus: Any = None,
    ) -> pd.DataFrame:
        """The best configurations of the values of `column` against each other, with intervals paired by image.

        See `flowsearch.results.compare.compare`, and docs/statistics.md for what the columns mean.
        """
        return compare(self, column, by, metric=metric, split=split, versus=versus)

    def _names(self) -> list[str]:
        return [str(name) for name in self.labelled.columns]

    def _table(self, name: str) -> pd.DataFrame:
        frame, notes = read_table(self.path, name)
        for note in notes:
            self._note(note)
        return frame

    def _note(self, note: str) -> None:
        self.notes.append(note)
        warnings.warn(f"{self.path}: {note}", stacklevel=3)

    def _check_metric(self, metric: str) -> None:
        known = [one.name for one in schema.METRIC_COLUMNS]
        if metric not in known:
            raise ValueError(f"metric is one of {', '.join(known)}, not {metric!r}{nearest(metric, known)}")
