"""The names that a study searched, as axes: numbers, logarithms or choices, and where a name is absent."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from flowsearch.analysis.figures.marks import markup
from flowsearch.analysis.selection import of_task
from flowsearch.results import Results, schema
from flowsearch.results.forms import missing, number

ABSENT = "absent"
"""What an axis says of trials to which its name does not apply: a ResNet has no depth of a flow."""

MOST_CELLS = 12
"""Along an axis."""
_WIDE = 10.0
"""Real numbers whose ends differ by this factor are drawn on a logarithmic axis, where the study file does not say."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A searched name or a metric. What is drawn are numbers: a value, its base-10 logarithm, or the place of a choice
    among `choices`."""

    name: str
    title: str
    """The name and its unit."""
    kind: Literal["number", "log", "choice"] = "number"
    choices: tuple[str, ...] = ()

    @property
    def heading(self) -> str:
        """The title, and whether the scale is logarithmic."""
        return f"{self.title} (log scale)" if self.kind == "log" else self.title

    def numbers(self, values: pd.Series) -> pd.Series:
        """Where the values lie on the axis; NaN where the name does not apply."""
        if self.kind == "choice":
            places = {choice: float(place) for place, choice in enumerate(self.choices)}
            return values.map(_choice, na_action=None).map(places).astype(float)
        known = values.astype(float)
        return known.where(known > 0).map(math.log10, na_action="ignore") if self.kind == "log" else known

    def has_cells(self, numbers: pd.Series) -> bool:
        """Whether the axis is of choices or of a few whole numbers, each of which takes the room of one."""
        known = numbers.dropna()
        if self.kind != "number" or known.empty:
            return self.kind == "choice"
        return bool((known % 1 == 0).all()) and float(known.max() - known.min()) < MOST_CELLS

    def spread(self, numbers: pd.Series, room: float = 0.6) -> pd.Series:
        """The numbers, and where they have cells, those of one cell side by side over `room` of it."""
        if not self.has_cells(numbers):
            return numbers
        # In the order of the rows, so that of trials what got better over the search leans upwards.
        turn = numbers.groupby(numbers).rank(method="first", pct=True)
        count = numbers.groupby(numbers).transform("size")
        return numbers + (turn - 0.5 - 0.5 / count) * room

    def ticks(self, numbers: pd.Series) -> tuple[list[float], list[str]]:
        """Where there are ticks among `numbers`, and what they say, as Plotly's markup."""
        if self.kind == "choice":
            return [float(place) for place in range(len(self.choices))], list(map(markup, self.choices))
        known = numbers.dropna()
        if known.empty:
            return [], []
        low, high = float(known.min()), float(known.max())
        places = _log_ticks(low, high) if self.kind == "log" else _even_ticks(low, high, known)
        return places, [_tick(10**place if self.kind == "log" else place) for place in places]


def metric_axis(name: str, values: pd.Series) -> Axis:
    """The axis of a metric, with its unit; a logarithmic one for a cost whose `values` differ widely."""
    log = name in schema.MINIMIZED and _is_wide(values.dropna())
    return Axis(name=name, title=schema.column(schema.TRIALS, name).label, kind="log" if log else "number")


def searched(results: Results, task: str | None = None) -> list[Axis]:
    """The names that the study searches, in the order of its file, in which its trials differ.

    A study without a file is judged by its trials: every name in which they differ.
    """
    trials = of_task(results.trials, task)
    space = results.study.get("space")
    entries: Mapping[str, Any] = space if isinstance(space, Mapping) else {}
    columns = {one.name: one for one in schema.CONFIG_COLUMNS}
    wanted = list(dict.fromkeys(_column(str(name)) for name in entries)) or [
        name for name in columns if name not in ("task", "seed")
    ]
    found = []
    for name in wanted:
        values = trials[name].dropna() if name in columns else pd.Series(dtype=object)
        if len(values.unique()) > 1:
            found.append(_axis(columns[name], values, entries.get(name)))
    return found


def _column(name: str) -> str:
    return "prox_parameters" if name.startswith("prox.") else name


def _axis(column: schema.Column, values: pd.Series, entry: Any) -> Axis:
    title = f"{column.name} ({column.unit})" if column.unit else column.name
    if str(column.type) in ("string", "bool"):
        return Axis(name=column.name, title=title, kind="choice", choices=_choices(values, entry))
    declared = isinstance(entry, Mapping) and ("int" in entry or "float" in entry)
    real = str(column.type) == "double"
    log = bool(entry.get("log")) if declared and isinstance(entry, Mapping) else real and _is_wide(values)
    return Axis(name=column.name, title=title, kind="log" if log and float(values.min()) > 0 else "number")


def _is_wide(values: pd.Series) -> bool:
    return len(values) > 0 and 0 < _WIDE * float(values.min()) <= float(values.max())


def _choices(values: pd.Series, entry: Any) -> tuple[str, ...]:
    """The choices in the file's order, then those that only trials have."""
    listed = entry.get("choice") if isinstance(entry, Mapping) else entry
    known = [_choice(value) for value in listed] if isinstance(listed, Sequence) and not isinstance(listed, str) else []
    there = sorted({str(_choice(value)) for value in values})
    return tuple(dict.fromkeys([*(name for name in known if name in there), *there]))


def _choice(value: Any) -> str | None:
    return None if missing(value) else number(value)


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with 3 or 2 and 5 times them where those are few; even steps of what spans less than that."""
    for steps in ((1,), (1, 3), (1, 2, 5)):
        ticks = [
            place
            for power in range(math.floor(low), math.ceil(high) + 1)
            for step in steps
            if low - 1e-9 <= (place := power + math.log10(step)) <= high + 1e-9
        ]
        if len(ticks) >= 3:
            return ticks
    values = pd.Series([10**low, 10**high])
    return [math.log10(tick) for tick in _even_ticks(float(values[0]), float(values[1]), values) if tick > 0]


def _even_ticks(low: float, high: float, known: pd.Series) -> list[float]:
    distinct = sorted({float(value) for value in known})
    if len(distinct) == 1 or (len(distinct) <= 8 and all(value.is_integer() for value in distinct) and high < 1e4):
        return distinct
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _tick(value: float) -> str:
    """A number short enough for an axis: 25.8M for 25771456."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= (size if size > 1e3 else 1e4):
            return f"{value / size:.3g}{letter}"
    return number(value)
