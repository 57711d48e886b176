"""What a task is called and what it says (paper sections VI-C to VI-E, and more). Needs no torch.

A task is written as a short name (`deblur-3`), as a mapping (`{deblur: {sigma: 3, padding: reflect}}`) or as text
(`deblur(sigma=3,padding=reflect)`). `str(parse_task(...))` is the one canonical text, in which results carry it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from flowsearch import text
from flowsearch.checks import check_choice, check_float, check_int, nearest
from flowsearch.parts import is_part

LARGEST_MATRIX = 4 * 2**30
"""Bytes that the matrix of a dense operator may take."""

_NOTHING = object()
_WIDEST = 1024
"""Pixels of the widest image that data may have."""


@dataclass(frozen=True)
class Setting:
    """A parameter of a task: the check of its value, and what it is where nothing is said of it."""

    check: partial[None]
    default: Any = _NOTHING

    def settle(self, name: str, value: Any) -> Any:
        """The value, checked; a whole number given for a number is that number."""
        if value is None and self.default is None:
            return None
        self.check(name, value)
        return float(value) if self.check.func is check_float else value


def _number(low: float, high: float | None = None, positive: bool = False) -> partial[None]:
    return partial(check_float, low=low, high=high, positive=positive)


def _whole(low: int, high: int | None = None) -> partial[None]:
    return partial(check_int, low=low, high=high)


def _choice(*names: str) -> partial[None]:
    return partial(check_choice, choices=names)


_NOISE = Setting(_number(0, 1), 0.0)
_SEED = Setting(_whole(0, 2**63 - 1), 0)
_PADDING = Setting(_choice("circular", "zero", "reflect"), "circular")

TASKS: dict[str, dict[str, Setting]] = {
    "denoise": {"noise": Setting(_number(0, 1, positive=True))},
    "inpaint": {
        "centre": Setting(_whole(1, _WIDEST - 1), None),
        "square": Setting(_whole(1, _WIDEST - 1), None),
        "random": Setting(_number(0, 1, positive=True), None),
        "seed": _SEED,
        "noise": _NOISE,
    },
    "deblur": {"sigma": Setting(_number(0, _WIDEST / 4, positive=True)), "padding": _PADDING, "noise": _NOISE},
    "motion": {
        "length": Setting(_whole(2, _WIDEST)),
        "angle": Setting(_number(0, 180), 0.0),
        "padding": _PADDING,
        "noise": _NOISE,
    },
    "superres": {
        "scale": Setting(_whole(2, 16)),
        "blur": Setting(_number(0, _WIDEST / 4, positive=True), None),
        "noise": _NOISE,
    },
    "compress": {
        "ratio": Setting(_number(0, 1, positive=True)),
        "by": Setting(_choice("dct", "hadamard", "gaussian"), "dct"),
        "seed": _SEED,
        "noise": _NOISE,
    },
    "mri": {
        "acceleration": Setting(_number(1, _WIDEST)),
        "mask": Setting(_choice("cartesian", "radial"), "cartesian"),
        "centre": Setting(_number(0, 1), 0.08),
        "seed": _SEED,
        "noise": _NOISE,
    },
}
"""Each task's parameters. The first one is the number of its short name, `deblur-3`."""

_EXAMPLES = {
    "denoise": "denoise-0.1",
    "inpaint": "inpaint-19",
    "deblur": "deblur-5",
    "motion": "motion-9",
    "superres": "superres-2",
    "compress": "compress-0.25",
    "mri": "mri-4",
}
_HIDDEN = ("centre", "square", "random")


