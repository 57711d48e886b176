"""What a trial is called wherever methods are compared: in the closing table, the report and its figures."""

from collections.abc import Iterable, Mapping
from typing import Any

UNROLLED = "unrolled"


def label(method: Any, prox: Any, *, several: bool) -> str:
    """A trial's kind, such as `unrolled glow`, `feedforward unet`, `pnp resnet`, `map` or `tv`.

    An unrolled network is called by its proximal map alone unless the study has `several` methods. Tables of before
    there were methods have none (None or NaN): theirs are unrolled.
    """
    name = str(method) if isinstance(method, str) else UNROLLED
    inside = str(prox) if isinstance(prox, str) else "unknown"
    if name == UNROLLED:
        return f"{UNROLLED} {inside}" if several else inside
    return name if name == "map" or not isinstance(prox, str) else f"{name} {inside}"


def labels(trials: Iterable[Mapping[Any, Any]]) -> list[str]:
    """The label of each of a study's trials, given by its `method` and `prox`."""
    pairs = [(trial.get("method"), trial.get("prox")) for trial in trials]
    several = any(isinstance(method, str) and method != UNROLLED for method, _ in pairs)
    return [label(method, prox, several=several) for method, prox in pairs]
