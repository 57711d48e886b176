"""What may change in the file of a study that has begun: only what spoils none of its results."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowsearch.study.sections import Study

_FREE = ("budget.", "resources.", "failures.")
"""Sections that decide how a study is run, and nothing of what its trials find."""


@dataclass(frozen=True)
class Change:
    """A name of the study file with its old and its new value."""

    name: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.name}: {_text(self.old)}, now {_text(self.new)}"

    @property
    def override(self) -> str:
        """The change as `--set` takes it."""
        return f"{self.name}={_text(self.new)}"


def changes(old: Study, new: Study) -> list[Change]:
    """What differs, name by name. An open `search.window` differs from none: the study keeps the one it has."""
    before, now = dict(_flat(old.to_dict())), dict(_flat(new.to_dict()))
    if now.get("search.window") is None:
        now["search.window"] = before.get("search.window")
    names = [*before, *(name for name in now if name not in before)]
    return [Change(name, before.get(name), now.get(name)) for name in names if before.get(name) != now.get(name)]


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """What differs between a trial's configuration as it was planned and as the study file gives it now.

    Names that only one of them has are of another version of flowsearch, and say nothing.
    """
    before, after = (dict(_flat(json.loads(json.dumps(values)))) for values in (then, now))
    names = [name for name in before if name in after]
    return [Change(name, before[name], after[name]) for name in names if before[name] != after[name]]


def unsafe(found: list[Change], planned: int) -> list[Change]:
    """Those that would mix results that cannot be compared, or drop some of the `planned` trials."""
    return [one for one in found if not (one.name.startswith(_FREE) or _more_trials(one, planned))]


def _more_trials(change: Change, planned: int) -> bool:
    return change.name == "search.trials" and change.new >= min(change.old, planned)


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _text(value: Any) -> str:
    return json.dumps(value)
