"""Results in an object store: the same tables, by the same writer and reader, whatever fails in passing."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from made_up import epoch_record, make_study
from object_store import Endpoint, bucket, failing, gs_server, gs_uri, s3_server

from flowsearch import bucket as buckets
from flowsearch.cli.errors import user_errors
from flowsearch.results import Writer, load, schema
from flowsearch.storage import Folder, Store, inside, outside, store_at
from flowsearch.study.place import Place

TABLES = list(schema.TABLES)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    return make_study(tmp_path / "s", trials=6, epochs=3, images=4)


def copy(study: Path, to: str) -> str:
    """The study's side files and tables, put into an object store by the writer's own means."""
    store, where = Folder(study), f"{to}/{study.name}"
    target = store_at(where)
    for name in store.names():
        if (study / name).is_file():
            target.put(name, store.get(name))
            continue
        for part in store.at(name).names():
            target.at(name).put(part, store.at(name).get(part))
    return where


@pytest.fixture(params=["folder", "s3", "gs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "folder":
        yield Folder(tmp_path)
    elif request.param == "s3":
        yield store_at(f"{request.getfixturevalue('bucket')}/a")
    else:
        with gs_server() as endpoint:
            yield store_at(inside(gs_uri(endpoint), "a"))


def test_a_store_keeps_whole_objects(store: Store) -> None:
    below = store.at("below")
    assert below.names() == []
    below.put("b", b"1")
    below.put("a", b"2")
    below.put("b", b"3", safe=False)
    below.put(".hidden", b"4")
    assert (store.names(), below.names()) == (["below"], ["a", "b"])
    store.put("far/deep/c", b"5")
    assert (store.names(), store.at("far").names()) == (["below", "far"], ["deep"])
    assert below.get("b") == store.get("below/b") == b"3"
    found = dict(below.fetch(["b", "none", "a"]))
    assert (found["a"], found["b"], type(found["none"])) == (b"2", b"3", FileNotFoundError)
    with below.open("b") as file:
        assert file.read() == b"3"
    below.remove(["b", "none"])
    assert below.names() == ["a"]
    with pytest.raises(FileNotFoundError):
        below.get("b")


def test_two_threads_that_put_one_name_both_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, sync = Folder(tmp_path), os.fsync

    def slow(number: int) -> None:
        sync(number)
        monkeypatch.setattr(os, "fsync", sync)
        other = threading.Thread(target=store.put, args=("a", b"theirs"))
        other.start()
        other.join()

    monkeypatch.setattr(os, "fsync", slow)
    store.put("a", b"mine")
    assert (store.get("a"), [path.name for path in tmp_path.iterdir()]) == (b"mine", ["a"])


def test_a_bucket_that_is_not_there_is_said_in_a_line(bucket: str) -> None:
    with pytest.raises(typer.Exit) as left, user_errors():
        store_at("s3://no-bucket/results").put("a", b"1")
    assert left.value.exit_code == 2


@pytest.mark.parametrize(
    "read",
    [lambda where: store_at(where).names(), lambda where: Place(where).study(), load],
    ids=["names", "study", "tables"],
)
def test_a_bucket_that_is_not_there_is_no_empty_folder(bucket: str, read: Callable[[str], Any]) -> None:
    with pytest.raises(FileNotFoundError) as found:
        read("s3://no-bucket/results/small")
    assert found.value.filename == "s3://no-bucket"
    assert store_at(f"{bucket}/none").names() == []


def test_who_may_not_ask_for_the_bucket_may_read_a_folder_of_it() -> None:
    class Files:
        type_name = "s3"

        def get_file_info(self, asked: object) -> list[object]:
            if asked == "b":
                raise PermissionError(13, "ACCESS_DENIED during HeadBucket operation")
            return []

    assert buckets.Bucket(Files(), "b/results", "s3://b/results", "").names() == []


@pytest.mark.parametrize(
    ("where", "name", "whole"),
    [
        ("results", "x", Path("results/x")),
        ("s3://b/results", "x", "s3://b/results/x"),
        ("s3://b/results/?region=r&scheme=http", "x", "s3://b/results/x?region=r&scheme=http"),
    ],
)
def test_addresses(where: str, name: str, whole: Path | str) -> None:
    assert inside(where, name) == whole
    assert str(outside(whole)).rstrip("/").endswith(where.replace("/?", "?"))


def test_a_uri_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="ftp://host/x cannot be opened"):
        load("ftp://host/x")


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_are_those_of_a_folder(bucket: str, local: Path, table: str) -> None:
    where = copy(local, bucket)
    expected = getattr(load(local), table)
    pd.testing.assert_frame_equal(getattr(load(where), table), expected)
    Writer(store_at(where), local.name).compact()
    assert len(store_at(where).at(table).names()) == 1
    pd.testing.assert_frame_equal(getattr(load(where), table), expected)


def test_side_files_and_tracebacks_come_along(bucket: str, local: Path) -> None:
    results, expected = load(copy(local, bucket)), load(local)
    assert (results.study, results.provenance, results.name) == (expected.study, expected.provenance, "s")
    failed = results.trials.loc[results.trials["status"] == "failed", "trial_id"].iloc[0]
    assert "out of memory" in results.traceback(failed)
    with pytest.raises(ValueError, match="a folder on this machine"):
        _ = results.path


def test_no_such_study_is_said(bucket: str) -> None:
    with pytest.raises(ValueError, match="no folder"):
        load(f"{bucket}/none")


def test_a_twentieth_of_the_requests_fails_and_nothing_is_lost_or_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buckets, "_SHORTEST", 0.01)
    with s3_server() as server, failing(server, 0.05) as (endpoint, faults):
        _environment(monkeypatch, endpoint)
        where = f"{bucket(server)}/s"
        writer = Writer(store_at(where), "s", flush_seconds=0)
        for number in range(30):
            for status in ("running", "completed"):
                writer.trial({"trial_id": f"{number:04d}", "attempt": 1, "status": status})
            writer.epoch(f"{number:04d}", 1, epoch_record(1))
        for _ in range(2):
            results = load(where)
            assert results.notes == []
            assert results.trials["trial_id"].tolist() == [f"{number:04d}" for number in range(30)]
            assert set(results.trials["status"]) == {"completed"}
            assert results.epochs["trial_id"].tolist() == results.trials["trial_id"].tolist()
            writer.compact()
        assert min(faults.counts[kind] for kind in ("refused", "cut", "unheard")) > 0, faults.counts


def _environment(monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint) -> None:
    for name, value in endpoint.environment.items():
        monkeypatch.setenv(name, value)


class Failing:
    """A pyarrow file system that fails `times` in a row."""

    def __init__(self, files: Any, times: int, error: OSError) -> None:
        self._files, self.left, self._error = files, times, error

    def __getattr__(self, name: str) -> Any:
        if self.left > 0:
            self.left -= 1
            raise self._error
        return getattr(self._files, name)


@pytest.mark.parametrize(
    ("error", "times", "heard"),
    [
        pytest.param(OSError("AWS Error SLOW_DOWN"), 7, True, id="in passing"),
        pytest.param(OSError("AWS Error SLOW_DOWN"), 8, False, id="too often"),
        pytest.param(FileNotFoundError("NOT_FOUND: ...retry.function=UploadChunk, ..."), 2, True, id="upload gone"),
        pytest.param(FileNotFoundError("NOT_FOUND: ...retry.function=ReadObject, ..."), 1, False, id="not there"),
        pytest.param(OSError("AWS Error ACCESS_DENIED"), 1, False, id="for good"),
        pytest.param(PermissionError("no"), 1, False, id="not allowed"),
    ],
)
def test_what_fails_in_passing_is_tried_again(
    bucket: str, error: OSError, times: int, heard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(buckets.time, "sleep", waits.append)
    store: Any = store_at(f"{bucket}/x")
    store.put("a", b"1")
    store._files = Failing(store._files, times, error)
    if heard:
        assert store.get("a") == b"1"
        assert len(waits) == times
        bounds = [0.2 * 2**turn for turn in range(times)]
        assert all(wait <= min(8.0, bound) for wait, bound in zip(waits, bounds, strict=True))
        assert len(set(waits)) == times
    else:
        with pytest.raises(type(error)):
            store.get("a")
        assert len(waits) == (7 if times == 8 else 0)


def test_rows_that_were_refused_come_with_the_next_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer(tmp_path, flush_seconds=3600)
    writer.flush()
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "put", _refuse)
        with pytest.raises(OSError, match="away"):
            writer.trial({"trial_id": "0000", "attempt": 1, "status": "completed"})
        with pytest.raises(OSError, match="away"):
            writer.final("0000", 1, {"images": [{"split": "test", "image": 0, "psnr": 20.0}], "panels": []})
    writer.close()
    assert load(tmp_path).trials["status"].tolist() == ["completed"]
    assert len(load(tmp_path).images) == 1


def _refuse(*_: Any, **__: Any) -> None:
    raise OSError("the store is away")
