"""Which trials are shown together: task by task, and the best by the study's objective, never by a test set."""

from collections.abc import Iterator

import pandas as pd

from flowsearch.results import Results
from flowsearch.results.configurations import best_of_each, objectives, refuse_mixed_images


def by_task(results: Results) -> Iterator[str | None]:
    """The tasks that figures keep apart, in order of their names; None, which is every trial, where there is one."""
    known = sorted(str(task) for task in results.trials["task"].dropna().unique())
    yield from known if len(known) > 1 else [None]


def of_task(trials: pd.DataFrame, task: str | None) -> pd.DataFrame:
    """The rows of `task`; all of them for None. Raises `ValueError` where those of a task are of several data sets or
    image sizes: a figure would show the images' difference as the networks'."""
    found = trials if task is None else trials[trials["task"] == task]
    refuse_mixed_images(found, ", ".join(found["study"].dropna().unique()))
    return found


def best_trials(results: Results) -> set[str]:
    """All repeats of the best configuration of each label on each task."""
    best = (trials for task in results.tasks for trials in best_of_each(results, "label", task)["trials"])
    return {trial_id for trials in best for trial_id in trials}


def quality(results: Results) -> str:
    """The metric of reconstructions that the study goes by: its first PSNR or SSIM of the validation images."""
    known = [metric for metric in objectives(results) if metric.endswith(("psnr", "ssim"))]
    return known[0] if known else "val_psnr"


def groups(trials: pd.DataFrame) -> pd.Series:
    """What a trial is drawn as: its label, and its task too where there are several."""
    label = trials["label"].astype(str)
    if trials["task"].nunique() < 2:
        return label
    return label + ", " + trials["task"].fillna("unknown").astype(str)
