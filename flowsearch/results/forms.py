"""How numbers are written, for the terminal, the report, the paper's tables and the dashboard.

A column's form is the schema's (`Column.form`); `written` applies it. The dashboard's table, which is written in the
browser, has the same forms in `dashboard/assets/table.js`, and a figure's hover text those of `_HOVERED`.
"""

import math
from collections.abc import Callable
from typing import Any, Final

from flowsearch.results import schema

EMPTY: Final = "–"
"""What stands where a number is not known."""


def missing(value: Any) -> bool:
    """Whether a table's cell is empty: None, NaN, or what pandas has in their place."""
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas' NA, of which nobody knows whether it is itself
        return True


def number(value: Any) -> str:
    """A number with the digits that matter, a truth value in words, or a text; an empty cell is a dash."""
    if missing(value):
        return EMPTY
    if str(value) in ("True", "False"):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def fine(value: float) -> str:
    """A number of which small differences matter, such as a loss."""
    return f"{value:.4g}"


def decibels(value: float) -> str:
    """A PSNR to a hundredth of a dB."""
    return f"{value:.2f}"


def similarity(value: float) -> str:
    """An SSIM to a thousandth."""
    return f"{value:.3f}"


def whole(value: float) -> str:
    """A whole number, or a mean of some, with its thousands apart."""
    return f"{value:,.0f}"


def memory(size: float) -> str:
    """Bytes as MB or GB."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def duration(seconds: float) -> str:
    """Seconds as `4.2 s`, `47 s`, `3 min 20 s` or `2 h 05 min`; a dash where they are not finite."""
    if not math.isfinite(seconds):
        return EMPTY
    total = round(seconds)
    if total < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    return f"{total // 3600} h {total % 3600 // 60:02d} min"


def brief(seconds: float) -> str:
    """A time that may be short: `0.4 ms`, `12 ms`, and from a second on as `duration` has it."""
    if seconds >= 1:
        return duration(seconds)
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.00995 else f"{1000 * seconds:.2g} ms"


def moment(time: Any) -> str:
    """A date and time to the minute."""
    return str(time)[:16].replace("T", " ")


FORMS: Final[dict[str, Callable[[Any], str]]] = {
    form.__name__: form for form in (number, fine, decibels, similarity, whole, memory, duration, brief, moment)
}
"""By the name that the schema has."""
_HOVERED: Final = {"decibels": ".2f", "similarity": ".3f", "whole": ",.0f"}
"""The same as d3 writes it; others to four digits."""


def written(name: str, value: Any, *, unit: bool = False, empty: str = EMPTY) -> str:
    """A value of the column `name` of trials; `empty` where it is not known. A PSNR's `unit` only where asked for."""
    return empty if missing(value) else FORMS[form_of(name)](value) + (_unit(name) if unit else "")


def form_of(name: str) -> str:
    """The form of a column of trials; that of a plain number where the schema does not know the column."""
    try:
        return schema.column(schema.TRIALS, name).form
    except KeyError:
        return "number"


def hovered(name: str, axis: str, *, unit: bool = True) -> str:
    """The same in a hover text, of what a figure has on an `axis`: d3 writes it, in the figure's units."""
    return f"%{{{axis}:{_HOVERED.get(form_of(name), ',.4g')}}}" + (_unit(name) if unit else "")


def _unit(name: str) -> str:
    return " dB" if form_of(name) == "decibels" else ""


def signed(value: float) -> str:
    """A difference in dB with its sign."""
    return f"{value:+.2f}".replace("-", "−")


def interval_ends(low: float, high: float) -> str:
    """`+0.12 to +0.34`: an interval's ends in dB, with as many digits as show that an end is not zero."""
    ends = [end for end in (low, high) if abs(end) > 1e-6]
    digits = next((more for more in range(2, 6) if all(round(end, more) for end in ends)), 6)
    return f"{low:+.{digits}f} to {high:+.{digits}f}".replace("-", "−")


def p_value(p: float) -> str:
    """`p = 0.012`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
