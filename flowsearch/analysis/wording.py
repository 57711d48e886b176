"""Metrics, configurations and what is known of them in words; numbers are written by `results.forms`."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from flowsearch.results import Results, schema
from flowsearch.results.configurations import objectives, without_result
from flowsearch.results.forms import decibels, missing, number, signed
from flowsearch.results.scores import Score

_SHOWN = ("prox_parameters", "depth", "levels", "hidden", "last_depth", "features", "blocks", "channels")

_USED = {"used_tv_weight": "weight", "used_gamma": "gamma", "used_strength": "strength"}


def above(value: float) -> str:
    """`9.54 dB above` or `0.30 dB below`."""
    return f"{abs(value):.2f} dB {'below' if value < 0 else 'above'}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 trial`, `2 trials`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def counted(counts: dict[str, int]) -> str:
    """`10 completed, 2 pruned and 1 failed`."""
    return listed([f"{count:,} {status}" for status, count in counts.items()])


def described(trial: pd.Series | Mapping[Any, Any]) -> str:
    """A labelled trial's configuration in a line: `glow, 4 untied folds, depth 6, levels 3, hidden 32, pre-trained`."""
    parts = [str(trial["label"])]
    if not missing(trial.get("folds")):
        folds, weights = int(trial["folds"]), trial.get("weights")
        shared = "" if missing(weights) or folds == 1 else f"{weights} "
        parts.append(f"{folds} {shared}{'fold' if folds == 1 else 'folds'}")
    parts += [f"{name.replace('_', ' ')} {trial[name]}" for name in _SHOWN if not missing(trial.get(name))]
    parts += [f"{text} {number(trial[name])}" for name, text in _USED.items() if not missing(trial.get(name))]
    if not missing(trial.get("pretrain")):
        parts.append("pre-trained" if trial["pretrain"] else "not pre-trained")
    if not missing(trial.get("lr")):
        parts.append(f"learning rate {number(float(trial['lr']))}")
    return ", ".join(parts)


def label(name: str, table: str = schema.TRIALS) -> str:
    """Meaning and unit of a column, for an axis; the name itself where the schema does not know it."""
    try:
        return schema.column(table, name).label
    except KeyError:
        return name


def head(name: str, *, unit: bool = False) -> str:
    """A metric at the head of a column: `val PSNR`, `time per image`; with `unit` `val PSNR (dB)`."""
    words = name.removeprefix("used_").removesuffix("_bytes").replace("_", " ").replace("seconds", "time")
    for written, said in (("psnr", "PSNR"), ("ssim", "SSIM"), ("ood", "OOD"), ("tv", "TV")):
        words = words.replace(written, said)
    return f"{words} (dB)" if unit and name.endswith("psnr") else words


def named(metric: str) -> str:
    """A metric in a sentence: `validation PSNR`, `parameters`."""
    words = metric.replace("_", " ").replace("psnr", "PSNR").replace("ssim", "SSIM")
    return words.replace("val ", "validation ").replace("ood ", "out-of-distribution ").replace(" bytes", "")


def command_line(words: Sequence[Any]) -> str:
    """A command as it is typed into a shell, its program by name: wherever it is installed, `python -m` or not."""
    program, *arguments = map(str, words)
    name = Path(program).name
    return shlex.join(["flowsearch" if name == "__main__.py" else name, *arguments])


def devices(results: Results) -> str:
    """`NVIDIA L4`, or `NVIDIA L4 (8 trials) and Tesla T4 (4 trials)`; empty where no trial has told its device."""
    counts = results.trials["device"].value_counts()
    if len(counts) < 2:
        return "".join(counts.index)
    return listed([f"{name} ({plural(int(count), 'trial')})" for name, count in counts.items()])


def not_finite(found: pd.DataFrame, most: int) -> str:
    """Rows of `non_finite`: `trial 0003: 2 of 24 test images and 1 of 24 out of distribution`, of `most` trials."""
    told = []
    for trial, rows in list(found.groupby("trial_id", sort=False))[:most]:
        ending = {"test": "test images", "ood": "out of distribution"}
        counts = [f"{row['failed']} of {row['images']} {ending[row['split']]}" for _, row in rows.iterrows()]
        told.append(f"trial {trial}: {listed(counts)}")
    left = found["trial_id"].nunique() - most
    return "; ".join(told) + (f"; and of {plural(left, 'more trial')}" if left > 0 else "")


def kept(results: Results) -> str:
    """`and keeps to parameters <= 1000`, of a study that has limits."""
    limits = [limit.text for limit in results.limits]
    return f" and keeps to {listed(limits)}" if limits else ""


def chosen_by(results: Results) -> str:
    """What the best is the best by: `validation PSNR, the first of 2 objectives, among what keeps to its limits`."""
    wanted = len(objectives(results))
    limits = [limit.text for limit in results.limits]
    several = f", the first of {wanted} objectives" if wanted > 1 else ""
    return named(results.objective[0]) + several + (f", among what keeps to {listed(limits)}" if limits else "")


def left_out(results: Results) -> str:
    """`3 of 14 configurations were pruned, failed or diverged and have no part`; empty where none was."""
    lost, kept_on = len(without_result(results)), len(results.configurations)
    if not lost:
        return ""
    were, have = ("was", "has") if lost == 1 else ("were", "have")
    count = plural(lost + kept_on, "configuration")
    return f"{lost:,} of {count} {were} pruned, failed or diverged and {have} no part"


def without_objective(results: Results) -> str:
    """`2 of 3 completed configurations have no val_psnr and cannot be the best: trials 0000 and 0001`, or four and
    `others`; empty where all have it, or none."""
    every, metric = results.configurations, results.objective[0]
    lacking = every["trial_id"][every[metric].isna()].tolist() if metric in every else []
    if len(lacking) in (0, len(every)):
        return ""
    names = lacking[:4] + (["others"] if len(lacking) > 4 else [])
    count, have = plural(len(every), "completed configuration"), "has" if len(lacking) == 1 else "have"
    trials = f"trial{'s' if len(names) > 1 else ''} {listed(names)}"
    return f"{len(lacking)} of {count} {have} no {metric} and cannot be the best: {trials}"


def as_good(ids: Sequence[str]) -> str:
    """`trials 0003 and 0007 reach the same`: what else is as good as the best that is named; empty for none."""
    if not ids:
        return ""
    named_ids = listed([*ids[:4], *(["others"] if len(ids) > 4 else [])])
    return f"trial{'s' if len(ids) > 1 else ''} {named_ids} reach{'' if len(ids) > 1 else 'es'} the same"


def of_all(one: Any) -> str:
    """Over how many seeds the means of a configuration are: `3`, or `1 of 3` where the others have no result."""
    count, lost = int(one["repeats"]), int(one["lost"])
    return f"{count} of {count + lost}" if lost else str(count)


def spread(score: Score) -> str:
    """A PSNR with its interval: `29.06 dB (28.91 to 29.20)`; alone where it has none."""
    mean = f"{decibels(score.interval.mean)} dB"
    return f"{mean} ({decibels(score.interval.low)} to {decibels(score.interval.high)})" if score.over else mean


def over(score: Score) -> str:
    """The interval of a gain and what it is over: `95% interval +8.2 to +9.1, n = 24 images, 3 seeds`."""
    counts = [f"n = {plural(score.images, 'image')}"] if score.images else []
    counts += [plural(score.seeds, "seed")] if score.seeds > 1 else []
    if not score.over:
        return ", ".join(["no interval from one value", *counts])
    return ", ".join([f"95% interval {signed(score.interval.low)} to {signed(score.interval.high)}", *counts])
