"""Writes a study's tables as it runs: a reader finds whole files only, and a crash loses the last moments at most.

A part appears whole or not at all, under a name that pyarrow's datasets, and so pandas, do not pass over. What a writer
is given never ends a study: a missing key becomes null; an unknown key or a value that does not fit its column is left
out, once logged, and the rest of the row is kept. With `strict` both are refused, which is what tests use. What the
disk refuses is raised as `OSError`; the rows then wait for the next flush.
"""

import logging
import math
import re
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from flowsearch.results import schema
from flowsearch.results.compaction import Parts
from flowsearch.storage import Store, store_at

_log = logging.getLogger(__name__)

_ID = re.compile(schema.TRIAL_ID)
_TRAINING_ONLY = frozenset({"phase", "kept", "so_far", "folds", "warnings"})
"""Keys of an epoch's record that belong elsewhere than in the table of epochs, or are written by name."""

_OF_TRIALS = (schema.TRIALS, schema.IMAGES, schema.PANELS)
"""Tables with a part for each trial, until they are merged."""

Row = Mapping[str, Any]


class Writer:
    """Appends to the tables of one study. One process writes at a time; any number read.

    `trial` may be called as often as a trial's state changes: the row of an attempt is replaced as a whole, and the
    rows of its earlier attempts go once the new one is there. Rows of trials that have not ended, and those of
    `epoch`, are collected and written at most every `flush_seconds` (`tick` does so when nothing comes); the row of a
    trial that has ended is written at once, as are the test images and panels of `final`. Where many small parts have
    come together they are merged (see `Parts`), and by `compact` all that there are.
    """

    def __init__(
        self,
        root: Path | str | Store,
        study: str | None = None,
        *,
        flush_seconds: float = 2.0,
        strict: bool = False,
    ) -> None:
        self.store = store_at(root) if isinstance(root, Path | str) else root
        self.study = study if study is not None else Path(self.store.where).resolve().name
        self._flush_seconds = flush_seconds
        self._strict = strict
        self._schemas = {table: schema.arrow_schema(table) for table in schema.TABLES}
        self._waiting: dict[str, list[dict[str, Any]]] = {schema.EPOCHS: [], schema.FOLDS: []}
        self._under_way: dict[str, tuple[int, dict[str, Any]]] = {}
        self._late: list[tuple[str, str, int, list[dict[str, Any]]]] = []
        """What was refused of trials that have ended: table, trial, attempt and rows."""
        self._flushed_at = -math.inf
        self._said: set[tuple[str, str]] = set()
        run = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}"
        self._parts = {
            table: Parts(self.store.at(table), table, run, by_trial=table in _OF_TRIALS) for table in schema.TABLES
        }
        self._attempts = {table: self._parts[table].attempts() for table in _OF_TRIALS}

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def trial(self, row: Row) -> None:
        """Write the row of a trial: `trial_id` and `attempt`, and whatever is known of the other columns by now."""
        trial_id, attempt = str(row["trial_id"]), int(row.get("attempt", 1))
        values = {"study": self.study, **row, "attempt": attempt}
        if row.get("status") in schema.ENDED:
            self._under_way.pop(trial_id, None)
            self._now(schema.TRIALS, trial_id, attempt, [values])
        else:
            self._under_way[trial_id] = attempt, values
        self.tick()

    def epoch(self, trial_id: str, attempt: int, record: Row) -> None:
        """Take one epoch's record of `training.run_trial` (phase `prior` or `train`), its folds with it."""
        base = {"study": self.study, "trial_id": trial_id, "attempt": attempt}
        scalars = {key: value for key, value in record.items() if key not in _TRAINING_ONLY}
        self._waiting[schema.EPOCHS].append(base | {"phase": record.get("phase")} | scalars)
        for fold in record.get("folds") or ():
            self._waiting[schema.FOLDS].append(base | {"epoch": record.get("epoch")} | dict(fold))
        self.tick()

    def final(self, trial_id: str, attempt: int, record: Row) -> None:
        """Write the test images' numbers and the panels of a trial's last record."""
        base = {"study": self.study, "trial_id": trial_id, "attempt": attempt}
        for table in (schema.IMAGES, schema.PANELS):
            rows = [base | dict(row) for row in record.get(table) or ()]
            if rows:
                self._now(table, trial_id, attempt, rows)
        self.tick()

    def flush(self) -> None:
        """Write what waits now: a part for each trial under way, and one for each table that has epochs."""
        while self._late:
            self._replace(*self._late[0], safe=True)
            del self._late[0]
        for trial_id, (attempt, values) in list(self._under_way.items()):
            self._replace(schema.TRIALS, trial_id, attempt, [values], safe=False)
            del self._under_way[trial_id]
        for table, rows in self._waiting.items():
            if rows:
                self._parts[table].add(self._to_arrow(table, rows))
                rows.clear()
        for parts in self._parts.values():
            parts.tick()
        self._flushed_at = time.monotonic()

    def close(self) -> None:
        """Write what waits. The writer may be used again."""
        self.flush()

    def compact(self) -> None:
        """Make few parts of many, for whoever reads the tables later. The writer may be used again."""
        for parts in self._parts.values():
            parts.compact()

    def tick(self) -> None:
        """Write what waits if it has waited long enough."""
        if time.monotonic() - self._flushed_at >= self._flush_seconds:
            self.flush()

    def _now(self, table: str, trial_id: str, attempt: int, rows: list[dict[str, Any]]) -> None:
        try:
            self._replace(table, trial_id, attempt, rows, safe=True)
        except OSError:
            self._late.append((table, trial_id, attempt, rows))
            raise

    def _replace(self, table: str, trial_id: str, attempt: int, rows: list[dict[str, Any]], *, safe: bool) -> None:
        if not _ID.fullmatch(trial_id):
            raise ValueError(f"a trial's id is letters, digits, dots and underscores, not {trial_id!r}")
        last = self._attempts[table].get(trial_id)
        if last is not None and attempt < last:
            _log.warning("%s: attempt %d of trial %s came after attempt %d; left out", table, attempt, trial_id, last)
            return
        # The row of a trial that goes on is replaced again and again.
        lasting = table != schema.TRIALS or rows[0].get("status") in schema.ENDED
        self._parts[table].put(trial_id, attempt, self._to_arrow(table, rows), safe=safe, lasting=lasting)
        self._attempts[table][trial_id] = attempt

    def _to_arrow(self, table: str, rows: list[dict[str, Any]]) -> pa.Table:
        arrow = self._schemas[table]
        for key in sorted({key for row in rows for key in row} - set(arrow.names)):
            self._say(table, key, f"{table} has no column {key}; its values are left out")
        columns = [self._column(table, field, [row.get(field.name) for row in rows]) for field in arrow]
        return pa.Table.from_arrays(columns, schema=arrow)

    def _column(self, table: str, field: pa.Field, values: list[Any]) -> pa.Array:
        try:
            return pa.array(values, type=field.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            kept = [value if _fits(value, field.type) else None for value in values]
            wrong = next(old for old, new in zip(values, kept, strict=True) if old is not new)
            self._say(
                table, field.name, f"{table}.{field.name} holds {field.type}, not {wrong!r}; such values are left out"
            )
            return pa.array(kept, type=field.type)

    def _say(self, table: str, key: str, message: str) -> None:
        if self._strict:
            raise ValueError(message)
        if (table, key) not in self._said:
            self._said.add((table, key))
            _log.warning("%s", message)


def _fits(value: Any, kind: pa.DataType) -> bool:
    try:
        pa.array([value], type=kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return False
    return True
