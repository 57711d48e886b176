"""The best configuration of each method on each task, by the study's objective: the numbers of a paper's table."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

SHOWN: Final = ("test_psnr", "ood_psnr", "test_ssim", "seconds_per_image", "parameters")
"""What the table shows of each of them."""


def standings(
    trials: Iterable[Mapping[Any, Any]], metric: str, *, more: bool
) -> dict[str, dict[str, Mapping[Any, Any]]]:
    """By task and label, the trial with the best `metric` (highest with `more`, else lowest), best first.

    A trial, or a configuration by the means over its repeats, is a mapping with `task`, `label`, the metrics, and
    `trial_id`, by which ties are broken; which of them count (completed, within limits) is decided before.
    """
    sign = -1 if more else 1
    known = [trial for trial in trials if _finite(trial.get(metric))]
    found: dict[str, dict[str, Mapping[Any, Any]]] = {}
    for trial in sorted(known, key=lambda one: (str(one.get("task")), sign * one[metric], str(one["trial_id"]))):
        found.setdefault(str(trial.get("task")), {}).setdefault(str(trial["label"]), trial)
    return found


def in_order(found: Mapping[str, Mapping[str, Mapping[Any, Any]]]) -> list[str]:
    """All labels, by their mean place over the tasks that have them: the rows of the table, best first."""
    places: dict[str, list[int]] = {}
    for best in found.values():
        for place, name in enumerate(best):
            places.setdefault(name, []).append(place)
    return sorted(places, key=lambda name: (sum(places[name]) / len(places[name]), name))


def measured(best: Mapping[str, Mapping[Any, Any]]) -> float | None:
    """PSNR of a task's measurements themselves, as its trials report it."""
    values = [trial.get("measurement_psnr") for trial in best.values()]
    return next((float(value) for value in values if value is not None and _finite(value)), None)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
