"""Merged parts: few files, every row once, whoever reads meanwhile and whenever the writer is killed."""

import errno
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from killed import Killed, Killing
from made_up import epoch_record, make_study
from pandas.testing import assert_frame_equal

from flowsearch.results import Writer, compaction, load, schema
from flowsearch.results.rows import ROW_OF, settled
from flowsearch.results.tables import read_arrow
from flowsearch.storage import Folder, store_at

TABLES = list(schema.TABLES)


def frames(study: Path) -> dict[str, pd.DataFrame]:
    results = load(study)
    return {table: getattr(results, table) for table in TABLES}


def same(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    for table in TABLES:
        assert_frame_equal(one[table], other[table])


def plain(study: Path, table: str) -> pd.DataFrame:
    """The table as pandas alone reads it, in the reader's order and types."""
    frame = pd.read_parquet(study / table).sort_values(ROW_OF[table], ignore_index=True)
    return frame.astype(getattr(load(study), table).dtypes.to_dict())


@pytest.mark.parametrize("table", TABLES)
def test_one_file_a_table_with_the_same_rows(table: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=9)
    before = getattr(load(study), table)
    Writer(study, flush_seconds=0).compact()
    assert len(list((study / table).iterdir())) == 1
    assert_frame_equal(getattr(load(study), table), before)
    assert_frame_equal(plain(study, table), before)


def test_a_merged_part_keeps_meaning_unit_table_and_version(tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=9, compacted=True)
    (part,) = (study / "trials").iterdir()
    found = pq.read_schema(part)
    assert found.field("peak_memory_bytes").metadata == {b"about": b"peak memory", b"unit": b"bytes"}
    assert schema.version_of(found.metadata) == schema.VERSION


def test_row_groups_are_small_enough_to_share_among_cores(tmp_path: Path) -> None:
    with Writer(tmp_path, flush_seconds=60) as writer:
        for trial in range(3):
            for epoch in range(1, 101):
                writer.epoch(f"{trial:04d}", 1, epoch_record(epoch, folds=500))
    writer.compact()
    (part,) = (tmp_path / "folds").iterdir()
    metadata = pq.read_metadata(part)
    assert metadata.num_rows == 150_000
    assert max(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)) == 100_000


@pytest.mark.parametrize("writers", ["the same writer", "a new writer"])
def test_a_retry_beside_merged_parts_leaves_one_row_a_trial(writers: str, tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=9, compacted=True)
    before = load(study).trials
    writer = Writer(study, flush_seconds=0)
    for attempt, status in ((2, "running"), (2, "failed"), (3, "running"), (3, "completed")):
        if writers == "a new writer":
            writer.compact()
            writer = Writer(study, flush_seconds=0)
        writer.trial({"trial_id": "0003", "attempt": attempt, "status": status})
        frame = plain(study, "trials")
        assert frame.loc[3, ["attempt", "status"]].tolist() == [attempt, status]
        assert_frame_equal(frame.drop(index=3), before.drop(index=3), check_dtype=False)
    writer.compact()
    assert len(list((study / "trials").iterdir())) == 1
    assert plain(study, "trials").loc[3, "status"] == "completed"


def test_a_row_of_the_same_attempt_after_the_merge_wins(tmp_path: Path) -> None:
    writer = Writer(tmp_path, flush_seconds=0)
    for number in range(3):
        writer.trial({"trial_id": f"{number:04d}", "attempt": 1, "status": "interrupted"})
    writer.compact()
    for status in ("running", "completed"):
        writer.trial({"trial_id": "0001", "attempt": 1, "status": status})
        expected = ["interrupted", status, "interrupted"]
        assert load(tmp_path).trials["status"].tolist() == expected
        assert plain(tmp_path, "trials")["status"].tolist() == expected
        assert Writer(tmp_path) is not None  # which looks what is there, and removes nothing of it
        assert load(tmp_path).trials["status"].tolist() == expected