@dataclass(frozen=True)
class TaskSpec:
    """A task's kind (a name of `TASKS`, or `module:name`), its parameters, defaults filled in, and the noise's level.

    `noise` is among the parameters too, unless the operator is a researcher's own, which is not told of it.
    """

    kind: str
    parameters: Mapping[str, Any]
    noise: float

    @property
    def own(self) -> bool:
        """Whether the operator is a researcher's own, `module:name`."""
        return self.kind not in TASKS

    def __str__(self) -> str:
        """The canonical text: the short name where it says everything, `kind(name=value,...)` otherwise."""
        if self.own:
            noise = {"noise": _plain(self.noise)} if self.noise else {}
            return text.join(self.kind, dict(sorted(self.parameters.items())) | noise)
        settings = TASKS[self.kind]
        told = {name: _plain(v) for name, v in self.parameters.items() if v != settings[name].default}
        first = next(iter(settings))
        return f"{self.kind}-{told[first]}" if list(told) == [first] else text.join(self.kind, told)


def parse_task(task: object) -> TaskSpec:
    """The meaning of a task, given as text or as a mapping of one name to its parameters.

    Raises ValueError for a name, a parameter or a value that no image size makes possible.
    """
    if isinstance(task, str):
        kind, values = _from_text(task)
    elif isinstance(task, Mapping) and len(task) == 1:
        kind, values = next(iter(task.items()))
        values = {} if values is None else values
        _check_kind(kind)
        if not isinstance(values, Mapping):
            example = "{noise: 0.01}" if kind not in TASKS else f"{{{next(iter(TASKS[kind]))}: ...}}"
            raise ValueError(f"task {kind} takes a mapping of its parameters, such as {example}, not {values!r}")
    else:
        raise ValueError(
            "task is a name such as denoise-0.1, or a mapping of one name to its parameters, such as "
            f"{{deblur: {{sigma: 3, padding: reflect}}}}, not {task!r}"
        )
    return _own(kind, values) if kind not in TASKS else _settled(kind, values)


def check_task(task: object, size: int) -> TaskSpec:
    """The meaning of a task for images of `size` x `size`; ValueError where it has none."""
    spec = parse_task(task)
    values = spec.parameters
    if spec.kind == "inpaint":
        _check_inpaint(values, size)
    elif spec.kind == "deblur":
        _check_blur("deblur: sigma", values["sigma"], size)
    elif spec.kind == "motion" and values["length"] > size:
        raise ValueError(f"task motion: length is at most the image's {size} pixels, not {values['length']}")
    elif spec.kind == "superres":
        if size % values["scale"]:
            fits = ", ".join(str(scale) for scale in range(2, 17) if size % scale == 0) or "none"
            raise ValueError(f"task superres: scale divides the image's {size} pixels ({fits}), not {values['scale']}")
        if values["blur"] is not None:
            _check_blur("superres: blur", values["blur"], size)
    elif spec.kind == "compress":
        _check_compress(values, size)
    elif spec.kind == "mri" and values["acceleration"] > size:
        raise ValueError(
            f"task mri: acceleration is at most {size}, one line of {size}, not {_plain(values['acceleration'])}"
        )
    return spec


def measurements(ratio: float, size: int) -> int:
    """How many numbers `compress` measures of each channel."""
    return max(1, round(ratio * size**2))


def _from_text(task: str) -> tuple[str, dict[str, Any]]:
    parts = text.split(task, "task")
    if parts is None:
        raise ValueError(_unknown(task, task.strip().partition("-")[0].partition("(")[0]))
    kind, number, values = parts
    if kind not in TASKS and not is_part(kind):
        raise ValueError(_unknown(task, kind))
    if number is None:
        return kind, values or {}
    if kind not in TASKS:
        raise ValueError(f"task {kind} takes its parameters by name, such as {kind}(noise=0.01), not {task!r}")
    return kind, {next(iter(TASKS[kind])): number}


def _check_kind(kind: object) -> None:
    if not isinstance(kind, str) or (kind not in TASKS and not is_part(kind)):
        raise ValueError(_unknown(kind, str(kind).partition("-")[0]))


def _unknown(task: object, kind: str) -> str:
    known = ", ".join(f"{name} ({example})" for name, example in _EXAMPLES.items())
    return f"task is one of {known}, or an operator of your own, module:name; not {task!r}{nearest(kind, TASKS)}"


