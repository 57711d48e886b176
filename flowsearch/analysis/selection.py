"""Which trials are compared: always the best by the study's objective, never by a test set."""

import pandas as pd

from flowsearch.results import Results


def tasks(results: Results) -> list[str]:
    """Tasks that have a completed trial, in order of their names."""
    return sorted(str(task) for task in results.completed["task"].dropna().unique())


def best_of_each(results: Results, column: str = "label", task: str | None = None) -> pd.DataFrame:
    """The best completed trial of each value of `column`, best first; of one task, or of all together."""
    ranked = results.ranked()
    if task is not None:
        ranked = ranked[ranked["task"] == task]
    return ranked.dropna(subset=[column]).drop_duplicates(column, keep="first")


def groups(trials: pd.DataFrame) -> pd.Series:
    """What a trial is drawn as: its label, and its task too where there are several."""
    label = trials["label"].astype(str)
    if trials["task"].nunique() < 2:
        return label
    return label + ", " + trials["task"].fillna("unknown").astype(str)


def best_of_tasks(results: Results) -> set[str]:
    """The best trial of each label on each task."""
    chosen: set[str] = set()
    for task in results.completed["task"].dropna().unique():
        chosen |= set(best_of_each(results, "label", task)["trial_id"])
    return chosen
