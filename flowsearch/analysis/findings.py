"""What a study found, in sentences with numbers and their limits. Plain text: whoever shows it, escapes it."""

import pandas as pd

from flowsearch.analysis.selection import best_of_each, tasks
from flowsearch.analysis.statistics import Interval, difference_of_means, gain, paired_difference
from flowsearch.analysis.wording import (
    above,
    counted,
    decibels,
    described,
    listed,
    missing,
    number,
    plural,
    signed,
    whole,
)
from flowsearch.results import Results, schema

FEW = 5
"""Fewer trials than this on a side are told as counts and means, without an interval."""


def findings(results: Results) -> list[str]:
    """Sentences on the best configuration, its gain, the other methods, pre-training and tied weights."""
    if results.trials.empty:
        return ["No trial has been recorded yet."]
    if results.completed.empty:
        return [_none_completed(results)]
    several = tasks(results)
    said = []
    for task in several:
        sentences = [
            _best(results, task),
            *_against(results, task),
            _two_sides(results, task, "pretrain", (True, False), ("pre-trained", "not pre-trained")),
            _two_sides(results, task, "weights", ("untied", "tied"), ("untied", "tied")),
        ]
        prefix = f"{task}: " if len(several) > 1 else ""
        said += [prefix + sentence for sentence in sentences if sentence]
    return said


def status_line(results: Results) -> str:
    """How far the study is: counted trials, and what is missing from those asked for."""
    counts = results.counts
    asked = asked_for(results)
    total = len(results.trials)
    ended = sum(count for status, count in counts.items() if status in schema.ENDED)
    line = f"{plural(total, 'trial')}: {counted(counts)}." if total else "No trials yet."
    if asked is not None and ended < asked:
        line += f" The study is not finished: {ended:,} of {asked:,} trials asked for {_have(ended)} ended."
    elif ended < total:
        line += " The study is not finished."
    return line


def asked_for(results: Results) -> int | None:
    """Number of trials that the study file asks for, where it says so."""
    study = results.study
    if study.get("mode", "search") != "search":
        count = results.provenance.get("trials")
    else:
        search = study.get("search")
        count = search.get("trials") if isinstance(search, dict) else None
        if isinstance(count, int):
            count *= len(study.get("tasks") or [None]) * int(study.get("repeats") or 1)
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def _none_completed(results: Results) -> str:
    reasons = results.trials["reason"].dropna()
    often = f" The most frequent reason: {reasons.mode().iloc[0]}." if len(reasons) else ""
    return (
        f"None of {plural(len(results.trials), 'trial')} has been completed ({counted(results.counts)}), "
        f"so there is nothing to compare yet.{often}"
    )


def _best(results: Results, task: str) -> str:
    of_task = best_of_each(results, "task", task)
    metric, _ = results.objective
    if of_task.empty:
        return f"No completed trial has the objective {metric}."
    best = of_task.iloc[0]
    name = metric.replace("_", " ").replace("psnr", "PSNR").replace("ssim", "SSIM")
    name = name.replace("val ", "validation ")
    text = f"Best by {name}: trial {best['trial_id']} ({described(best)}"
    text += ")." if missing(best["parameters"]) else f"; {whole(best['parameters'])} parameters)."
    if not missing(best["test_psnr"]):
        text += f" It reaches {decibels(best['test_psnr'])} dB on the test images"
        gained = gain(results.images, best["trial_id"])
        if gained is not None:
            text += f", {above(gained.mean)} their measurements ({_between(gained)}, n = {gained.n} images)"
        elif not missing(best["measurement_psnr"]):
            text += f", {above(best['test_psnr'] - best['measurement_psnr'])} their measurements"
        text += "."
    if not missing(best["ood_psnr"]):
        text += f" Out of distribution it reaches {decibels(best['ood_psnr'])} dB"
        gained = gain(results.images, best["trial_id"], "ood")
        text += "." if gained is None else f", {above(gained.mean)} the measurements there."
    return text


