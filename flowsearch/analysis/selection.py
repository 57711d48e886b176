"""Which trials are compared: always the best by the study's objective, never by a test set."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from flowsearch.results import Results, schema


def tasks(results: Results) -> list[str]:
    """Tasks that have a completed trial, in order of their names."""
    return sorted(str(task) for task in results.completed["task"].dropna().unique())


def by_task(results: Results) -> Iterator[str | None]:
    """The tasks that figures keep apart, in order of their names; None, which is every trial, where there is one."""
    known = sorted(str(task) for task in results.trials["task"].dropna().unique())
    yield from known if len(known) > 1 else [None]


def of_task(trials: pd.DataFrame, task: str | None) -> pd.DataFrame:
    """The rows of `task`; all of them for None."""
    return trials if task is None else trials[trials["task"] == task]


def best_of_each(results: Results, column: str = "label", task: str | None = None) -> pd.DataFrame:
    """The best completed trial of each value of `column`, best first; of one task, or of all together."""
    return of_task(results.ranked(), task).dropna(subset=[column]).drop_duplicates(column, keep="first")


def best_of_tasks(results: Results) -> set[str]:
    """The best trial of each label on each task."""
    chosen: set[str] = set()
    for task in results.completed["task"].dropna().unique():
        chosen |= set(best_of_each(results, "label", task)["trial_id"])
    return chosen


def objectives(results: Results) -> dict[str, bool]:
    """The study's metrics, the first one first, and whether more of each is better."""
    declared = results.study.get("objective")
    if isinstance(declared, Mapping) and declared:
        return {str(metric): direction != "minimize" for metric, direction in declared.items()}
    metric, more = results.objective
    return {metric: more}


def quality(results: Results) -> str:
    """The metric of reconstructions that the study goes by: its first PSNR or SSIM of the validation images."""
    known = [metric for metric in objectives(results) if metric.endswith(("psnr", "ssim"))]
    return known[0] if known else "val_psnr"


def configurations(results: Results, task: str | None = None) -> pd.DataFrame:
    """A row per configuration with completed trials: each metric the mean over them, and how many `repeats` they are.

    The other columns are those of its first repeat, `ended` that of the last one. Trials without a configuration's
    number (of before there were repeats) are one each.
    """
    trials = of_task(results.completed, task)
    key = trials["configuration"].astype(object).where(trials["configuration"].notna(), trials["trial_id"])
    grouped = trials.groupby(key, sort=False)
    if len(trials) == grouped.ngroups:
        return trials.assign(repeats=1).reset_index(drop=True)
    trials = trials.sort_values("repeat", kind="stable")
    grouped = trials.groupby(key, sort=False)
    metrics = [one.name for one in schema.METRIC_COLUMNS]
    means = trials[metrics].astype(float).groupby(key, sort=False).mean()
    made = grouped.head(1).set_index(key[grouped.head(1).index])
    made = made.assign(**{name: means[name] for name in metrics}, ended=grouped["ended"].max(), repeats=grouped.size())
    return made.reset_index(drop=True)


def within_limits(results: Results, trials: pd.DataFrame) -> pd.Series:
    """Whether each row of `trials` is known to keep to all limits of the study."""
    kept = pd.Series(True, trials.index)
    for limit in results.limits:
        values = trials[limit.metric].astype(float)
        kept &= values <= limit.bound if limit.at_most else values >= limit.bound
    return kept


def front(values: pd.DataFrame, more: Mapping[str, bool]) -> pd.Series:
    """Which rows no other equals or beats in every one of the columns `more` names, each better upwards or downwards:
    the Pareto front. Of rows that are equal the first is on it; one with a missing value never is."""
    on = pd.Series(False, values.index)
    known = values[list(more)].astype(float).dropna()
    losses: npt.NDArray[np.float64] = known.to_numpy() * [-1.0 if up else 1.0 for up in more.values()]
    kept = np.empty((0, len(more)))
    for place in np.lexsort(losses.T[::-1]):  # what beats a row comes before it
        if not (kept <= losses[place]).all(axis=1).any():
            kept = np.vstack([kept, losses[place]])
            on.loc[known.index[place]] = True
    return on


def groups(trials: pd.DataFrame) -> pd.Series:
    """What a trial is drawn as: its label, and its task too where there are several."""
    label = trials["label"].astype(str)
    if trials["task"].nunique() < 2:
        return label
    return label + ", " + trials["task"].fillna("unknown").astype(str)