def _settled(kind: str, values: Mapping[str, Any]) -> TaskSpec:
    settings = TASKS[kind]
    for name in values:
        if name not in settings:
            hint = nearest(str(name), settings)
            raise ValueError(f"task {kind} has no parameter {name}{hint} (its parameters: {', '.join(settings)})")
    full: dict[str, Any] = {}
    for name, setting in settings.items():
        value = values.get(name, setting.default)
        if value is _NOTHING:
            raise ValueError(f"task {kind} needs {name}, as in {_EXAMPLES[kind]}")
        full[name] = setting.settle(f"task {kind}: {name}", value)
    _check_together(kind, full)
    return TaskSpec(kind, full, full["noise"])


def _own(kind: str, values: Mapping[str, Any]) -> TaskSpec:
    text.check_parameters(f"task {kind}", values)
    check_float(f"task {kind}: noise", values.get("noise", 0.0), 0, 1e6)
    noise = float(values.get("noise", 0.0))
    return TaskSpec(kind, {name: value for name, value in values.items() if name != "noise"}, noise)


def _check_together(kind: str, values: Mapping[str, Any]) -> None:
    """The rules that are about several parameters of a task."""
    if kind == "inpaint":
        said = [name for name in _HIDDEN if values[name] is not None]
        if len(said) != 1:
            raise ValueError(
                "task inpaint hides either a square in the centre (centre: WIDTH), or one elsewhere (square: WIDTH), "
                f"or single pixels (random: SHARE); {'it is given ' + ' and '.join(said) if said else 'none is given'}"
            )
        if said == ["centre"]:
            _means_nothing(kind, values, "seed", "a square in the centre")
        elif said == ["random"] and values["random"] >= 1:
            raise ValueError("task inpaint: random is the share of hidden pixels, below 1, not 1")
    elif kind == "motion" and values["angle"] >= 180:
        raise ValueError("task motion: angle is below 180 degrees, where it begins again with 0, not 180")
    elif kind == "mri":
        if values["acceleration"] <= 1:
            raise ValueError(f"task mri: acceleration is above 1, not {_plain(values['acceleration'])}")
        if values["mask"] == "radial":
            for name in ("centre", "seed"):
                _means_nothing(kind, values, name, "a radial mask")


def _means_nothing(kind: str, values: Mapping[str, Any], name: str, what: str) -> None:
    if values[name] != TASKS[kind][name].default:
        raise ValueError(f"task {kind}: {name} means nothing to {what}; leave it out")


def _check_inpaint(values: Mapping[str, Any], size: int) -> None:
    for name in ("centre", "square"):
        if values[name] is not None:
            check_int(f"task inpaint: the hidden square's width {name}", values[name], 1, size - 1)
    if values["random"] is not None:
        hidden = round(values["random"] * size**2)
        if not 1 <= hidden < size**2:
            raise ValueError(
                f"task inpaint: random hides at least one of the image's {size**2} pixels and not all of them, "
                f"not {values['random']}, which hides {hidden}"
            )


def _check_blur(name: str, sigma: float, size: int) -> None:
    if sigma > size / 4:
        raise ValueError(f"task {name} is at most a quarter of the image, {size / 4:g} pixels, not {_plain(sigma)}")


def _check_compress(values: Mapping[str, Any], size: int) -> None:
    if values["by"] == "hadamard" and size & (size - 1):
        raise ValueError(f"task compress: by hadamard needs a size that is a power of 2, not {size}; take by: dct")
    needed = 4 * measurements(values["ratio"], size) * size**2
    if values["by"] == "gaussian" and needed > LARGEST_MATRIX:
        raise ValueError(
            f"task compress: by gaussian keeps a dense matrix, at most {LARGEST_MATRIX / 2**30:g} GiB, not "
            f"{needed / 2**30:.1f} GiB; take by: dct, which keeps none, or a smaller ratio"
        )


def _plain(value: Any) -> Any:
    """A number as it is written: 5 for 5.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
