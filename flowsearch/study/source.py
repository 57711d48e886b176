"""Reads YAML and remembers where each key stands, so that a mistake is named with its file and line."""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from flowsearch.checks import nearest
from flowsearch.study.parameter import KEYS
from flowsearch.training.prox_names import SEARCHED

Keys = tuple[str, ...]
"""A key's way down the file, e.g. `("space", "depth", "when")`."""

PROFILES = "profiles"
"""Where a file keeps its profiles: named sets of overrides, such as a small sister of a study at full size."""

_CHOOSING = ("fixed", "space")
"""A name of a trial stands in one of the two."""

_DEEPEST = 20
_MOST = 100_000
"""Values that a file has at most: aliases of aliases can stand for thousands of millions of them in ten lines."""

_YAML = {"None": "null", "True": "true", "False": "false"}
_PYTHON = re.compile(rf"\bnot ({'|'.join(_YAML)})\b")
"""What came, at the end of a rule that Python's configurations state, too."""


_IN_WORDS = {
    "found another document": "a file is one YAML document, and --- begins another; take it away, or make two files",
    r"character '\t'": "a tab begins here; lines are indented with spaces",
    "'<block mapping start>'": "this line is indented unlike the names beside it, which all begin in the same column",
    "cannot start any token": "no value begins with @, % or `; text that does stands in quotes",
    "mapping values are not allowed": "a colon where none can be; see that each name's has a space behind it (also in "
    "the line above), that names beside each other are indented alike, and that text with a colon stands in quotes",
}
"""What the reader's commonest complaints are about."""

_BRACKETS = "; see that each bracket is closed, and that each colon has a space behind it"


class StudyFileError(ValueError):
    """A study file, or a `--set` for it, that cannot be used: where, which rule, and what to do."""


