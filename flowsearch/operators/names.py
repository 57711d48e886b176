"""Task names: a string such as `denoise-0.1` and what it says (paper sections VI-C to VI-E). Needs no torch."""

import re
from dataclasses import dataclass

from flowsearch.checks import nearest

_FORMS = {
    "denoise": (
        "denoise-SIGMA",
        "noise standard deviation between 0 and 1 for images in [-0.5, 0.5], e.g. denoise-0.1",
    ),
    "inpaint": ("inpaint-W", "width in pixels of the hidden centre square, e.g. inpaint-19"),
    "deblur": ("deblur-SIGMA", "standard deviation in pixels of the Gaussian blur, e.g. deblur-5"),
}


@dataclass(frozen=True)
class TaskSpec:
    """A parsed task name: `kind` is denoise, inpaint or deblur, `value` its number."""

    kind: str
    value: float


def check_task(name: str, size: int) -> TaskSpec:
    """The meaning of a task's name for images of `size` x `size`; `ValueError` where it has none."""
    match = re.fullmatch(r"([a-z]+)-(\d+(?:\.\d+)?)", name) if isinstance(name, str) else None
    if match is None or match[1] not in _FORMS:
        forms = "; ".join(f"{form} ({meaning})" for form, meaning in _FORMS.values())
        hint = nearest(str(name).partition("-")[0], _FORMS)
        raise ValueError(f"task is one of {forms}; not {name!r}{hint}")
    kind, value = match[1], float(match[2])
    if kind == "denoise" and not 0 < value <= 1:
        raise ValueError(f"the noise of {name} is above 0 and at most 1, not {value:g}")
    if kind == "inpaint" and (value != int(value) or not 1 <= value < size):
        raise ValueError(
            f"the hidden square of {name} is a whole number of pixels from 1 to {size - 1}, not {match[2]}"
        )
    if kind == "deblur" and not 0 < value <= size / 4:
        raise ValueError(f"the blur of {name} is above 0 and at most a quarter of the image, {size / 4:g} pixels")
    return TaskSpec(kind, value)
