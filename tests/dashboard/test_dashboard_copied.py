"""A dashboard over an object store: a copy that follows it."""

import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_up import make_study

import flowsearch
from flowsearch.analysis.dashboard import copied
from flowsearch.analysis.dashboard.copied import Copy, never
from flowsearch.analysis.dashboard.library import Library
from flowsearch.results.lock import is_locked
from flowsearch.storage import store_at


@pytest.fixture
def copying() -> Iterator[Callable[..., Copy]]:
    made: list[Copy] = []

    def copy(where: Any, held: copied.Held = never) -> Copy:
        made.append(Copy(where if isinstance(where, str) else where.as_uri(), held))
        return made[-1]

    yield copy
    for one in made:
        one.close()
        assert not one.path.exists()


def listed(folder: Path) -> dict[str, bytes]:
    tables = ("trials", "epochs", "folds", "images", "panels", "ledger", "errors")
    return {f"{name}/{path.name}": path.read_bytes() for name in tables for path in (folder / name).glob("[!.]*")}


def test_it_is_the_same_study(study: Path, copying: Callable[..., Copy]) -> None:
    copy = copying(study)
    assert listed(copy.path) == listed(study)
    there, here = flowsearch.load(study), flowsearch.load(copy.path)
    assert here.trials.equals(there.trials)
    assert here.study == there.study
    assert not (copy.path / "checkpoints").exists()


def test_it_follows_what_comes_changes_and_goes(tmp_path: Path, copying: Callable[..., Copy]) -> None:
    study = make_study(tmp_path / "made", trials=4, statuses=["completed", "failed"])
    copy = copying(study)
    part = next((study / "epochs").glob("*.parquet"))
    (study / "epochs" / "later.parquet").write_bytes(part.read_bytes())
    part.unlink()
    (study / "ledger").mkdir(exist_ok=True)
    (study / "ledger" / "later.json").write_text("{}")
    for error in (study / "errors").glob("*"):
        error.write_text("failed again")
    (study / "study.yaml").write_text("name: renamed\n")
    copy.follow()
    assert listed(copy.path) == listed(study)
    assert (copy.path / "study.yaml").read_text() == "name: renamed\n"


def test_it_follows_by_itself_while_somebody_looks(
    tmp_path: Path, copying: Callable[..., Copy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copied, "_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(copied, "_LOOKS_SECONDS", 0.2)
    copy = copying(make_study(tmp_path / "made", trials=2))
    followed, follow = threading.Event(), copy.follow
    monkeypatch.setattr(copy, "follow", lambda: (follow(), followed.set()))
    assert not followed.wait(0.3)
    for _ in range(2):
        copy.look()
        assert followed.wait(20)
        followed.clear()
    until = time.monotonic() + 20
    while copy._wanted.is_set():  # somebody is taken to look for a while after that
        assert time.monotonic() < until
        time.sleep(0.02)
    followed.clear()
    assert not followed.wait(0.3)


def test_whether_it_is_being_run_is_what_the_store_says(study: Path, copying: Callable[..., Copy]) -> None:
    running = {"is": True}
    copy = copying(study, lambda store: running["is"])
    assert is_locked(copy.path) is True
    running["is"] = False
    copy.follow()
    assert is_locked(copy.path) is False
    running["is"] = True
    copy.follow()
    assert is_locked(copy.path) is True


def test_a_folder_of_studies_shows_each_under_its_uri(tmp_path: Path, copying: Callable[..., Copy]) -> None:
    for name in ("one", "two"):
        make_study(tmp_path / "results" / name, trials=2)
    (tmp_path / "results" / "priors").mkdir()
    copy = copying(tmp_path / "results")
    library = Library(copy.path, copy.where)
    assert library.names == ["one", "two"]
    assert library.study("two").where == f"{(tmp_path / 'results').as_uri()}/two"
    make_study(tmp_path / "results" / "three", trials=2)
    copy.follow()
    assert library.names == ["one", "three", "two"]
    shutil.rmtree(tmp_path / "results" / "two")
    copy.follow()
    assert library.names == ["one", "three"]


def test_a_study_that_is_removed_goes_and_comes_back(tmp_path: Path, copying: Callable[..., Copy]) -> None:
    root = make_study(tmp_path / "made", trials=2)
    copy = copying(root, lambda store: True)
    library = Library(copy.path, copy.where)
    shutil.rmtree(root)
    copy.follow()
    with pytest.raises(KeyError):
        library.study()
    make_study(root, trials=3)
    copy.follow()
    assert len(library.study().view().trials) == 3
    assert is_locked(copy.path) is True


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is nothing at file:///"):
        Copy((tmp_path / "none").as_uri(), never)


@pytest.mark.slow
def test_a_dashboard_over_a_bucket(bucket: str, study: Path, serving: Callable[..., Any]) -> None:
    store = store_at(f"{bucket}/results/made")
    for path in study.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            store.put(str(path.relative_to(study)), path.read_bytes())
    served = serving(f"{bucket}/results/made")
    with urllib.request.urlopen(f"{served.url}poll?study=") as answer:
        assert answer.status == 200
        assert b"finished" in answer.read()
