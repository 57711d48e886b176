"""A study's folder, on disk or in an object store: its tables' store and its side files."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flowsearch.lazy import lazy
from flowsearch.results import schema
from flowsearch.storage import store_at

MARKS = frozenset((*schema.TABLES, schema.LEDGER, schema.STUDY_FILE, schema.PROVENANCE_FILE))
"""Any of these makes a folder a study's."""


class Stored:
    """The study at a path or URI. Raises ValueError where there is none."""

    def __init__(self, where: Path | str) -> None:
        self.where, self.store = str(where).rstrip("/"), store_at(where)
        names = self.store.names()
        if not names and not (isinstance(where, Path) and where.is_dir()):
            raise ValueError(f"a study is a folder with its tables; there is no folder {self.where}, or nothing in it")
        if MARKS.isdisjoint(names):
            raise ValueError(
                f"a study's folder holds {schema.STUDY_FILE} and {schema.TRIALS}/; {self.where} has neither. "
                "Name the study's own folder, such as results/quickstart"
            )

    @property
    def name(self) -> str:
        """What its study file says, or its folder's name."""
        return str(self.study[0].get("name") or _folders(self.where)[-1])

    @lazy
    def study(self) -> tuple[dict[str, Any], str]:
        """The resolved study file, empty where there is none, and what there is to say of it."""
        from ruamel.yaml import YAML, YAMLError

        try:
            value = YAML(typ="safe", pure=True).load(self.store.get(schema.STUDY_FILE).decode())
        except FileNotFoundError:
            return {}, ""
        except (YAMLError, UnicodeDecodeError):
            return {}, f"{schema.STUDY_FILE} is not readable YAML; shown without it"
        return dict(value) if isinstance(value, Mapping) else {}, ""

    @lazy
    def provenance(self) -> tuple[dict[str, Any], str]:
        """What the study noted of where it ran, empty where there is no such file, and what there is to say of it."""
        try:
            value = json.loads(self.store.get(schema.PROVENANCE_FILE))
        except FileNotFoundError:
            return {}, ""
        except ValueError:
            return {}, f"{schema.PROVENANCE_FILE} is not readable JSON; shown without it"
        return value if isinstance(value, dict) else {}, ""

    def text(self, name: str) -> str | None:
        """A text file in the folder; None where there is none."""
        try:
            return self.store.get(name).decode(errors="replace")
        except OSError:
            return None


def told_apart(studies: Sequence[Stored]) -> dict[str, Stored]:
    """The studies by name, with as many folders before it as it takes where two have the same one.

    Raises ValueError where one is given twice.
    """
    if len({one.where for one in studies}) < len(studies):
        raise ValueError(f"each study is given once, not {', '.join(one.where for one in studies)}")
    counts = Counter(one.name for one in studies)
    named: dict[str, Stored] = {}
    for one in studies:
        name = one.name
        if counts[name] > 1:
            own = _folders(one.where)
            others = [_folders(other.where) for other in studies if other is not one and other.name == name]
            depth = 1
            while any(own[-depth:] == other[-depth:] for other in others):
                depth += 1
            name = "/".join(own[-depth:])
        named[name] = one
    return named


def _folders(where: str) -> list[str]:
    path = where.partition("?")[0]
    return [part for part in (path if "://" in path else Path(path).resolve().as_posix()).split("/") if part]
