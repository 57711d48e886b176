"""The report's table of configurations: the Pareto front of several objectives, or the best means over repeats."""

import math
from html import escape

import pandas as pd

from flowsearch.analysis.selection import by_task
from flowsearch.analysis.wording import described, label, of_all
from flowsearch.results import Results
from flowsearch.results.configurations import front, objectives, ranked
from flowsearch.results.forms import EMPTY, missing, written
from flowsearch.statistics import student_interval

FRONT_CAPTION = "The Pareto front: the configurations that no other equals or beats in every objective"
BEST_CAPTION = "The best configurations by the mean over their repeats"
_MOST = 10
"""Configurations of each task."""
_N = ' class="n"'


def configurations_table(results: Results) -> str:
    """A row per configuration; empty for a study of one objective that repeats nothing, whose trials say the same."""
    metrics = objectives(results)
    several, repeated = len(metrics) > 1, bool((results.configurations["repeats"] > 1).any())
    if not (several or repeated):
        return ""
    shown = [*metrics, *(name for name in ("test_psnr", "ood_psnr") if name not in metrics)]
    shown = [name for name in shown if name in results.trials and results.completed[name].notna().any()]
    tasks = list(by_task(results))
    heads = [*(["task"] if len(tasks) > 1 else []), "trial", "configuration", *map(label, shown)]
    heads += ["repeats"] if repeated else []
    body, left = "", 0
    for task in tasks:
        found = ranked(results, task)
        if several:
            found = found[front(found, {name: more for name, more in metrics.items() if name in found})]
        left += max(0, len(found) - _MOST)
        body += "".join(
            _row(results, one, shown, [str(task)] if len(tasks) > 1 else [], repeated)
            for _, one in found.head(_MOST).iterrows()
        )
    if not body:
        return ""
    head = "".join(f'<th scope="col"{_N if name not in _WORDS else ""}>{escape(name)}</th>' for name in heads)
    caption = FRONT_CAPTION if several else BEST_CAPTION
    caption += "; ± is a 95% interval of the mean over repeats, by Student's t." if repeated else "."
    caption += f" {left:,} more are left out here." if left else ""
    return (
        f'<p class="caption">{caption}</p><div class="scroll maps" tabindex="0" role="region" '
        f'aria-label="Table of configurations"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


_WORDS = ("task", "trial", "configuration")


def _row(results: Results, one: pd.Series, shown: list[str], first: list[str], repeated: bool) -> str:
    words = [*first, str(one["trial_id"]), described(one)]
    numbers = [_mean(results, one, name) for name in shown]
    numbers += [of_all(one)] if repeated else []
    cells = [f"<td>{escape(text)}</td>" for text in words[:-1]] + [f'<td class="long">{escape(words[-1])}</td>']
    cells += [f"<td{_N}>{escape(text)}</td>" for text in numbers]
    return f"<tr>{''.join(cells)}</tr>"


def _mean(results: Results, one: pd.Series, metric: str) -> str:
    """The mean over the configuration's repeats, with half its interval; a dash where it is not known."""
    if missing(one[metric]):
        return EMPTY
    trials = results.completed[results.completed["trial_id"].isin(one["trials"])]
    values = trials[metric].dropna().astype(float).tolist()
    interval = student_interval(values)
    half = interval.high - interval.mean
    shown = written(metric, interval.mean)
    return f"{shown} ± {written(metric, half)}" if len(values) > 1 and half > 0 and math.isfinite(half) else shown
