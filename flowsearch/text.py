"""A task, or a proximal map of one's own, as text: `head(name=value,...)`, and back.

Values are those of JSON; simple words need no quotes. `what` is what an error calls it: `task`, `prox`.
"""

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

from flowsearch.parts import PART

_NUMBER = r"\d+(?:\.\d+)?(?:e-?\d+)?"
_HEAD = re.compile(rf"\s*({PART}|[A-Za-z_]\w*)\s*(?:-({_NUMBER})|\((.*)\))?\s*", re.DOTALL)
_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*")
_WORD = re.compile(r"[A-Za-z_][\w./-]*")
_JSON_WORDS = ("true", "false", "null", "NaN", "Infinity")


def split(text: str, what: str) -> tuple[str, Any, dict[str, Any] | None] | None:
    """The head, the number after a dash (or None) and the values in brackets (or None); None where there is no head.

    Raises ValueError where what stands in the brackets is no list of `name=value`.
    """
    match = _HEAD.fullmatch(text)
    if match is None:
        return None
    head, number, inside = match.groups()
    return (
        head,
        None if number is None else json.loads(number),
        None if inside is None else _values(f"{what} {text}", inside),
    )


def join(head: str, values: Mapping[str, Any]) -> str:
    """The text of a head and its values, from which `split` reads the same."""
    inside = ",".join(f"{name}={_show(value)}" for name, value in values.items())
    return f"{head}({inside})" if inside else head


def check_parameters(what: str, values: Mapping[Any, Any]) -> None:
    """Refuse parameters of a part of one's own that the text cannot hold; `what` names the part, `task mylab:Radon`."""
    for name, value in values.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"{what}: a parameter's name is a word such as angles, not {name!r}")
        if not _writable(value):
            raise ValueError(
                f"{what}: {name} is text, true, false, null, a finite number or a list of such, not {value!r}"
            )


def _writable(value: object) -> bool:
    """Whether the text can hold `value`."""
    if isinstance(value, list):
        return all(map(_writable, value))
    return value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and isfinite(value))


def _values(whole: str, inside: str) -> dict[str, Any]:
    decoder = json.JSONDecoder(parse_constant=_refuse)
    values: dict[str, Any] = {}
    place = 0
    while inside[place:].strip():
        named = _NAME.match(inside, place)
        if named is None or named[1] in values:
            what = f"{named[1]} stands twice" if named else f"not {inside[place:].strip()!r}"
            raise ValueError(f"{whole}: in the brackets stand NAME=VALUE with commas between; {what}")
        word = _WORD.match(inside, named.end())
        try:
            if word and word[0] not in _JSON_WORDS:
                value, place = word[0], word.end()
            else:
                value, place = decoder.raw_decode(inside, named.end())
        except ValueError:
            raise ValueError(
                f"{whole}: {named[1]} is a number, true, false, null or text (in double quotes, unless it is one "
                f"word), not {inside[named.end() :]!r}"
            ) from None
        values[named[1]] = value
        rest = inside[place:].lstrip()
        if rest and not rest.startswith(","):
            raise ValueError(f"{whole}: a comma stands between two values, not {rest!r}")
        place = len(inside) - len(rest) + 1
    return values


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _show(value: Any) -> str:
    if isinstance(value, str) and _WORD.fullmatch(value) and value not in _JSON_WORDS:
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
