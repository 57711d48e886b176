"""What a study may be judged by, and the limits that its best trial keeps to."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from flowsearch.checks import nearest
from flowsearch.results import schema

Metric = Literal[
    "val_psnr", "val_ssim", "val_loss", "parameters", "train_seconds", "seconds_per_image", "peak_memory_bytes"
]
"""Known at a trial's end. Those of the test images are not among them: they would choose what they then judge."""

METRICS: tuple[str, ...] = get_args(Metric)
EPOCH_METRICS = ("val_psnr", "val_loss")
"""Metrics known after each epoch: the ones that a scheduler can judge by."""

Direction = Literal["maximize", "minimize"]
UPWARDS: dict[str, Direction] = {metric: "minimize" if metric in schema.MINIMIZED else "maximize" for metric in METRICS}
_COMPARISON = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|[<>=!]=?)\s*(\S+)\s*")


@dataclass(frozen=True)
class Constraint:
    """A limit on a metric: `parameters <= 30e6`."""

    text: str
    metric: str
    at_most: bool
    bound: float

    def violation(self, metrics: Mapping[str, Any]) -> float | None:
        """By how much the metric is beyond its bound, 0 or less where it is not; None where it is unknown.

        As a share of the bound: samplers add up the violations of all limits, in which seconds would count for nothing
        beside parameters.
        """
        value = finite(metrics, self.metric)
        if value is None:
            return None
        beyond = value - self.bound if self.at_most else self.bound - value
        return beyond / abs(self.bound) if self.bound else beyond


def constraint(text: str) -> Constraint:
    """The constraint that `text` writes; ValueError where it is not a metric, <= or >=, and a number."""
    found = _COMPARISON.fullmatch(text)
    form = "a constraint is a metric, <= or >=, and a number, such as parameters <= 30e6"
    if found is None:
        raise ValueError(f"{form}; not {text!r}")
    metric, sign, number = found.groups()
    if metric not in METRICS:
        raise ValueError(f"{unknown_metric(metric)}, in {text!r}")
    if sign not in ("<=", ">="):
        raise ValueError(f"{form}; not {sign} as in {text!r}")
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not math.isfinite(bound):
        raise ValueError(f"{form}; {number} is no such number")
    return Constraint(f"{metric} {sign} {_shortest(bound)}", metric, sign == "<=", bound)


def _shortest(number: float) -> str:
    """`3e+07`, or `31043521`: as few digits as give the same number again."""
    return next(text for digits in range(6, 18) if float(text := f"{number:.{digits}g}") == number)


def unknown_metric(name: str) -> str:
    """Why `name` is no metric of an objective or a constraint, and which ones there are."""
    why = ""
    if name.startswith(("test_", "ood_")):
        why = "; test images judge what was chosen without them"
    return f"a metric is one of {', '.join(METRICS)}, not {name}{why or nearest(name, METRICS)}"


def over_images(metric: str) -> bool:
    """Whether it is a mean over test images: missing where one of them has no finite value, and so is a mean over
    repeats of which one misses it."""
    return metric.startswith(("test_", "ood_"))


def finite(metrics: Mapping[str, Any], metric: str) -> float | None:
    """The value of `metric`, if it is a finite number."""
    value = metrics.get(metric)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