def test_epochs_of_a_resumed_trial_are_once_in_a_merged_part(tmp_path: Path) -> None:
    for attempt, epochs in ((1, [1, 2, 3, 4]), (2, [4, 5, 6]), (3, [3, 4])):
        with Writer(tmp_path, flush_seconds=0, strict=True) as writer:
            for epoch in epochs:
                writer.epoch("0000", attempt, epoch_record(epoch, folds=2))
        if attempt > 1:
            writer.compact()
    expected = [(1, 1), (2, 1), (3, 3), (4, 3)]
    for frame in (load(tmp_path).epochs, plain(tmp_path, "epochs")):
        assert list(zip(frame["epoch"], frame["attempt"], strict=True)) == expected
    assert len(plain(tmp_path, "folds")) == 8


def test_a_long_study_keeps_few_parts_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "_MANY", 8)
    writer = Writer(tmp_path, flush_seconds=0)
    running = {"trial_id": "9999", "attempt": 1, "status": "running"}
    for number in range(80):
        writer.trial({"trial_id": f"{number:04d}", "attempt": 1, "status": "completed"})
        writer.epoch(f"{number:04d}", 1, epoch_record(1))
        writer.trial(running | {"val_psnr": float(number)})
        for table in ("trials", "epochs", "folds"):
            assert len(list((tmp_path / table).iterdir())) <= 8 + 5
    assert pd.read_parquet(tmp_path / "trials")["val_psnr"].max() == 79
    assert len(load(tmp_path).trials) == 81
    assert len(pd.read_parquet(tmp_path / "epochs")) == 80


def test_a_full_part_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(tmp_path / "s", trials=9)
    before = frames(study)
    monkeypatch.setattr(compaction, "_FULL_BYTES", 60_000)
    Writer(study, flush_seconds=0).compact()
    full = {path.name: path.stat().st_mtime_ns for path in (study / "panels").iterdir()}
    assert len(full) > 2
    assert all(path.stat().st_size >= 30_000 for path in sorted((study / "panels").iterdir())[:-1])
    same(frames(study), before)
    Writer(study, flush_seconds=0).compact()
    now = {path.name: path.stat().st_mtime_ns for path in (study / "panels").iterdir()}
    assert now == full


def _foreign(folder: Path) -> None:
    pq.write_table(pa.table({"apples": [1]}), folder / "0042-1.parquet")


def _torn(folder: Path) -> None:
    (folder / "0042-1.parquet").write_bytes(b"PAR1 torn")


def _newer(folder: Path) -> None:
    metadata = {schema.TABLE_KEY: b"trials", schema.VERSION_KEY: b"99"}
    rows = schema.arrow_schema("trials").empty_table().append_column("flavour", pa.array([], pa.string()))
    pq.write_table(rows.replace_schema_metadata(metadata), folder / "0042-1.parquet")


@pytest.mark.parametrize("stranger", [_foreign, _torn, _newer])
def test_what_cannot_be_merged_stays_and_is_still_said(stranger: Callable[[Path], None], tmp_path: Path) -> None:
    study = make_study(tmp_path / "s", trials=4)
    stranger(study / "trials")
    content = (study / "trials" / "0042-1.parquet").read_bytes()
    Writer(study, flush_seconds=0).compact()
    assert (study / "trials" / "0042-1.parquet").read_bytes() == content
    assert len(list((study / "trials").iterdir())) == 2
    with pytest.warns(UserWarning, match="0042-1"):
        assert len(load(study).trials) == 4


def _retried(writer: Writer) -> None:
    for number in (1, 2):
        writer.trial({"trial_id": f"{number:04d}", "attempt": 2, "status": "completed"})


def _ended_again(writer: Writer) -> None:
    writer.trial({"trial_id": "0001", "attempt": 1, "status": "completed"})


_DEEDS: dict[str, Callable[[Writer], None]] = {
    "merges": Writer.compact,
    "retries": _retried,
    "writes the same attempt again": _ended_again,
}


