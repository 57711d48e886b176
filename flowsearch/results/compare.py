"""The best configuration of each kind held against the others', image by image: `Results.compare`."""

import warnings
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from flowsearch.checks import check_choice, nearest
from flowsearch.results.configurations import best_first, refuse_mixed
from flowsearch.results.scores import METRICS, SPLITS, Scores
from flowsearch.statistics import holm

if TYPE_CHECKING:
    from flowsearch.results.reader import Results

BEST: Final = "best"
"""`versus` the best by the objective."""

_COLUMNS = [
    *("metric", "split", "first", "second", "first_trial", "second_trial", "first_mean", "second_mean"),
    *("difference", "low", "high", "images", "seeds", "over", "p", "p_holm"),
]


def compare(
    results: "Results",
    column: str,
    by: str | Sequence[str] = "task",
    *,
    metric: str = "psnr",
    split: str = "test",
    versus: Any = None,
) -> pd.DataFrame:
    """Differences between the best configurations of the values of `column`, within each value of `by`.

    Of each value the configuration is taken that is best by the study's objective, by the mean over its repeats, so
    that the test images choose nothing. A row per pair, the better by the objective first: `first`, `second`, one trial
    of each, their means, `difference` = first - second with its 95% interval `low` to `high`, paired by image where
    both have images; `images` and `seeds`, how many the difference is over, and `over`, what the interval is over. `p`
    is two-sided, `p_holm` is corrected for all rows of the table together; the intervals are not.

    `versus` keeps the pairs with one value only, which is then the `second` of each: `versus="resnet"`, or
    `versus="best"` for the best by the objective.

    Where there is nothing to compare, the table is empty and a warning says why. Raises `ValueError` for what is no
    column, metric, split or value, and where trials of several tasks or kinds of images would be compared.
    """
    _check(results, column, by, metric, split)
    groups = [name for name in ([by] if isinstance(by, str) else by) if name != column]
    refuse_mixed(results.completed, [column, *groups], results.name)
    best = _best_of(results, column, groups)
    if versus is not None and versus != BEST and versus not in best[column].tolist():
        raise ValueError(f"versus is {BEST} or a value of {column} with completed trials, not {versus!r}")
    table = differences(results, column, groups, metric=metric, split=split, versus=versus)
    if table.empty:
        warnings.warn(f"{results.name}: nothing to compare: {_why_empty(best, column, groups)}", stacklevel=2)
    return table


def differences(
    results: "Results",
    column: str,
    groups: list[str],
    *,
    metric: str = "psnr",
    split: str = "test",
    versus: Any = None,
) -> pd.DataFrame:
    """The table of `compare`, which may be empty."""
    best = _best_of(results, column, groups)
    scores = Scores(results, best, f"{split}_{metric}")
    rows = []
    for values, kinds in best.groupby(groups, sort=True) if groups else [((), best)]:
        for one, two in _pairs(kinds, column, versus):
            score = scores.difference(one, two)
            if score is not None:
                row = dict(zip(groups, values, strict=True)) | {"first": one[column], "second": two[column]}
                row |= {"first_trial": one["trial_id"], "second_trial": two["trial_id"]}
                row |= {f"{side}_mean": scores.value(each) for side, each in (("first", one), ("second", two))}
                rows.append(row | score.row("difference") | {"p": score.interval.p})
    table = pd.DataFrame(rows, columns=[*groups, *(name for name in _COLUMNS if name != "p_holm")])
    table["metric"], table["split"] = metric, split
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))


def _best_of(results: "Results", column: str, groups: list[str]) -> pd.DataFrame:
    """The best configuration of each value of `column` within each group. A single fold shares its weights with
    nobody, and stands for neither tied nor untied ones."""
    found = best_first(results, results.configurations, *results.objective).dropna(subset=[column, *groups])
    if "weights" in (column, *groups):
        found = found[found["folds"] > 1]
    return found.drop_duplicates([*groups, column], keep="first")


def _why_empty(best: pd.DataFrame, column: str, groups: list[str]) -> str:
    """Why there is no pair among the `best` of each value."""
    if best.empty:
        return f"no configuration that has {' and '.join([column, *groups])} was completed and keeps to the constraints"
    values = sorted(map(str, best[column].unique()))
    if len(values) == 1:
        return f"of {column} only {values[0]} was completed and keeps to the constraints"
    if not groups or best.groupby(groups).size().max() > 1:
        return "what they reach is not known of two of them, or over an image that is not finite"
    return f"no two values of {column} ({', '.join(values)}) were completed with the same {' and '.join(groups)}"


def _pairs(kinds: pd.DataFrame, column: str, versus: Any) -> list[tuple[Any, Any]]:
    """The rows to compare, from `kinds` in the objective's order."""
    rows = kinds.to_dict("records")
    if versus is None:
        return list(combinations(rows, 2))
    against = next((row for row in rows if versus in (BEST, row[column])), None)
    return [] if against is None else [(row, against) for row in rows if row is not against]


def _check(results: "Results", column: str, by: str | Sequence[str], metric: str, split: str) -> None:
    known = [str(name) for name in results.labelled.columns]
    for name in (column, *([by] if isinstance(by, str) else by)):
        if name not in known:
            raise ValueError(f"compare takes columns of trials, not {name!r}{nearest(name, known)}")
    check_choice("metric", metric, METRICS)
    check_choice("split", split, SPLITS)
