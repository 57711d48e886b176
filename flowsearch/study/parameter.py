"""One name of a search space: its values, its conditions, and how a study file writes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log
from typing import TYPE_CHECKING, Any

from flowsearch.checks import nearest
from flowsearch.operators.names import parse_task
from flowsearch.training.prox_names import is_map, parse_prox

if TYPE_CHECKING:
    from numpy.random import Generator
    from optuna import Trial
    from optuna.distributions import BaseDistribution

Values = dict[str, Any]

_FORMS = "a list of choices, {int: [low, high]}, {float: [low, high]} or {choice: [...]}, each with an optional when"

KEYS = ("int", "float", "choice", "log", "step", "points", "when")
"""What a mapping under a name of the space may hold."""

PARSED: dict[str, Callable[[object], object]] = {"task": parse_task, "prox": parse_prox}
"""What reads the names whose values may be written as mappings, and are known by one text."""


class SpaceError(ValueError):
    """A rule that the space breaks; `names` are the study file's names it is about, the likeliest first."""

    def __init__(self, message: str, *names: str, below: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.names = names
        self.below = below


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A name to search: its choices, or its range from `low` to `high` (both included)."""

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    whole: bool = False
    """The range is of whole numbers."""
    log: bool = False
    step: int = 1
    points: int | None = None
    """So many values of a range of real numbers that is listed, not searched."""
    when: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """The name is searched only where each of these others has one of its values."""

    @property
    def corners(self) -> tuple[Any, ...]:
        """Every choice, or both ends of the range."""
        if self.choices:
            return self.choices
        return (self.low,) if self.low == self.high else (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether the search can propose `value`."""
        if self.choices:
            return any(meets(self.name, choice, value) for choice in self.choices)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (not self.whole or value == int(value))

    @property
    def values(self) -> Sequence[Any]:
        """Every value, where the study goes through all of them. SpaceError for a range that has too many."""
        if self.choices:
            return self.choices
        if self.whole and self.log:
            raise SpaceError(
                f"space.{self.name}.log says nothing where every value is tried; take it away, or list the values",
                self.name,
                below=("log",),
            )
        if self.whole:
            return range(int(self.low), int(self.high) + 1, self.step)
        if self.points is None:
            raise SpaceError(
                f"space.{self.name} has endlessly many values between {self.low:g} and {self.high:g}; list those to "
                "try, or say how many: {float: [low, high], points: 3}",
                self.name,
                below=("float",),
            )
        if self.points == 1 or self.low == self.high:
            return (self.low,)
        between = [self.at(place / (self.points - 1)) for place in range(1, self.points - 1)]
        return (self.low, *between, self.high)

    def listed(self, first: Any) -> "Parameter":
        """The parameter with its values as choices, `first` before the others."""
        others = tuple(value for value in self.values if not meets(self.name, value, first))
        return replace(self, choices=(first, *others))

    def read(self, value: Any) -> Any:
        """`value` as the study knows it: a task or a proximal map becomes its text, a whole number a real one.

        SpaceError where this name cannot have it.
        """
        if self.name in PARSED:
            value = _settled(self.name, PARSED[self.name], value, ())
        for choice in self.choices:
            if meets(self.name, choice, value):
                return choice
        if self.choices or isinstance(value, bool) or not isinstance(value, int | float):
            raise SpaceError(f"{self.name} is {self.shown}, not {show(value)}{self._hint(value)}", self.name)
        if not self.holds(value) or (self.whole and (int(value) - int(self.low)) % self.step):
            raise SpaceError(f"{self.name} is {self.shown}, not {show(value)}", self.name)
        return int(value) if self.whole else float(value)

    @property
    def shown(self) -> str:
        """The values in words: `one of tied, untied`, or `1 to 8`."""
        if self.choices:
            return "one of " + ", ".join(map(show, self.choices))
        return f"{show(self.low)} to {show(self.high)}" + (f" in steps of {self.step}" if self.step > 1 else "")

    def _hint(self, value: Any) -> str:
        return nearest(str(value), map(str, self.choices))

    def at(self, u: float) -> Any:
        """The value at the share `u` in [0, 1) of the range, each value equally likely (with `log` on that scale)."""
        assert not self.choices
        if not self.whole:
            return (
                exp(log(self.low) + u * (log(self.high) - log(self.low)))
                if self.log
                else self.low + u * (self.high - self.low)
            )
        if self.log:
            value = round(exp(log(self.low - 0.5) + u * (log(self.high + 0.5) - log(self.low - 0.5))))
            return int(min(max(value, self.low), self.high))
        count = (int(self.high) - int(self.low)) // self.step + 1
        return int(self.low) + self.step * min(int(u * count), count - 1)

    def drawn(self, rng: "Generator") -> Any:
        """A value at random."""
        return self.choices[rng.integers(len(self.choices))] if self.choices else self.at(rng.random())

    def suggest(self, trial: "Trial") -> Any:
        """Ask Optuna for a value."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), step=self.step, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, log=self.log)

    @property
    def distribution(self) -> "BaseDistribution":
        """What `suggest` asks Optuna for, in Optuna's words."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=self.step)
        return FloatDistribution(self.low, self.high, log=self.log)


def same(left: Any, right: Any) -> bool:
    """Equal as YAML values: `true` is not 1."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def meets(name: str, value: Any, asked: Any) -> bool:
    """Whether the `value` of `name` is what a condition asks for. A map of one's own is asked for by its name alone."""
    return same(value, asked) or (name == "prox" and is_map(value, asked))


def show(value: Any) -> str:
    """A value as YAML writes it."""
    return (
        {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else f"{value}"
    )


def parse(name: str, entry: Any) -> Parameter:
    """The parameter that a study file's entry under `space` describes; SpaceError where it describes none."""
    if isinstance(entry, list):
        return Parameter(name=name, choices=_choices(name, entry))
    if not isinstance(entry, dict):
        raise SpaceError(f"space.{name} is {_FORMS}, not {entry!r}; a single value belongs in fixed", name)
    kinds = [kind for kind in ("int", "float", "choice") if kind in entry]
    if len(kinds) != 1:
        unknown = next((key for key in entry if key not in KEYS), None)
        hint = "" if unknown in (None, "min") else nearest(str(unknown), ("int", "float", "choice"))
        hint = hint or ("; a single task belongs in fixed" if name == "task" else "")
        raise SpaceError(f"space.{name} is {_FORMS}, not {entry!r}{hint}", name)
    kind = kinds[0]
    allowed = {
        "int": ("int", "log", "step", "when"),
        "float": ("float", "log", "points", "when"),
        "choice": ("choice", "when"),
    }[kind]
    for key in entry:
        if key not in allowed:
            raise SpaceError(
                f"space.{name}.{key} is not a known name{nearest(key, allowed)} "
                f"(known beside {kind}: {', '.join(allowed[1:])})",
                name,
                below=(key,),
            )
    when = _when(name, entry["when"]) if "when" in entry else {}
    if kind == "choice":
        return Parameter(name=name, choices=_choices(name, entry["choice"], below=("choice",)), when=when)
    return _range(name, kind, entry, when)


def _range(name: str, kind: str, entry: Values, when: dict[str, tuple[Any, ...]]) -> Parameter:
    ends, logarithmic, step = entry[kind], entry.get("log", False), entry.get("step", 1)
    word, types = ("whole numbers", (int,)) if kind == "int" else ("numbers", (int, float))
    fits = (
        isinstance(ends, list)
        and len(ends) == 2
        and all(isinstance(end, types) and not isinstance(end, bool) for end in ends)
    )
    if not fits:
        raise SpaceError(f"space.{name}.{kind} is two {word} [low, high], not {ends!r}", name, below=(kind,))
    low, high = ends
    if not (low <= high and abs(low) != float("inf") and abs(high) != float("inf")):
        raise SpaceError(f"space.{name}.{kind} runs from low to high, not from {low} to {high}", name, below=(kind,))
    if not isinstance(logarithmic, bool):
        raise SpaceError(f"space.{name}.log is true or false, not {logarithmic!r}", name, below=("log",))
    if logarithmic and low <= 0:
        raise SpaceError(f"space.{name} starts above 0 on a log scale, not at {low}", name, below=(kind,))
    if isinstance(step, bool) or not isinstance(step, int) or step < 1:
        raise SpaceError(f"space.{name}.step is a whole number of at least 1, not {step!r}", name, below=("step",))
    if step > 1 and logarithmic:
        raise SpaceError(f"space.{name} has a step or a log scale, not both", name, below=("step",))
    points = entry.get("points")
    if points is not None and (isinstance(points, bool) or not isinstance(points, int) or points < 1):
        raise SpaceError(
            f"space.{name}.points is a whole number of at least 1, not {points!r}", name, below=("points",)
        )
    whole = kind == "int"
    if whole:
        high = low + (high - low) // step * step
    return Parameter(
        name=name, low=low if whole else float(low), high=high if whole else float(high), whole=whole, log=logarithmic,
        step=step, points=points, when=when,
    )  # fmt: skip


def _choices(name: str, values: Any, below: tuple[str, ...] = ()) -> tuple[Any, ...]:
    if not isinstance(values, list) or not values:
        raise SpaceError(f"space.{name} lists at least one choice, such as [1, 2], not {values!r}", name, below=below)
    of = name.rpartition(".when.")[2]
    if of in PARSED:
        values = [_settled(name, PARSED[of], value, below) for value in values]
    for index, value in enumerate(values):
        if isinstance(value, list | dict):
            raise SpaceError(f"space.{name} has single values as choices, not {value!r}", name, below=below)
        if any(same(value, earlier) for earlier in values[:index]):
            raise SpaceError(f"space.{name} lists {show(value)} twice", name, below=below)
    return tuple(values)


def _settled(name: str, read: Callable[[object], object], value: Any, below: tuple[str, ...]) -> str:
    """The one text of a task or map, which may be written as a mapping: choices are single values, compared as such."""
    try:
        return str(read(value))
    except ValueError as error:
        at, when, other = name.partition(".when.")
        raise SpaceError(f"space.{name}: {error}", at, below=("when", other) if when else below) from None


def _when(name: str, conditions: Any) -> dict[str, tuple[Any, ...]]:
    if not isinstance(conditions, dict) or not conditions:
        raise SpaceError(
            f"space.{name}.when maps other names to the values under which {name} is searched, such as "
            f"{{prox: glow}}, not {conditions!r}",
            name,
            below=("when",),
        )
    return {
        other: _choices(f"{name}.when.{other}", values if isinstance(values, list) else [values])
        for other, values in conditions.items()
    }