@pytest.mark.parametrize("before", ["small parts", "a merged part", "both"])
@pytest.mark.parametrize("deed", _DEEDS)
def test_killed_at_any_change_no_row_is_lost_and_none_is_twice(deed: str, before: str, tmp_path: Path) -> None:
    steps, over = 0, False
    while not over:
        study = tmp_path / str(steps)
        with Writer(study, flush_seconds=0) as writer:
            for number in range(4):
                if number == 3 and before != "small parts":
                    writer.compact()
                writer.trial({"trial_id": f"{number:04d}", "attempt": 1, "status": "interrupted", "index": number})
                writer.epoch(f"{number:04d}", 1, epoch_record(1))
        if before == "a merged part":
            writer.compact()
        known = frames(study)
        Killing.steps = 1_000_000
        writer = Writer(Killing(study), flush_seconds=60)
        writer.flush()
        Killing.steps = steps
        try:
            _DEEDS[deed](writer)
            over = True
        except Killed:
            pass
        found = load(study)
        assert found.trials["trial_id"].tolist() == known["trials"]["trial_id"].tolist()
        assert set(found.trials["status"]) <= {"interrupted", "completed"}
        assert_frame_equal(found.epochs, known["epochs"])
        again = Writer(study, flush_seconds=0)
        again.compact()
        assert_frame_equal(load(study).trials, found.trials)
        assert_frame_equal(plain(study, "trials"), found.trials, check_dtype=False)
        assert_frame_equal(plain(study, "epochs"), known["epochs"])
        assert len(list((study / "trials").iterdir())) == 1
        steps += 1
    assert steps > 1 or (deed, before) == ("merges", "a merged part")  # where there is nothing to do