def _against(results: Results, task: str) -> list[str]:
    """The best unrolled Glow (or, without one, the best of all) against the best trial of every other method."""
    best = best_of_each(results, "label", task)
    best = best[~best["label"].isin(("measurement", "adjoint"))]  # the best's gain over the measurements is told before
    if len(best) < 2:
        return []
    glow = best[best["label"].isin(("glow", "unrolled glow"))]
    first = glow.iloc[0] if len(glow) else best.iloc[0]
    said, compared = [], 0
    for _, other in best[best["label"] != first["label"]].iterrows():
        parts = []
        for split, where in (("test", "test images"), ("ood", "images out of distribution")):
            difference = paired_difference(results.images, first["trial_id"], other["trial_id"], split)
            if difference is not None:
                parts.append(
                    f"{signed(difference.mean)} dB on the same {difference.n} {where} ({_between(difference)}"
                    + (")" if difference.clear else "; no clear difference)")
                )
        if not parts and not (missing(first["test_psnr"]) or missing(other["test_psnr"])):
            parts = [f"{signed(first['test_psnr'] - other['test_psnr'])} dB in mean test PSNR"]
        if parts:
            compared += 1
            one, two = (f"best {trial['label']} (trial {trial['trial_id']})" for trial in (first, other))
            said.append(f"{one.capitalize()} against {two}: {listed(parts)}.")
    if compared:
        tried = results.completed[results.completed["task"] == task]["label"].value_counts()
        counts = listed([f"{tried[name]} {name}" for name in best["label"]])
        said.append(
            f"These intervals are over test images only, for one trial each, chosen from {counts} completed trials; "
            "they say nothing of other seeds, nor of how well each could do with a longer search."
        )
    return said


def _two_sides(
    results: Results, task: str, column: str, values: tuple[object, object], names: tuple[str, str]
) -> str | None:
    """Completed unrolled networks on both sides of a choice, within each proximal map: other settings differ too."""
    metric, _ = results.objective
    trials = results.ranked()
    trials = trials[(trials["task"] == task) & trials["folds"].notna()].dropna(subset=[column])
    parts, enough = [], False
    for prox, own in trials.groupby("prox", sort=True):
        if column == "weights":
            own = own[own["folds"] > 1]  # a single fold shares its weights with nobody
        one, two = (own[own[column] == value][metric].to_numpy(dtype=float) for value in values)
        if not (len(one) and len(two)):
            continue
        difference = difference_of_means(one, two)
        unit = " dB" if metric.endswith("psnr") else ""
        means = f"mean {_metric(metric, one.mean())} against {_metric(metric, two.mean())}{unit}"
        sides = f"{prox}: {len(one)} {names[0]} and {len(two)} {names[1]}, {means}"
        if difference.n >= FEW:
            enough = True
            sides += f", difference {_metric(metric, difference.mean, sign=True)} ({_between(difference)})"
        parts.append(sides)
    if not parts:
        return None
    heading = {"pretrain": "Pre-training", "weights": "Tied weights"}[column]
    limit = (
        "Other settings differ between the two sides, so the difference is not the choice's alone."
        if enough
        else f"With fewer than {FEW} trials on a side, and other settings varying too, this is no finding by itself."
    )
    return f"{heading} ({metric} of completed trials). {'; '.join(parts)}. {limit}"


def _between(interval: Interval) -> str:
    if interval.n < 2:
        return "no interval from one value"
    return f"95% interval {signed(interval.low)} to {signed(interval.high)}"


def _metric(metric: str, value: float, *, sign: bool = False) -> str:
    if metric.endswith("psnr"):
        return signed(value) if sign else decibels(value)
    return number(float(value))


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def best_row(results: Results) -> pd.Series | None:
    """The best trial, or None where none was completed."""
    ranked = results.ranked()
    return ranked.iloc[0] if len(ranked) else None
