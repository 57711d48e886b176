"""A study by configuration: means over repeats, limits kept, the best of each kind, and the Pareto front.

What is ranked and compared is a configuration, by the mean over its completed repeats: never the luckiest of its seeds.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from flowsearch.results import schema
from flowsearch.results.objective import over_images

if TYPE_CHECKING:
    from flowsearch.results.reader import Results

_METRICS = [one.name for one in schema.METRIC_COLUMNS]
_TUNED = [name for name in _METRICS if name.startswith("used_")]
LOST: Final = (schema.PRUNED, schema.FAILED, schema.DIVERGED)
"""How trials end that have no result. What is said of the others is said of those that got through."""
ONE_ALONE: Final = dict.fromkeys(("source", "size"), "load the studies of one alone")
"""What to do, by column, where images of several kinds would be in one figure or ranking."""


def objectives(results: "Results") -> dict[str, bool]:
    """The study's metrics, the first one first, and whether more of each is better."""
    declared = results.study.get("objective")
    if isinstance(declared, Mapping) and declared:
        return {str(metric): direction != "minimize" for metric, direction in declared.items()}
    metric, more = results.objective
    return {metric: more}


def configurations(results: "Results", task: str | None = None) -> pd.DataFrame:
    """The rows of `Results.configurations`: those of `task`, or all. Raises `ValueError` where those of a task are of
    several data sets or image sizes."""
    found = results.configurations
    found = found if task is None else found[found["task"] == task].reset_index(drop=True)
    refuse_mixed_images(found, results.name)
    return found


def gathered(trials: pd.DataFrame) -> pd.DataFrame:
    """A row per configuration of completed `trials`.

    Each metric is the mean over its trials (one over test images is missing where a trial's is, and what was tuned
    where they tuned it to different values), `repeats` says how many these are and `trials` lists their ids. The other
    columns are those of the first of them, `ended` is that of the last. Trials without a configuration's number (of
    before there were repeats) are a configuration each. A metric that is not finite is missing.
    """
    trials = trials.sort_values(["study", "configuration", "repeat"], kind="stable", na_position="last")
    number = _numbers(trials).to_numpy()
    grouped = trials.groupby(number, sort=False)
    found = trials.drop(columns=_METRICS)[~pd.Series(number, trials.index).duplicated()].reset_index(drop=True)
    values = trials[_METRICS].astype(float).replace([np.inf, -np.inf], np.nan).groupby(number, sort=False)
    known = values.count().eq(values.size(), axis="index") | ~np.array([over_images(name) for name in _METRICS])
    known.loc[:, _TUNED] = values[_TUNED].max() == values[_TUNED].min()  # a mean of two is one that no trial had
    means = values.mean().where(known).reset_index(drop=True)
    found = found.assign(ended=grouped["ended"].max().to_numpy(), repeats=grouped.size().to_numpy(dtype=int))
    ids = pd.Series(grouped["trial_id"].agg(tuple).tolist(), found.index, dtype=object)
    return pd.concat([found, means], axis=1).assign(trials=ids)


def lost_repeats(results: "Results", found: pd.DataFrame) -> pd.Series:
    """How many repeats of each configuration of `found` were pruned, failed or diverged."""
    trials = results.trials
    number = _numbers(trials)
    counts = trials["status"].isin(LOST).groupby(number).sum()
    return found["trial_id"].map(number.set_axis(trials["trial_id"])).map(counts).astype(int)


def without_result(results: "Results", task: str | None = None) -> pd.DataFrame:
    """The first trial of each configuration (of `task`, or of all) that ended without any result: all of its trials
    were pruned, failed or diverged."""
    trials = results.labelled
    ended = trials["status"].isin(LOST).groupby(_numbers(trials)).transform("all")
    found = trials[ended & ~_numbers(trials).duplicated()]
    return found if task is None else found[found["task"] == task]


def _numbers(trials: pd.DataFrame) -> pd.Series:
    """A number for each trial, the same for the repeats of a configuration, in the order of the rows."""
    own = trials["trial_id"].where(trials["configuration"].isna(), "")
    return trials.groupby([trials["study"], trials["configuration"], own], sort=False, dropna=False).ngroup()


def varies(values: pd.Series) -> bool:
    """Whether those that have a value differ in it."""
    return len(values.dropna().unique()) > 1


def refuse_mixed(
    trials: pd.DataFrame, apart: Collection[str], name: str, mend: Mapping[str, str] | None = None
) -> None:
    """Raises `ValueError` where `trials` have several tasks, data sets or sizes that the columns `apart` do not keep
    apart: one is easier than another, so that a difference of their numbers would be theirs. `mend` says by column
    what to do, `{first!r}` being one of the values; by default to group by it."""
    for column, what in (("task", "tasks"), ("source", "data sets"), ("size", "image sizes")):
        values = sorted(trials[column].dropna().unique())
        if len(values) > 1 and column not in apart:
            do = "group by {column} too" if mend is None else mend[column]
            raise ValueError(
                f"numbers of different {what} are not compared, and {name} has {', '.join(map(str, values))}; "
                f"{do.format(column=column, first=values[0])}"
            )


def refuse_mixed_images(trials: pd.DataFrame, name: str) -> None:
    """Raises `ValueError` where `trials` of one task are of several data sets or sizes."""
    for _, own in trials.groupby("task", dropna=False):
        refuse_mixed(own, (), name, ONE_ALONE)


def within_limits(results: "Results", trials: pd.DataFrame) -> pd.Series:
    """Whether each row of `trials` is known to keep to all limits of the study."""
    kept = pd.Series(True, trials.index)
    for limit in results.limits:
        values = trials[limit.metric].astype(float)
        kept &= values <= limit.bound if limit.at_most else values >= limit.bound
    return kept


def ranked(results: "Results", task: str | None = None) -> pd.DataFrame:
    """The configurations that keep to the limits, the best by the study's (first) objective first."""
    return best_first(results, configurations(results, task), *results.objective)


def best_first(results: "Results", found: pd.DataFrame, metric: str, more: bool) -> pd.DataFrame:
    """Those configurations of `found` that have `metric` and keep to the limits, best first; with `more` the highest
    is best."""
    if metric not in found:
        return found.iloc[:0]
    found = found[within_limits(results, found)].dropna(subset=[metric])
    return found.sort_values(metric, ascending=not more, kind="stable", ignore_index=True)


def best_of_each(results: "Results", column: str = "label", task: str | None = None) -> pd.DataFrame:
    """The best configuration of each value of `column`, best first."""
    return ranked(results, task).dropna(subset=[column]).drop_duplicates(column, keep="first", ignore_index=True)


def front(values: pd.DataFrame, more: Mapping[str, bool]) -> pd.Series:
    """Which rows are on the Pareto front: no other equals or beats them in every column that `more` names.

    `more` says of each column whether more is better. Of equal rows the first is on the front; a row with a missing
    value never is.
    """
    on = pd.Series(False, values.index)
    known = values[list(more)].astype(float).dropna()
    losses: npt.NDArray[np.float64] = known.to_numpy() * [-1.0 if up else 1.0 for up in more.values()]
    kept = np.empty((0, len(more)))
    for place in np.lexsort(losses.T[::-1]):  # what beats a row comes before it
        if not (kept <= losses[place]).all(axis=1).any():
            kept = np.vstack([kept, losses[place]])
            on.loc[known.index[place]] = True
    return on
