"""A table's part files: how they are called, what is in one, and how rows become one.

A part is never rewritten, and none is appended to. Small parts are merged in time: a merged part is written whole and
names those that it `replaces`, which then go. Until they have gone they are passed over, and no name is used again for
other rows; so whatever is read at any instant holds each row once.
"""

import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flowsearch.results import schema

REPLACES_KEY = b"flowsearch.replaces"
"""A merged part's metadata: the names of the parts whose rows it holds, as JSON."""

_MERGED = "merged-"
_PART = "part-"
_OF_TRIAL = re.compile(rf"(?P<trial>{schema.TRIAL_ID})-(?P<attempt>\d+)(-.+)?\.parquet")

_FEW_ROWS = 64
_GROUP_ROWS = 100_000
_GROUP_BYTES = 16 * 2**20
"""Rows and bytes of a row group, at most: large enough to read a column quickly, small enough to share among cores."""


def rows_name(run: str, number: int) -> str:
    """What the part with rows of many trials is called."""
    return f"{_PART}{run}-{number:06d}.parquet"


def merged_name(run: str, number: int) -> str:
    """What a merged part is called."""
    return f"{_MERGED}{run}-{number:06d}.parquet"


def trial_name(trial_id: str, attempt: int, run: str = "") -> str:
    """What the part of a trial's attempt is called; with `run` where one without has been merged before."""
    return f"{trial_id}-{attempt}{f'-{run}' if run else ''}.parquet"


def trial_of(name: str) -> tuple[str, int] | None:
    """The trial and the attempt that a part is of; None for a part of many."""
    found = None if name.startswith((_MERGED, _PART)) else _OF_TRIAL.fullmatch(name)
    return None if found is None else (found["trial"], int(found["attempt"]))


def is_merged(name: str) -> bool:
    """Whether a part was made of others."""
    return name.startswith(_MERGED)


def in_order(names: Iterable[str]) -> list[str]:
    """The parts in the order in which they count: of two rows of the same attempt, the later one."""
    parts = (name for name in names if name.endswith(".parquet") and not name.startswith(("_", ".")))
    return sorted(parts, key=lambda name: (not is_merged(name), name))


def to_bytes(rows: pa.Table, table: str, instead: Iterable[str] = ()) -> bytes:
    """The content of a part, merged where it is there `instead` of others."""
    named = sorted(instead)
    if named:
        rows = rows.replace_schema_metadata((rows.schema.metadata or {}) | {REPLACES_KEY: json.dumps(named).encode()})
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, **_layout(rows, table))
    return buffer.getvalue()


def _layout(rows: pa.Table, table: str) -> dict[str, Any]:
    # In a file of a few rows, dictionaries, statistics and compression cost a reader five times the time.
    if rows.num_rows < _FEW_ROWS:
        return {"compression": "none", "use_dictionary": False, "write_statistics": False}
    fitting = int(rows.num_rows * _GROUP_BYTES / max(1, rows.nbytes))
    text = [one.name for one in schema.TABLES[table] if one.type == pa.string()]
    # A PNG is compressed as it is.
    packed = {one.name: "none" if one.type == pa.binary() else "zstd" for one in schema.TABLES[table]}
    return {"compression": packed, "use_dictionary": text, "row_group_size": max(1, min(_GROUP_ROWS, fitting))}


@dataclass(frozen=True)
class Part:
    """A part file's rows, with the schema's columns, or why there are none."""

    name: str
    rows: pa.Table | None = None
    version: int = schema.VERSION
    replaces: frozenset[str] = frozenset()
    problem: str = ""

    @property
    def known(self) -> bool:
        """Whether all of it can be kept in a new part: a newer flowsearch's columns could not."""
        return self.rows is not None and self.version <= schema.VERSION


def part_of(name: str, content: bytes | OSError, table: str) -> Part:
    """The part with this content."""
    try:
        if isinstance(content, OSError):
            raise content
        # Threads cost more than they bring where there is one row.
        arrow = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=is_merged(name))
    except (pa.ArrowException, OSError, ValueError) as error:
        return Part(name, problem=f"cannot be read ({_line(error)})")
    metadata = arrow.schema.metadata or {}
    version = schema.version_of(metadata)
    if version is None or metadata.get(schema.TABLE_KEY) != table.encode():
        return Part(name, problem="is not a part that flowsearch wrote")
    try:
        return Part(name, _conform(arrow, schema.arrow_schema(table)), version, replaces(metadata))
    except (pa.ArrowException, ValueError) as error:
        return Part(name, problem=f"does not fit the table ({_line(error)})")


def replaces(metadata: dict[Any, Any] | None) -> frozenset[str]:
    """The names of the parts that a merged one stands for, by its metadata."""
    try:
        return frozenset(map(str, json.loads((metadata or {}).get(REPLACES_KEY, b"[]"))))
    except (ValueError, TypeError):
        return frozenset()


def _conform(arrow: pa.Table, wanted: pa.Schema) -> pa.Table:
    """`arrow` with exactly the wanted columns: missing ones null, unknown ones dropped."""
    if arrow.schema.equals(wanted):
        return arrow.replace_schema_metadata(wanted.metadata)
    names = set(arrow.column_names)
    columns = [
        arrow.column(field.name).cast(field.type) if field.name in names else pa.nulls(arrow.num_rows, field.type)
        for field in wanted
    ]
    return pa.table(columns, schema=wanted)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