def test_a_reader_beside_a_merging_writer_sees_each_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows that were written before it looks, and none twice, while parts are merged under it all the time."""
    monkeypatch.setattr(compaction, "_MANY", 4)
    writer = Writer(tmp_path, flush_seconds=0)
    written, done, wrong, seen = [0], threading.Event(), [], []

    def read() -> None:
        while not done.is_set():
            known = written[0]
            results = load(tmp_path)
            trials, epochs = results.trials["trial_id"], results.epochs["trial_id"]
            seen.append(len(trials))
            for ids in (trials, epochs):
                if ids.duplicated().any():
                    wrong.append("a row twice")
                if len(ids) < known:
                    wrong.append(f"{known} rows were written, {len(ids)} read")
            wrong.extend(results.notes)

    reader = threading.Thread(target=read)
    reader.start()
    until = datetime.now(UTC).timestamp() + 4
    while datetime.now(UTC).timestamp() < until:
        trial_id = f"{written[0]:04d}"
        writer.epoch(trial_id, 1, epoch_record(1))
        writer.trial({"trial_id": trial_id, "attempt": 1, "status": "failed"})
        writer.trial({"trial_id": trial_id, "attempt": 2, "status": "completed"})
        written[0] += 1
    done.set()
    reader.join()
    assert len(set(seen)) > 3
    assert not wrong


@pytest.mark.parametrize(
    ("merges", "late", "missing"),
    [(16, False, False), (1000, False, True), (1000, True, True)],
    ids=["catches up", "says what is missing", "returns what it has read"],
)
def test_a_reader_under_whom_parts_are_merged_each_time(
    merges: int, late: bool, missing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path, flush_seconds=0)
    ids = (f"{number:04d}" for number in range(9999))
    seen = []

    def write(count: int) -> None:
        for trial_id in [next(ids) for _ in range(count)]:
            writer.trial({"trial_id": trial_id, "attempt": 1, "status": "completed"})
        writer.compact()

    fetch = Folder.fetch

    def slow(store: Folder, names: list[str]) -> Iterator[tuple[str, bytes | OSError]]:
        """Two rows are written and merged while the reader is at it, so often; `late`, once it has read."""
        found = list(fetch(store, names)) if late else None
        if len(seen) < merges:
            seen.append(names)
            monkeypatch.setattr(Folder, "fetch", fetch)
            write(2)
            monkeypatch.setattr(Folder, "fetch", slow)
        return fetch(store, names) if found is None else iter(found)

    write(3)
    monkeypatch.setattr(Folder, "fetch", slow)
    rows, notes = read_arrow(store_at(tmp_path), schema.TRIALS)
    assert notes == (
        ["trials changes faster than it is read; rows may be missing, so load it again"] if missing else []
    )
    assert missing or rows.num_rows == 3 + 2 * len(seen)
    assert not late or rows.num_rows == 3 + 2 * (len(seen) - 2)  # all that was listed in the last round


def test_a_part_that_could_not_be_read_is_tried_again_with_what_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(tmp_path, flush_seconds=0)
    fetch = Folder.fetch

    def failing(store: Folder, names: list[str]) -> Iterator[tuple[str, bytes | OSError]]:
        """One part fails once, and another goes meanwhile."""
        for name, content in fetch(store, names):
            failed = name == "0000-1.parquet" and len(list((tmp_path / schema.TRIALS).iterdir())) == 3
            yield name, OSError(errno.EIO, "Input/output error") if failed else content
            if failed:
                (tmp_path / schema.TRIALS / "0002-1.parquet").unlink()

    for trial_id in ("0000", "0001", "0002"):
        writer.trial({"trial_id": trial_id, "attempt": 1, "status": "completed"})
    monkeypatch.setattr(Folder, "fetch", failing)
    rows, notes = read_arrow(store_at(tmp_path), schema.TRIALS)
    assert (rows["trial_id"].to_pylist(), notes) == (["0000", "0001"], [])


def _rows(attempts: Iterable[tuple[int, int, int]]) -> pa.Table:
    """Rows of the table of epochs: trial, attempt and epoch of each."""
    found = [
        {"trial_id": str(trial), "attempt": attempt, "phase": "train", "epoch": epoch, "seconds": float(place)}
        for place, (trial, attempt, epoch) in enumerate(attempts)
    ]
    return pa.Table.from_pylist(found, schema=schema.arrow_schema("epochs"))


def _naive(rows: pa.Table) -> list[tuple[Any, ...]]:
    """What `settled` says, row by row."""
    found: dict[tuple[str, int], tuple[Any, ...]] = {}
    listed = rows.to_pylist()
    for row in listed:
        later = [one for one in listed if one["trial_id"] == row["trial_id"] and one["attempt"] > row["attempt"]]
        if all(row["epoch"] < one["epoch"] for one in later):
            key = row["trial_id"], row["epoch"]
            found[key] = (*key, row["attempt"], row["seconds"])
    return [found[key] for key in sorted(found)]


_ANY_ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.integers(1, 6)), max_size=30)


@settings(deadline=None)
@given(_ANY_ROWS)
def test_settled_rows_are_those_that_no_later_attempt_took_the_place_of(rows: list[tuple[int, int, int]]) -> None:
    found = settled(_rows(rows), "epochs").select(["trial_id", "epoch", "attempt", "seconds"]).to_pylist()
    assert [tuple(row.values()) for row in found] == _naive(_rows(rows))


@settings(deadline=None)
@given(_ANY_ROWS, st.integers(0, 30))
def test_settling_in_two_steps_is_settling_at_once(rows: list[tuple[int, int, int]], cut: int) -> None:
    """So a part can be merged before later attempts are known. Attempts come in their order, as a writer's do."""
    table = _rows(sorted(rows, key=lambda row: row[1]))
    merged = pa.concat_tables([settled(table.slice(0, cut), "epochs"), table.slice(cut)])
    assert settled(merged, "epochs").equals(settled(table, "epochs"))


def test_null_keys_do_not_hide_rows() -> None:
    rows = _rows([(0, 1, 1), (0, 1, 2)])
    nulls = rows.set_column(rows.schema.get_field_index("epoch"), "epoch", pa.array([None, 2], pa.int32()))
    assert len(settled(nulls, "epochs")) == 2
    assert np.isfinite(settled(nulls, "epochs")["seconds"].to_numpy()).all()