class Source:
    """Plain values of a study file with a profile of its own and overrides applied, and where each key came from.

    An override that searches what the file fixes, or fixes what it searches, takes it from where it was;
    `space.NAME=null` takes it out of the search. A profile holds names as `--set` has them (`data.size: 32`) and their
    values. It names the study NAME-PROFILE, unless it gives a name itself.
    """

    def __init__(self, path: Path | str, text: str, sets: Iterable[str] = (), profile: str | None = None) -> None:
        self.path = path
        self._lines: dict[Keys, int] = {}
        self._sets: dict[Keys, str] = {}
        self._values = 0
        tree = self._parse(text)
        if tree is None:
            raise StudyFileError(
                f"{path} is empty; it holds names and their values, a study file at least a name and a space"
            )
        if not isinstance(tree, CommentedMap):
            raise StudyFileError(f"{path}, line 1: the file is a mapping of names to values, such as `name: my-study`")
        self.values: dict[str, Any] = self._plain(tree, ())
        self._choose(profile, self.values.pop(PROFILES, {}))
        for text_set in sets:
            self._override(text_set)

    def error(self, keys: Iterable[object], message: str) -> StudyFileError:
        """The error `message` about the value at `keys`, naming the line or the `--set` it came from."""
        way = tuple(str(key) for key in keys)
        message = _PYTHON.sub(lambda said: f"not {_YAML[said[1]]}", message)
        for length in range(len(way), -1, -1):
            place = way[:length]
            if place in self._sets:
                return StudyFileError(f"--set {self._sets[place]}: {message}")
            if place in self._lines:
                return StudyFileError(f"{self.path}, line {self._lines[place]}: {message}")
            for keys, text in self._sets.items() if place else ():
                if keys[:length] == place:
                    return StudyFileError(f"--set {text}: {message}")
            for keys, line in self._lines.items() if place else ():
                if keys[:length] == place:
                    return StudyFileError(f"{self.path}, line {line}: {message}")
        return StudyFileError(f"{self.path}: {message}")

    def _parse(self, text: str) -> Any:
        try:
            return YAML(typ="rt", pure=True).load(text)
        except DuplicateKeyError as error:
            mark = error.problem_mark
            line = "" if mark is None else f", line {mark.line + 1}"
            problem = str(error.problem).partition(" with value")[0].replace('"', "")
            raise StudyFileError(
                f"{self.path}{line}: {problem}; a name stands once, so remove one of the two"
            ) from None
        except MarkedYAMLError as error:
            mark, began = error.problem_mark or error.context_mark, error.context_mark
            line = "" if mark is None else f", line {mark.line + 1}"
            told = [error.problem or error.context]
            words = next((said for sign, said in _IN_WORDS.items() if sign in str(told[0])), None)
            if words is not None:
                told = [words]
            elif error.context and began is not None and mark is not None and began.line < mark.line:
                told.append(f"{error.context} that begins in line {began.line + 1}")
            hint = _BRACKETS if str(told[0]).startswith("expected ',' or") else ""
            raise StudyFileError(f"{self.path}{line}: not valid YAML: {', '.join(map(str, told))}{hint}") from None
        except (YAMLError, ValueError) as error:
            raise StudyFileError(f"{self.path}: not valid YAML: {str(error).splitlines()[0]}") from None

    def _plain(self, value: Any, way: Keys) -> Any:
        if len(way) > _DEEPEST:
            raise StudyFileError(f"{self.path}: {'.'.join(way[:4])}... is nested deeper than any study file is")
        self._values += 1
        if self._values > _MOST:
            raise StudyFileError(
                f"{self.path}: {way[0]} takes it beyond {_MOST:,} values, more than any study file has"
            )
        if isinstance(value, CommentedMap):
            for key in value:
                line = value.lc.data[key][0] + 1 if value.lc.data and key in value.lc.data else None
                if line is not None:
                    self._lines[(*way, str(key))] = line
                if not isinstance(key, str):
                    raise self.error((*way, str(key)), f"a name is text, not {key!r}")
            return {str(key): self._plain(item, (*way, str(key))) for key, item in value.items()}
        if isinstance(value, CommentedSeq):
            return [self._plain(item, (*way, str(index))) for index, item in enumerate(value)]
        if isinstance(value, TaggedScalar) or (value is not None and not isinstance(value, bool | int | float | str)):
            hint = "; text that reads as a date stands in quotes" if isinstance(value, date) else ""
            raise self.error(
                way, f"{'.'.join(way)} is text, a number, true, false, null, a list or a mapping, not {value}{hint}"
            )
        return _scalar(value)

    def _choose(self, chosen: str | None, profiles: Any) -> None:
        """Apply the profile `chosen`; that all of them have the right form is checked in any case."""
        if not isinstance(profiles, dict) or not all(isinstance(one, dict) for one in profiles.values()):
            raise self.error((PROFILES,), "profiles is a mapping of names to mappings, as {small: {data.size: 32}}")
        if chosen is None:
            return
        if chosen not in profiles:
            known = f"has {', '.join(profiles)}" if profiles else "has none"
            raise StudyFileError(f"--profile {chosen}: {self.path} {known}{nearest(chosen, profiles)}")
        self.values["name"] = f"{self.values.get('name')}-{chosen}"
        for name, value in profiles[chosen].items():
            source = (PROFILES, chosen, name)
            lines = {keys[3:]: line for keys, line in self._lines.items() if keys[:3] == source}
            way = self._put(tuple(name.split(".")), value, f"{self.path}, profile {chosen}: {name}")
            self._lines |= {(*way, *below): line for below, line in lines.items()}

    def _override(self, text: str) -> None:
        name, equals, value = text.partition("=")
        way = tuple(part.strip() for part in name.split("."))
        if not equals or not all(way):
            raise StudyFileError(f"--set {text}: expected NAME=VALUE, such as --set data.source=celeba")
        try:
            parsed = YAML(typ="safe", pure=True).load(value)
        except YAMLError:
            raise StudyFileError(f"--set {text}: {value!r} is not a YAML value") from None
        if not (parsed is None or isinstance(parsed, bool | int | float | str | list | dict)):
            parsed = value
        self._sets[self._put(way, parsed, f"--set {text}")] = text

    def _put(self, way: Keys, value: Any, origin: str) -> Keys:
        """Set the value at `way`, and return the way in names of the file."""
        if way[0] == PROFILES:
            raise StudyFileError(f"{origin}: a profile is chosen by --profile NAME, and changed in the file only")
        place: dict[str, Any] = self.values
        way = _joined(place, way)
        if way[:2] == ("space", "prox") and len(way) > 2 and way[2] not in KEYS:
            way = ("space", f"{SEARCHED}{way[2]}", *way[3:])  # a parameter of a map of one's own
        for depth, part in enumerate(way[:-1], 1):
            below = place.get(part)
            if below is None:
                below = place[part] = {}
            if not isinstance(below, dict):
                inside = f"{{{': {'.join(way[depth:])}: ...{'}' * (len(way) - depth)}"
                whole = f"{'.'.join(way[:depth])}={'[...]' if way[depth].isdigit() else inside}"
                raise StudyFileError(
                    f"{origin}: {part} holds {below!r}, so there is nothing named {way[depth]} in it; set it as a "
                    f"whole, {whole}"
                )
            place = below
        if value is None and way[:-1] == ("space",):
            if way[-1] not in place:
                raise StudyFileError(f"{origin}: space has no {way[-1]} to take out{nearest(way[-1], place)}")
            del place[way[-1]]
        else:
            place[way[-1]] = value
            self._take_from_the_other(way)
        self._lines = {keys: line for keys, line in self._lines.items() if keys[: len(way)] != way}
        return way

    def _take_from_the_other(self, way: Keys) -> None:
        """Of `fixed` and `space`, take the names put into the one out of the other; a task and `tasks` as well."""
        section = self.values[way[0]]
        if way == ("tasks",) and section is not None:
            put: Iterable[str] = ("task",)
        elif way[0] in _CHOOSING and isinstance(section, dict):
            put = way[1:2] or section
        else:
            return
        for other in _CHOOSING:
            if other != way[0] and isinstance(self.values.get(other), dict):
                for name in put:
                    self.values[other].pop(name, None)
        if way[0] != "tasks" and "task" in put:
            self.values.pop("tasks", None)


def _joined(values: dict[str, Any], way: Keys) -> Keys:
    """The way with what is one name of the file, dots and all (`space.prox.layers`), as one."""
    for length in range(len(way), 0, -1):
        name, rest = ".".join(way[:length]), way[length:]
        if name in values:
            below = values[name]
            return (name, *(_joined(below, rest) if isinstance(below, dict) else rest))
    return way


def _scalar(value: Any) -> Any:
    """A plain Python value for ruamel's round-trip scalars."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def dump(values: Mapping[str, Any]) -> str:
    """YAML text of plain values: sections in block style, what fits on a line in flow style."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 110
    stream = StringIO()
    yaml.dump(dict(values), stream)
    return stream.getvalue()
