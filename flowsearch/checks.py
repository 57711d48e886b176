"""The checks that configurations share: each a `ValueError` that states the rule, what came and what to do."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any, Final

MEMORIES: Final = ("invertible", "networks", "checkpoint", "autograd")
"""What the backward pass of a flow may keep (`TrialConfig.memory`)."""
PRECISIONS: Final = ("fp32", "bf16")
"""In which a network's convolutions may run (`TrialConfig.precision`)."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`"; did you mean x?"` for the known name closest to `name`, or nothing where none is close."""
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Refuse a value that is not one of `choices`."""
    if value not in choices:
        listed = ", ".join(str(choice) for choice in choices)
        hint = nearest(value, [str(choice) for choice in choices]) if isinstance(value, str) else ""
        raise ValueError(f"{name} is one of {listed}, not {value!r}{hint}")


def check_known(what: str, names: Iterable[str], known: Collection[str]) -> None:
    """Refuse the first of `names` that is not a known name of `what`."""
    for name in names:
        if name not in known:
            raise ValueError(
                f"{name} is not a name of {what}{nearest(name, known)} (known: {', '.join(sorted(known))})"
            )


def check_int(name: str, value: Any, low: int, high: int | None = None) -> None:
    """Refuse anything but a whole number from `low` to `high` (a bool is not a number)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} is a whole number, not {value!r}")
    _check_range(name, value, low, high)


def check_float(name: str, value: Any, low: float, high: float | None = None, *, positive: bool = False) -> None:
    """Refuse anything but a finite number from `low` to `high`; with `positive`, zero is refused too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is a number, not {value!r}")
    if value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"{name} is a finite number, not {value!r}")
    if positive and value <= 0:
        raise ValueError(f"{name} is above 0, not {value!r}")
    _check_range(name, value, low, high)


def check_bool(name: str, value: Any) -> None:
    """Refuse anything but true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} is true or false, not {value!r}")


def check_levels(levels: int, size: int) -> None:
    """Refuse a flow of more levels than the image's size can be halved."""
    if size % 2**levels:
        fits = (size & -size).bit_length() - 1
        many = "level" if fits == 1 else "levels"
        raise ValueError(f"levels halve the image each time, so size {size} allows at most {fits} {many}, not {levels}")


def _check_range(name: str, value: float, low: float, high: float | None) -> None:
    if value < low or (high is not None and value > high):
        rule = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} is {rule}, not {value!r}")
