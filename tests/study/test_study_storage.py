"""A study kept in an object store: run, killed, resumed on an empty disk, while requests fail."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from killed import Killed, Killing
from object_store import bucket, failing, gs_server, gs_uri, s3_server
from small_study import HERE, TEXT

from flowsearch import bucket as buckets
from flowsearch.results import load as load_results
from flowsearch.results import schema
from flowsearch.storage import Folder, inside, store_at
from flowsearch.study import lease
from flowsearch.study import ledger as events
from flowsearch.study.journal import Journal
from flowsearch.study.lease import LEASE, Lease, is_held
from flowsearch.study.ledger import Ledger
from flowsearch.study.listing import listed, opened
from flowsearch.study.mirror import POINTER, Mirror
from flowsearch.study.place import Place

SCRIPT = """
import os
import sys
import typer
from flowsearch import bucket
from flowsearch.cli import study as commands
from flowsearch.study import runner
bucket._SHORTEST = 0.02
run_trial = sys.argv.pop(1)
for function in (runner.run, runner.resume, runner.retry):
    own = {"run_trial": run_trial, "run_prior": os.environ.get("RUN_PRIOR"), "images": lambda config: "same"}
    function.__kwdefaults__.update(own, cpus=2)
app = typer.Typer()
app.add_typer(commands.app, name="study")
app()
"""


def start(folder: Path, home: str, run_trial: str, *arguments: str) -> subprocess.Popen[str]:
    """`flowsearch study ...` with instant trials, on a machine whose disk is the folder `home`."""
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, f"study_fakes:{run_trial}", "study", *arguments],
        cwd=folder, env=environment | {"FLOWSEARCH_HOME": str(folder / home)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["s3", "gs"])
def test_killed_and_resumed_from_the_bucket_alone_while_requests_fail(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.yaml").write_text(TEXT.replace("trials: 8", "trials: 4").replace("scheduler: {asha", "# {asha"))
    serve = {"s3": s3_server, "gs": gs_server}[kind]
    with serve() as server, failing(server, 0.05) as (endpoint, faults):
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(buckets, "_SHORTEST", 0.02)
        results = str(inside(bucket(server) if kind == "s3" else gs_uri(endpoint), "results"))
        where = str(inside(results, "small"))
        place = Place(where)
        checkpoints = [f"checkpoints/{number:04d}" for number in range(4)]
        process = start(tmp_path, "first", "lasting_trial", "run", "small.yaml", "--results", results, "--plain")
        until = time.monotonic() + 120
        while sum(bool(place.records(name)) for name in checkpoints) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until, "no epoch came to the bucket"
            time.sleep(0.2)
        assert is_held(place.store)
        assert opened(where)[0].running
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(2)  # its workers end
        done = [name for name in checkpoints if place.records(name)]
        known = [(one.event, one.subject) for one in Ledger(place.store.at("ledger")).events]
        # Where requests fail, the second trial may have come to its first epoch only when the first one had ended.
        expected = {
            name: known.count((events.STARTED, name)) + 1 - known.count((events.ENDED, name))
            for name in (f"{number:04d}" for number in range(4))
        }
        assert max(expected.values()) == 2, known
        process = start(tmp_path, "second", "run_trial", "resume", where, "--plain")
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        assert f"report: {inside(where, 'report.html')}" in out
        assert min(faults.counts[kind] for kind in ("refused", "cut", "unheard")) > 0, faults.counts
        found = load_results(where)
        assert found.notes == []
        assert found.trials["status"].tolist() == ["completed"] * 4
        assert dict(zip(found.trials["trial_id"], found.trials["attempt"], strict=True)) == expected
        train = found.epochs[found.epochs["phase"] == "train"]
        assert train[["trial_id", "epoch"]].to_numpy().tolist() == [
            [f"{number:04d}", epoch] for number in range(4) for epoch in range(1, 5)
        ]
        # What the bucket had of the first machine was gone on with: no epoch was trained twice.
        for name in done:
            assert len(Mirror(tmp_path / "none", place.store.at(name)).read("records.jsonl").splitlines()) == 4
        assert len(found.images) == 4
        ledger = Ledger(place.store.at("ledger"))
        assert ledger.damaged == []
        ended = [event.subject for event in ledger.events if event.event == events.ENDED]
        assert sorted(ended) == [f"{number:04d}" for number in range(4)]
        assert {"optuna.journal", "provenance.json", "report.html", "study.yaml"} <= set(place.store.names())
        assert LEASE not in place.store.names()
        (line,) = listed(results)
        assert (line.name, line.done, line.trials) == ("small", 4, 4)
        for name in checkpoints:
            # What only training on would need is gone, here and there.
            assert set(Mirror(tmp_path / "none", place.store.at(name)).named()) == {"records.jsonl"}


@pytest.mark.ray
@pytest.mark.slow
def test_a_second_driver_is_refused(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(TEXT.replace("trials: 8", "trials: 3").replace("scheduler: {asha", "# {asha"))
    results = f"{bucket}/results"
    arguments = ("run", "small.yaml", "--results", results, "--plain")
    first = start(tmp_path, "first", "lasting_trial", *arguments)
    try:
        until = time.monotonic() + 60
        while not Ledger(store_at(f"{results}/small/ledger")).planned:
            assert first.poll() is None, first.communicate()
            assert time.monotonic() < until
            time.sleep(0.2)
        second = start(tmp_path, "second", "run_trial", *arguments)
        _, err = second.communicate(timeout=60)
        assert second.returncode == 2
        assert "another process is running the study in s3://studies/results/small (process" in err
    finally:
        first.send_signal(signal.SIGINT)
        out, err = first.communicate(timeout=60)
    assert first.returncode == 130, err
    assert f"go on with:  flowsearch study resume {results}/small" in out


@pytest.mark.ray
@pytest.mark.slow
def test_priors_are_pretrained_once_for_studies_on_different_machines(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUN_PRIOR", "study_fakes:run_prior")
    (tmp_path / "small.yaml").write_text(TEXT.replace("scheduler: {asha", "# {asha"))
    results = f"{bucket}/results"
    sets = ["space={levels: [2, 3], lr: {float: [1e-4, 1e-3]}}", "search={trials: 4, sampler: random, startup: 4}"]
    sets += ["fixed={prox: glow, depth: 2, hidden: 4, epochs: 1, pretrain: true}", "prior.epochs=2"]
    arguments = ["small.yaml", "--results", results, "--plain", *(word for one in sets for word in ("--set", one))]
    for home, name, started in (("first", "one", 2), ("second", "two", 0)):
        process = start(tmp_path, home, "trial_with_prior", "run", *arguments, "--name", name)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        ledger = Ledger(store_at(f"{results}/{name}/ledger"))
        assert sum(one.event == events.STARTED and one.subject.startswith("prior-") for one in ledger.events) == started
        assert load_results(f"{results}/{name}").counts == {"completed": 4}
    priors = store_at(f"{results}/priors")
    begun = [Mirror(tmp_path / "none", priors.at(key)).read("begun") for key in priors.names()]
    assert begun == [b"begun\n"] * 2


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
def test_a_resume_goes_on_with_the_journal_in_the_bucket_and_with_no_other(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    monkeypatch.setenv("FLOWSEARCH_HOME", str(tmp_path))
    place = Place(f"{bucket}/results/small")
    journal = Journal(place)
    journal.path.write_bytes(b"of this machine\n")
    if stored:
        place.store.put(schema.JOURNAL, b"of the bucket\n")
    journal = Journal(place)
    assert journal.path.exists() == stored
    assert not stored or journal.path.read_bytes() == b"of the bucket\n"


# The lease ------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("_BEAT", 0.05), ("_PATIENCE", 0.5), ("_SETTLE", 0.02), ("_LOOK", 0.5)):
        monkeypatch.setattr(lease, f"{name}_SECONDS", seconds)


def _left_behind(store: Folder, **content: Any) -> None:
    known = {"holder": "other", "who": "process 1 on elsewhere", "host": "elsewhere", "process": 1, "beat": 3}
    store.put(LEASE, json.dumps(known | content).encode())


@pytest.mark.usefixtures("quick")
def test_a_lease_is_one_drivers_while_its_heart_beats(tmp_path: Path) -> None:
    store = Folder(tmp_path)
    with Lease(store) as held:
        assert is_held(store)
        with pytest.raises(ValueError, match=f"another process is running the study in {tmp_path}"), Lease(store):
            pass
        assert not held.lost
    assert store.names() == []
    assert not is_held(store)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("hours", [-3, 3], ids=["behind", "ahead"])
def test_who_reads_a_study_finds_it_run_or_not_whatever_its_own_clock_says(
    hours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(datetime):
        @classmethod
        def fromisoformat(cls, text: str) -> datetime:  # type: ignore[override]
            return datetime.fromisoformat(text) - timedelta(hours=hours)

    monkeypatch.setattr(lease, "datetime", Elsewhere)
    store = Folder(tmp_path)
    with Lease(store):
        assert [is_held(store), is_held(store)] == [True, True]
        content = store.get(LEASE)
    store.put(LEASE, content)  # as where the driver was killed
    monkeypatch.setattr(lease, "_left", lambda found: False)
    assert [is_held(store), is_held(store)] == [False, False]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("whose", ["another machine's", "a process of this machine that has died"])
def test_a_lease_left_behind_is_taken(whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Folder(tmp_path)
    dead = subprocess.Popen(["true"])
    dead.wait()
    own = {"host": os.uname().nodename, "process": dead.pid} if "this" in whose else {}
    _left_behind(store, **own)
    waited, wait = [], Lease._wait
    monkeypatch.setattr(Lease, "_wait", lambda lease, found: (waited.append(found), wait(lease, found)))
    with Lease(store):
        assert bool(waited) == ("this" not in whose)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("other", ["at work", "at its end"])
def test_a_driver_that_stood_still_notices_and_leaves_the_other_alone(other: str, tmp_path: Path) -> None:
    store = Folder(tmp_path)
    with Lease(store) as held:
        if other == "at work":
            _left_behind(store)
        else:
            store.remove([LEASE])
        until = time.monotonic() + 5
        while not held.lost and time.monotonic() < until:
            time.sleep(0.02)
        assert held.lost
    assert lease.read(store).get("holder") == ("other" if other == "at work" else None)


# Checkpoints ----------------------------------------------------------------------------------------------------


def _write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / f"{name}.safetensors"
        path.write_text(text)
        os.utime(path, ns=(time.time_ns(), time.time_ns()))


def _read(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in folder.iterdir() if path.is_file() and path.name[0] != "."}


def test_a_folder_comes_back_on_another_machine(tmp_path: Path) -> None:
    store = Folder(tmp_path / "store")
    here, there = Mirror(tmp_path / "here", store), Mirror(tmp_path / "there", store)
    _write(here.local, last="1", best="1")
    (here.local / ".lock").touch()
    here.push()
    there.fetch()
    assert _read(there.local) == {"last": "1", "best": "1"}
    _write(there.local, last="2")
    there.push()
    _write(here.local, last="stale", strange="x")
    here.fetch()
    assert _read(here.local) == {"last": "2", "best": "1"}
    (there.local / "pictures").mkdir()
    (there.local / "pictures" / "00.png").write_bytes(b"png")
    there.push()
    Mirror(tmp_path / "third", store).fetch("pictures")
    assert [path.name for path in (tmp_path / "third").rglob("*") if path.is_file()] == ["00.png"]
    (there.local / "pictures" / "00.png").unlink()
    there.push()
    assert len(store.names()) == 3  # nothing that is no longer named is kept
    here.clear()
    there.fetch()
    assert _read(there.local) == {}


def test_what_has_not_changed_is_not_put_again(tmp_path: Path) -> None:
    put: list[str] = []

    class Noting(Folder):
        def put(self, name: str, content: bytes, *, safe: bool = True) -> None:
            put.append(name)
            super().put(name, content, safe=safe)

    mirror = Mirror(tmp_path / "here", Noting(tmp_path / "store"))
    _write(mirror.local, last="1", best="1")
    mirror.push()
    mirror.push()
    _write(mirror.local, last="2")
    mirror.push()
    assert [name.partition(".")[0] for name in put] == ["best", "last", "files", "last", "files"]


@pytest.mark.parametrize("end", ["goes on", "is done"])
def test_a_worker_that_slept_while_another_took_its_trial_up_overwrites_nothing(end: str, tmp_path: Path) -> None:
    store = Folder(tmp_path / "store")
    slept, other = Mirror(tmp_path / "slept", store), Mirror(tmp_path / "other", store)
    slept.fetch()
    _write(slept.local, last="1", best="1")
    slept.push(alone=True)
    other.fetch()
    _write(other.local, last="8", best="7")
    other.push(alone=True)
    if end == "is done":
        other.forget("last.safetensors")
    _write(slept.local, last="2", best="2")
    with pytest.raises(OSError, match="another process writes there"):
        slept.push(alone=True)
    there = Mirror(tmp_path / "third", store)
    there.fetch()
    assert _read(there.local) == {"best": "7"} | ({"last": "8"} if end == "goes on" else {})


def test_a_checkpoint_that_was_named_unheard_is_no_other_writers(tmp_path: Path) -> None:
    class Unheard(Folder):
        deaf = False

        def put(self, name: str, content: bytes, *, safe: bool = True) -> None:
            super().put(name, content, safe=safe)
            if name == POINTER and Unheard.deaf:
                raise OSError("no answer came")

    mirror = Mirror(tmp_path / "here", Unheard(tmp_path / "store"))
    mirror.fetch()
    _write(mirror.local, last="1")
    mirror.push(alone=True)
    for last in ("2", "3"):
        Unheard.deaf = True
        _write(mirror.local, last=last)
        with pytest.raises(OSError, match="no answer"):
            mirror.push(alone=True)
    Unheard.deaf = False
    mirror.push(alone=True)
    assert len(mirror.store.names()) == 2
    assert mirror.read("last.safetensors") == b"3"


def test_a_file_that_is_named_and_not_there_costs_the_checkpoint_and_no_more(tmp_path: Path) -> None:
    store = Folder(tmp_path / "store")
    here, there = Mirror(tmp_path / "here", store), Mirror(tmp_path / "there", store)
    _write(here.local, last="1", best="1")
    here.push()
    store.remove([here.named()["best.safetensors"]])
    there.fetch()
    assert _read(there.local) == {}
    here.push()  # by who has it still
    there.fetch()
    assert _read(there.local) == {"last": "1", "best": "1"}


def test_killed_at_any_request_a_whole_checkpoint_is_there(tmp_path: Path) -> None:
    steps, over = 0, False
    while not over:
        Killing.steps = 10_000
        root = tmp_path / str(steps)
        mirror = Mirror(root / "here", Killing(root / "store"))
        _write(mirror.local, last="1", best="1", unfinished="1")
        mirror.push()
        _write(mirror.local, last="2", best="2")
        (mirror.local / "unfinished.safetensors").unlink()
        Killing.steps = steps
        try:
            mirror.push()
            over = True
        except Killed:
            pass
        again = Mirror(root / "there", Folder(root / "store"))
        again.fetch()
        assert _read(again.local) in (
            {"last": "1", "best": "1", "unfinished": "1"},
            {"last": "2", "best": "2"},
        )
        again.push()
        assert len(Folder(root / "store").names()) == len(_read(again.local)) + 1
        assert POINTER in Folder(root / "store").names()
        steps += 1
    assert steps > 4


# The ledger -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [events.ENDED, events.PLANNED])
def test_an_event_that_was_refused_comes_with_the_next_unless_it_plans(event: str, tmp_path: Path) -> None:
    class Away(Folder):
        away = False

        def put(self, name: str, content: bytes, *, safe: bool = True) -> None:
            if self.away:
                raise OSError("the store is away")
            super().put(name, content, safe=safe)

    store = Away(tmp_path)
    ledger = Ledger(store)
    ledger.add(events.PLANNED, "0000", values={})
    store.away = True
    with pytest.raises(OSError, match="away"):
        ledger.add(event, "0001", status="completed")
    store.away = False
    ledger.add(events.STARTED, "0000", attempt=1)
    found = [(one.event, one.subject) for one in Ledger(tmp_path).events]
    late = [(event, "0001")] if event == events.ENDED else []
    assert found == [(events.PLANNED, "0000"), *late, (events.STARTED, "0000")]


def test_a_ledger_that_cannot_be_read_now_is_not_taken_for_damaged(bucket: str, monkeypatch: Any) -> None:
    store: Any = store_at(f"{bucket}/ledger")
    Ledger(store).add(events.PLANNED, "0000", values={})
    refuse: Callable[..., Any] = lambda name: (_ for _ in ()).throw(OSError("ACCESS_DENIED"))  # noqa: E731
    monkeypatch.setattr(store, "get", refuse)
    with pytest.raises(OSError, match="ACCESS_DENIED"):
        Ledger(store)
