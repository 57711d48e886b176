"""Reads one table of a study from its part files, whatever else lies in the folder, and while others write into it.

Everything that was left out is said: each function returns what it read and the sentences that name what it could not.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from flowsearch.results import parts, schema
from flowsearch.results.parts import Part, part_of
from flowsearch.results.rows import settled
from flowsearch.storage import Store

_TRIES = 20
_DTYPES = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
"""Whole numbers and truth values stay what they are beside a null."""


def read_tables(
    studies: Mapping[str, Store], table: str, trials: Collection[str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """All rows of `table` of the studies, each once, and what could not be read; with `trials`, the rows of those only.

    Of several studies, the names of `studies` stand in the column `study` and before each `trial_id`.
    """
    found, notes = [], []
    for name, store in studies.items():
        before = f"{name}/" if len(studies) > 1 else ""
        own = None if trials is None else {one.removeprefix(before) for one in trials if one.startswith(before)}
        arrow, said = read_arrow(store, table, own)
        if len(studies) > 1:
            arrow, said = _named(arrow, name), [f"{name}: {note}" for note in said]
        found.append(arrow)
        notes += said
    return pa.concat_tables(found).to_pandas(types_mapper=_DTYPES.get), notes


def _named(arrow: pa.Table, study: str) -> pa.Table:
    own: Any = arrow.column("trial_id")
    ids = pc.binary_join_element_wise(study, own, "/")
    for name, values in (("study", pa.repeat(study, arrow.num_rows)), ("trial_id", ids)):
        place = arrow.schema.get_field_index(name)
        arrow = arrow.set_column(place, arrow.schema.field(place), values)
    return arrow


def read_arrow(store: Store, table: str, trials: Collection[str] | None = None) -> tuple[pa.Table, list[str]]:
    """All rows of `table` of the study at `store`, or those of `trials`, and what could not be read."""
    read, notes = _read(store.at(table), table, trials)
    notes += [f"{table}/{part.name} {part.problem}; left out" for part in read if part.problem]
    notes += _of_other_versions(read, table)
    rows = [part.rows for part in read if part.rows is not None]
    return settled(pa.concat_tables(rows), table) if rows else schema.arrow_schema(table).empty_table(), notes


def _read(folder: Store, table: str, trials: Collection[str] | None) -> tuple[list[Part], list[str]]:
    """The parts that count, in order, and what is to be said of the folder.

    With `trials` each part's rows of others go as soon as it is read, and parts of one other trial are not read at all:
    the pictures of a whole study need not fit into memory.

    Parts may be merged meanwhile. What was read is whole if all that was listed is there still, or was passed over, and
    no merged part has come. Else only what is new, or could not be read, is read, so that a slow reader catches up with
    the writer.
    """
    read: dict[str, Part] = {}

    def fetch(more: Iterable[str]) -> None:
        for name, content in folder.fetch([name for name in more if name not in read]):
            if not isinstance(content, FileNotFoundError):
                read[name] = _only(part_of(name, content, table), trials)

    for _ in range(_TRIES):
        names = folder.names()
        wanted = [name for name in parts.in_order(names) if trials is None or _may_hold(name, trials)]
        failed = {name for name, part in read.items() if part.problem}
        for name in (read.keys() - {*wanted}) | failed:
            del read[name]
        merged = [name for name in wanted if parts.is_merged(name)]
        fetch(merged)
        passed = {name for one in merged if one in read for name in read[one].replaces}
        rest = [name for name in wanted if name not in passed and name not in merged]
        fetch(rest)
        now = set(folder.names() if wanted else names)
        chosen = [name for name in (*merged, *rest) if name not in passed]
        if read.keys() >= {*chosen} <= now and {*merged} >= {name for name in now if parts.is_merged(name)}:
            notes = []
            break
    else:
        notes = [f"{table} changes faster than it is read; rows may be missing, so load it again"]
    known = parts.in_order(names)
    strangers = [name for name in names if name not in known and not name.startswith("_")]
    notes += [f"{table}/{name} is no part of the table; left out" for name in strangers]
    return [read[name] for name in chosen if name in read], notes


def _may_hold(name: str, trials: Collection[str]) -> bool:
    """Whether the part of that name may have rows of `trials`."""
    of = parts.trial_of(name)
    return of is None or of[0] in trials


def _only(part: Part, trials: Collection[str] | None) -> Part:
    """The part with its rows of `trials` alone."""
    if trials is None or part.rows is None:
        return part
    inside: Any = pc.is_in(part.rows.column("trial_id"), value_set=pa.array(sorted(trials), pa.string()))
    return replace(part, rows=part.rows.filter(inside))


def _of_other_versions(read: Iterable[Part], table: str) -> list[str]:
    """A sentence for the older parts, and one for the newer ones."""
    notes = []
    of_us = [part for part in read if part.rows is not None]
    older = [part for part in of_us if part.version < schema.VERSION]
    newer = [part for part in of_us if part.version > schema.VERSION]
    for found, what in (
        (older, f"older than {schema.VERSION}: columns that it lacks are empty"),
        (newer, f"newer than {schema.VERSION}: columns that this flowsearch does not know are left out; update it"),
    ):
        if found:
            others = f" and {len(found) - 1} more" if len(found) > 1 else ""
            version = ", ".join(map(str, sorted({part.version for part in found})))
            notes.append(f"{table}/{found[0].name}{others} has schema version {version}, {what}")
    return notes
