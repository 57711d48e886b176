"""Keeps a table's parts few while it grows: small ones are merged, rows that a later attempt replaced go.

Whatever dies at whatever instant, no row is lost, and none is there twice for `flowsearch.load`: a merged part is
there, whole and on the disk, before those that it replaces go, and says which they are. Other readers may see rows
twice for the moment in between; where a writer was killed just then, until the next one opens the table or merges it.
"""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flowsearch.results import parts
from flowsearch.results.rows import settled
from flowsearch.storage import Store

_log = logging.getLogger(__name__)

_MANY = 64
"""Small parts that are merged while a study runs: a reader takes over a millisecond for each."""

_FULL_BYTES = 64 * 2**20
"""Parts are merged up to this size, so that it neither takes long nor needs much memory; half of it is left alone."""

_GROWTH = 4
"""While a study runs, merged parts of up to so many times the small ones' size are merged with them. So each row is
written again a few times only, and there are few parts of each size."""


@dataclass(frozen=True)
class _Place:
    """Where a trial's rows are."""

    name: str
    attempt: int


class Parts:
    """The parts of one table, in the hands of its only writer. Raises OSError where the disk refuses.

    `by_trial` says that each trial has a part of its own until it is merged, as in `put_trial`.
    """

    def __init__(self, store: Store, table: str, run: str, *, by_trial: bool) -> None:
        self._store, self._table, self._run, self._by_trial = store, table, run, by_trial
        self._sequence = 0
        self._many = _MANY
        self._small: dict[str, int] = {}
        """Bytes of each part that may be merged."""
        self._merged: dict[str, int] = {}
        self._of: dict[str, _Place] = {}
        self._over: set[str] = set()
        """Parts that others stand for, and that are still to be removed."""
        store.prepare()
        self._look()

    def attempts(self) -> dict[str, int]:
        """The last attempt of each trial that has a part or is in one."""
        return {trial: place.attempt for trial, place in self._of.items()}

    def add(self, rows: pa.Table) -> None:
        """Write rows of whichever trials as a part."""
        self._put(parts.rows_name(self._run, self._next()), rows, safe=False)

    def put(self, trial_id: str, attempt: int, rows: pa.Table, *, safe: bool, lasting: bool = True) -> None:
        """Write the part of a trial's attempt; its earlier rows go.

        One that is `lasting`, and not soon written again, may be merged from now on.
        """
        place, name = self._of.get(trial_id), parts.trial_name(trial_id, attempt)
        if place is not None and place.attempt == attempt:
            name = place.name
            if parts.is_merged(name):  # its own name is not used again
                name = parts.trial_name(trial_id, attempt, f"{self._run}-{self._next():06d}")
        self._put(name, rows, safe=safe)
        if not lasting:
            del self._small[name]
        self._settle(trial_id, _Place(name, attempt))

    def tick(self) -> None:
        """Merge the small parts if there are many."""
        if len(self._small) < self._many:
            return
        bound = _GROWTH * sum(self._small.values())
        try:
            self._merge([*(name for name, size in self._merged.items() if size <= bound), *self._small])
            self._many = _MANY
        except OSError as error:
            self._many = 2 * len(self._small)
            _log.warning("%s: the small parts could not be merged (%s); they stay", self._table, error)

    def compact(self) -> None:
        """Merge all parts that are not full."""
        self._merge([*(name for name, size in self._merged.items() if size < _FULL_BYTES / 2), *self._small])

    def _look(self) -> None:
        """Take up the parts that are there already, and remove what a writer that was killed had merged."""
        names = parts.in_order(self._store.names())
        held = {name: self._opened(name) for name in names if parts.is_merged(name)}
        over = {name for replaces, _ in held.values() for name in replaces} & set(names)
        self._drop(over)
        for name in names:
            if name in over:
                continue
            if name in held:
                self._lie_in(name, held[name][1])
                continue
            self._small[name] = 0
            trial = parts.trial_of(name)
            if trial is not None:
                self._note(trial[0], _Place(name, trial[1]))

    def _opened(self, name: str) -> tuple[frozenset[str], pa.Table | None]:
        """Which parts a merged one replaces, and its trials and their attempts."""
        try:
            with self._store.open(name) as file:
                size, merged = file.seek(0, 2), pq.ParquetFile(file)
                rows = merged.read(["trial_id", "attempt"]) if self._by_trial else None
                replaces = parts.replaces(merged.schema_arrow.metadata)
        except (pa.ArrowException, OSError, ValueError):
            return frozenset(), None  # whoever reads the table says so
        self._merged[name] = size
        return replaces, rows

    def _put(self, name: str, rows: pa.Table, *, safe: bool, instead: Iterable[str] = ()) -> None:
        content = parts.to_bytes(rows, self._table, instead)
        self._store.put(name, content, safe=safe)
        (self._merged if parts.is_merged(name) else self._small)[name] = len(content)

    def _note(self, trial_id: str, place: _Place, instead: Collection[str] = ()) -> None:
        """Note where a trial's rows are, unless later ones are elsewhere; those of the parts `instead` are not."""
        before = self._of.get(trial_id)
        if before is None or before.name in instead or before.attempt <= place.attempt:
            self._of[trial_id] = place

    def _settle(self, trial_id: str, place: _Place) -> None:
        """A trial's rows are there now: the part that they were in before goes, or is written without them."""
        before, self._of[trial_id] = self._of.get(trial_id), place
        if before is not None and before.name != place.name:
            if parts.is_merged(before.name):
                self._write_without(trial_id, before.name)
            else:
                self._drop([before.name])

    def _write_without(self, trial_id: str, name: str) -> None:
        part = parts.part_of(name, self._store.get(name), self._table)
        if part.rows is None or not part.known:
            return
        others = part.rows.filter(pc.not_equal(part.rows["trial_id"], pa.scalar(trial_id)))
        self._replace([name], others)

    def _merge(self, names: Collection[str]) -> None:
        """Merge these parts, into several where they are large."""
        if len(names) < 2:
            return
        group: list[parts.Part] = []
        size = 0
        for name, content in self._store.fetch(parts.in_order(names)):
            part = parts.part_of(name, content, self._table)
            if part.rows is None or not part.known:
                self._small.pop(name, None)  # it stays as it is, and whoever reads the table says so
                continue
            group.append(part)
            size += 0 if isinstance(content, OSError) else len(content)
            if size >= _FULL_BYTES:
                self._merge_group(group)
                group, size = [], 0
        self._merge_group(group)

    def _merge_group(self, group: Collection[parts.Part]) -> None:
        if len(group) > 1:
            rows = settled(pa.concat_tables(part.rows for part in group if part.rows is not None), self._table)
            self._replace([part.name for part in group], rows)

    def _replace(self, names: Collection[str], rows: pa.Table) -> None:
        """Write rows as a merged part in place of these parts, which it holds all that counts of."""
        self._sweep()
        name = parts.merged_name(self._run, self._next())
        if rows.num_rows:
            self._put(name, rows, safe=True, instead={*names, *self._over})
            self._lie_in(name, rows, names)
        self._drop(names)

    def _lie_in(self, name: str, rows: pa.Table | None, instead: Collection[str] = ()) -> None:
        """Note which trials have their rows in a merged part, no longer in those that it is `instead` of."""
        if self._by_trial and rows is not None:
            for row in rows.group_by("trial_id").aggregate([("attempt", "max")]).to_pylist():
                self._note(row["trial_id"], _Place(name, row["attempt_max"]), instead)

    def _drop(self, names: Iterable[str]) -> None:
        for name in names:
            self._small.pop(name, None)
            self._merged.pop(name, None)
            self._over.add(name)
        self._sweep()

    def _sweep(self) -> None:
        """Remove what others stand for; what the disk refuses to remove is passed over, and tried again."""
        try:
            self._store.remove(sorted(self._over))
            self._over.clear()
        except OSError as error:
            _log.warning("%s: merged parts could not be removed (%s)", self._table, error)

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence
