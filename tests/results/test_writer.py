"""The writer: what goes in comes out, one row a trial, whole files only, and nothing that it is given ends a study."""

import logging
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up import epoch_record, make_study

from flowsearch.results import Writer, schema

_VALUES: dict[pa.DataType, Any] = {
    pa.string(): "ü",
    pa.int32(): 2**31 - 1,
    pa.int64(): 2**40,
    pa.float64(): 0.1,
    pa.bool_(): True,
    pa.timestamp("us", tz="UTC"): datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
}
_TRIAL_COLUMNS = [column for column in schema.TABLES[schema.TRIALS] if column.name not in ("trial_id", "attempt")]


def _only_part(folder: Path) -> pa.Table:
    (part,) = folder.glob("*.parquet")
    return pq.ParquetFile(part).read()


@pytest.mark.parametrize("column", _TRIAL_COLUMNS, ids=lambda column: column.name)
def test_every_column_keeps_its_value(column: schema.Column, tmp_path: Path) -> None:
    value = _VALUES[column.type]
    Writer(tmp_path, strict=True).trial({"trial_id": "0000", "attempt": 1, column.name: value})
    assert _only_part(tmp_path / "trials").column(column.name).to_pylist() == [value]


@pytest.mark.parametrize("column", _TRIAL_COLUMNS, ids=lambda column: column.name)
def test_a_missing_key_becomes_null(column: schema.Column, tmp_path: Path) -> None:
    Writer(tmp_path, "s", strict=True).trial({"trial_id": "0000", "attempt": 1})
    assert _only_part(tmp_path / "trials").column(column.name).to_pylist() == [{"study": "s"}.get(column.name)]


def test_times_of_another_zone_become_utc(tmp_path: Path) -> None:
    local = datetime.fromisoformat("2026-01-02T03:00:00+05:00")
    Writer(tmp_path, strict=True).trial({"trial_id": "0000", "attempt": 1, "started": local})
    assert pd.read_parquet(tmp_path / "trials")["started"][0] == pd.Timestamp("2026-01-01T22:00:00Z")


@pytest.mark.parametrize("phase", ["prior", "train"])
def test_an_epochs_record_keeps_its_numbers(phase: str, tmp_path: Path) -> None:
    record = epoch_record(3, folds=2, phase=phase)
    with Writer(tmp_path, strict=True) as writer:
        writer.epoch("0000", 2, record)
    row = pd.read_parquet(tmp_path / "epochs").iloc[0]
    expected = {key: value for key, value in record.items() if key not in ("folds", "so_far")}
    assert {key: row[key] for key in expected} == expected
    if phase == "train":
        folds = pd.read_parquet(tmp_path / "folds")
        assert folds[["fold", "mu", "lambda", "psnr"]].to_dict("records") == record["folds"]


def test_pandas_reads_one_row_per_trial_without_flowsearch(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", trials=9)
    frame = pd.read_parquet(study / "trials")
    assert sorted(frame["trial_id"]) == [f"{i:04d}" for i in range(9)]
    assert list(frame.columns) == [column.name for column in schema.TABLES[schema.TRIALS]]


@pytest.mark.parametrize("writers", ["the same writer", "a new writer"])
def test_one_row_per_trial_after_a_retry(writers: str, tmp_path: Path) -> None:
    writer = Writer(tmp_path, flush_seconds=0)
    for attempt, status in ((1, "running"), (1, "failed"), (2, "running"), (2, "completed")):
        if writers == "a new writer":
            writer = Writer(tmp_path, flush_seconds=0)
        writer.trial({"trial_id": "0000", "attempt": attempt, "status": status})
        frame = pd.read_parquet(tmp_path / "trials")
        assert frame[["attempt", "status"]].to_numpy().tolist() == [[attempt, status]]


def test_a_late_row_of_an_earlier_attempt_is_left_out(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    writer.trial({"trial_id": "0000", "attempt": 2, "status": "running"})
    writer.trial({"trial_id": "0000", "attempt": 1, "status": "interrupted"})
    assert pd.read_parquet(tmp_path / "trials")["attempt"].tolist() == [2]


def test_a_trial_that_ends_at_once_is_written_once(tmp_path: Path) -> None:
    writer = Writer(tmp_path, flush_seconds=60)
    writer.trial({"trial_id": "0000", "attempt": 1, "status": "running"})  # the first is due at once
    for trial_id in ("0001", "0002"):
        writer.trial({"trial_id": trial_id, "attempt": 1, "status": "running"})
    writer.trial({"trial_id": "0001", "attempt": 1, "status": "completed"})
    written = pd.read_parquet(tmp_path / "trials")
    assert written.set_index("trial_id")["status"].to_dict() == {"0000": "running", "0001": "completed"}
    writer.flush()
    written = pd.read_parquet(tmp_path / "trials")
    assert written.set_index("trial_id")["status"].to_dict() == {
        "0000": "running",
        "0001": "completed",
        "0002": "running",
    }


def test_an_unknown_key_and_a_wrong_value_cost_only_themselves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(tmp_path, flush_seconds=0)
    with caplog.at_level(logging.WARNING):
        for trial_id in ("0000", "0001"):
            writer.trial({"trial_id": trial_id, "attempt": 1, "depht": 3, "folds": "five", "lr": 1e-3})
    frame = pd.read_parquet(tmp_path / "trials")
    assert frame["lr"].tolist() == [1e-3, 1e-3]
    assert frame["folds"].isna().all()
    assert len([r for r in caplog.records if "no column depht" in r.message]) == 1
    assert len([r for r in caplog.records if "trials.folds holds int32, not 'five'" in r.message]) == 1


@pytest.mark.parametrize("wrong", [{"depht": 3}, {"folds": "five"}, {"folds": 2**40}], ids=str)
def test_strict_refuses_them(wrong: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Writer(tmp_path, strict=True).trial({"trial_id": "0000", "attempt": 1} | wrong)


@pytest.mark.parametrize("trial_id", ["../up", "", ".hidden", "_aside", "a/b"])
def test_an_id_that_is_no_file_name_is_refused(trial_id: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a trial's id"):
        Writer(tmp_path).trial({"trial_id": trial_id, "attempt": 1})


def test_epochs_wait_for_the_next_flush_and_no_part_is_written_twice(tmp_path: Path) -> None:
    writer = Writer(tmp_path, flush_seconds=3600)
    writer.epoch("0000", 1, epoch_record(1))  # the first is due at once
    (first,) = (tmp_path / "epochs").glob("*.parquet")
    before = first.stat()
    writer.epoch("0000", 1, epoch_record(2))
    assert len(pd.read_parquet(tmp_path / "epochs")) == 1
    writer.close()
    assert sorted(pd.read_parquet(tmp_path / "epochs")["epoch"]) == [1, 2]
    assert (first.stat().st_ino, first.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_rows_wait_on_where_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tmp_path, flush_seconds=3600)
    writer.flush()
    writer.epoch("0000", 1, epoch_record(1))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", _disk_full)
        with pytest.raises(OSError, match="No space"):
            writer.flush()
    assert not list((tmp_path / "epochs").iterdir())
    writer.flush()
    assert len(pd.read_parquet(tmp_path / "epochs")) == 1


def _disk_full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_what_a_killed_writer_left_aside_is_unseen_and_then_removed(tmp_path: Path) -> None:
    Writer(tmp_path).trial({"trial_id": "0000", "attempt": 1})
    aside = tmp_path / "trials" / ".0001-1.parquet.4711"
    aside.write_bytes(b"PAR1 half a file")
    assert len(pd.read_parquet(tmp_path / "trials")) == 1
    Writer(tmp_path)
    assert not aside.exists()


def test_a_concurrent_reader_sees_whole_parts_only(tmp_path: Path) -> None:
    """Every part is readable at any moment that it has a name, while rows are replaced under the reader."""
    writer = Writer(tmp_path, flush_seconds=0)
    done, seen, broken = threading.Event(), 0, []

    def read() -> None:
        nonlocal seen
        while not done.is_set():
            for table in ("trials", "epochs"):
                for part in (tmp_path / table).glob("[!.]*.parquet"):
                    try:
                        rows = pq.ParquetFile(part).read().num_rows
                        seen += 1
                        if rows == 0:
                            broken.append(part.name)
                    except FileNotFoundError:
                        pass
                    except (pa.ArrowException, OSError) as error:
                        broken.append(f"{part.name}: {error}")

    reader = threading.Thread(target=read)
    reader.start()
    until = datetime.now(UTC) + timedelta(seconds=1.5)
    turn = 0
    while datetime.now(UTC) < until:
        trial_id = f"{turn % 3:04d}"
        writer.trial({"trial_id": trial_id, "attempt": 1 + turn // 30, "status": "running", "reason": "x" * 5000})
        writer.epoch(trial_id, 1, epoch_record(turn))
        turn += 1
    done.set()
    reader.join()
    assert seen > 20
    assert not broken


def test_every_part_carries_its_table_and_version(tmp_path: Path) -> None:
    study = make_study(tmp_path / "study", trials=2)
    for table in schema.TABLES:
        for part in (study / table).iterdir():
            metadata = pq.read_schema(part).metadata
            assert metadata[schema.TABLE_KEY] == table.encode()
            assert schema.version_of(metadata) == schema.VERSION
