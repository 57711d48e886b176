"""Checkpoints take a small share of a trial's time, and a trial goes on from one as if nothing had been."""

import os
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from test_trial import DATA, config, numbers
from torch import nn, optim

from flowsearch.study.records import keep, read_records
from flowsearch.training import TrialConfig, checkpoint, keeper, run_trial
from flowsearch.training.header import remove_unfinished
from flowsearch.training.prior import run_prior


class Clock:
    """A clock that stands still unless it is moved; what is written takes two seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.written = 0.0, []
        monkeypatch.setattr(keeper.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(checkpoint, "write", self._write)

    def _write(self, path: Path, tensors: dict[str, Any], about: dict[str, Any]) -> None:
        self.now += 2.0
        self.written.append((path.name, about["epoch"]))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def _keeper(folder: Path) -> keeper.Keeper:
    model = nn.Linear(2, 1)
    return keeper.Keeper(folder, model, optim.Adam(model.parameters()))


def test_checkpoints_take_a_twentieth_of_the_time(clock: Clock, tmp_path: Path) -> None:
    one, kept = _keeper(tmp_path), []
    for epoch in range(100):
        clock.now += 10.0
        with one.after_epoch({"epoch": epoch}, last=False) as written:
            kept.append(written)
            clock.now += 1.0 if written else 0.0  # sent elsewhere
    assert kept[0]
    assert [epoch for epoch, written in enumerate(kept) if written] == list(range(0, 100, 6))
    assert 3.0 * sum(kept) / clock.now < 0.06  # a twentieth, and the first, which had no time before it


def test_each_epoch_is_kept_where_that_costs_little(clock: Clock, tmp_path: Path) -> None:
    one = _keeper(tmp_path)
    for epoch in range(5):
        clock.now += 40.0
        with one.after_epoch({"epoch": epoch}, last=False) as written:
            assert written
    assert clock.written == [(checkpoint.LAST, epoch) for epoch in range(5)]


def test_the_best_weights_wait_for_the_checkpoint_and_stay_what_they_were(tmp_path: Path) -> None:
    one = _keeper(tmp_path)
    with one.after_epoch({"epoch": 1}, last=False):
        pass
    one._pace._due = float("inf")
    best = one.model.weight.detach().clone()
    one.is_best({"epoch": 2})
    with one.after_epoch({"epoch": 2}, last=False) as written:
        assert not written
    nn.init.zeros_(one.model.weight)
    with one.after_epoch({"epoch": 3}, last=True):
        pass
    tensors, about = checkpoint.read(tmp_path / checkpoint.BEST)
    assert about["epoch"] == 2
    assert torch.equal(tensors["model.weight"], best)
    tensors, about = checkpoint.read(tmp_path / checkpoint.LAST)
    assert about["epoch"] == 3
    assert not tensors["model.weight"].any()


@pytest.fixture
def costly(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first one, no checkpoint is due."""
    monkeypatch.setattr(keeper, "SHARE", 1e-12)


@pytest.mark.usefixtures("costly")
@pytest.mark.parametrize("kind", ["glow", "resnet"])
def test_a_killed_trial_runs_again_what_was_not_kept(kind: str, tmp_path: Path) -> None:
    whole = list(run_trial(config(kind), checkpoint_dir=tmp_path / "whole"))
    assert [record.get("kept") for record in whole] == [True, False, True, None]
    running = run_trial(config(kind), checkpoint_dir=tmp_path / "a")
    before = list(islice(running, 2))
    shutil.copytree(tmp_path / "a", tmp_path / "killed")  # what a process that is killed now would leave
    for record in before:
        keep(tmp_path / "killed", record)
    known = read_records(tmp_path / "killed")
    assert [record["epoch"] for record in known] == [1]
    assert numbers(known + list(run_trial(config(kind), checkpoint_dir=tmp_path / "killed"))) == numbers(whole)


@pytest.mark.usefixtures("costly")
def test_a_closed_trial_loses_nothing(tmp_path: Path) -> None:
    whole = list(run_trial(config("glow"), checkpoint_dir=tmp_path / "whole"))
    running = run_trial(config("glow"), checkpoint_dir=tmp_path / "a")
    before = list(islice(running, 2))
    running.close()
    assert checkpoint.about(tmp_path / "a" / checkpoint.LAST)["epoch"] == 2
    after = list(run_trial(config("glow"), checkpoint_dir=tmp_path / "a"))
    assert [record["epoch"] for record in before + after][:3] == [1, 2, 3]
    assert [record["val_loss"] for record in before + after] == [record["val_loss"] for record in whole]


@pytest.mark.parametrize("kind", ["resnet", "tv"])
def test_a_trial_killed_before_its_record_was_kept_lacks_no_epoch(kind: str, tmp_path: Path) -> None:
    one = config(kind) if kind != "tv" else TrialConfig(data=DATA, method="tv", task="denoise-0.2")
    whole = list(run_trial(one, checkpoint_dir=tmp_path / "whole"))
    running = run_trial(one, checkpoint_dir=tmp_path / "a")
    record = next(running)
    shutil.copytree(tmp_path / "a", tmp_path / "killed")
    known = read_records(tmp_path / "killed")
    assert numbers(known) == numbers([record])
    assert numbers(known + list(run_trial(one, checkpoint_dir=tmp_path / "killed"))) == numbers(whole)


def test_a_prior_killed_before_its_record_was_kept_lacks_no_epoch(tmp_path: Path) -> None:
    one = config("glow", pretrain=True)
    store = tmp_path / "priors"
    told = []
    for record in islice(run_prior(one, checkpoint_dir=tmp_path, prior_dir=store), 2):
        (folder,) = store.iterdir()
        told.append(record)
        assert numbers(read_records(folder)[-1:]) == numbers([record])
        keep(folder, record)
        assert numbers(read_records(folder)) == numbers(told)


@pytest.mark.usefixtures("costly")
def test_a_killed_prior_runs_again_what_was_not_kept(tmp_path: Path) -> None:
    one = config("glow", pretrain=True)
    one = replace(one, prior=replace(one.prior, epochs=3))
    whole = list(run_prior(one, checkpoint_dir=tmp_path, prior_dir=tmp_path / "whole"))
    running = run_prior(one, checkpoint_dir=tmp_path, prior_dir=tmp_path / "a")
    before = list(islice(running, 2))
    shutil.copytree(tmp_path / "a", tmp_path / "killed")  # what a process that is killed now would leave
    (folder,) = (tmp_path / "killed").iterdir()
    for record in before:
        keep(folder, record)
    known = read_records(folder)
    assert [record["epoch"] for record in known] == [1]
    for left, kept in (("killed", known), ("a", before)):
        running.close()  # where "a" loses nothing
        after = list(run_prior(one, checkpoint_dir=tmp_path, prior_dir=tmp_path / left))
        assert numbers(kept + after) == numbers(whole)


def test_records_without_a_checkpoint_are_all_known(tmp_path: Path) -> None:
    keep(tmp_path, {"phase": "prior", "epoch": 1})
    assert read_records(tmp_path) == [{"phase": "prior", "epoch": 1}]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_checkpoint_is_as_readable_as_other_files(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        checkpoint.write(tmp_path / "last.safetensors", {"one": torch.ones(1)}, {})
    finally:
        os.umask(before)
    assert [path.name for path in tmp_path.iterdir()] == ["last.safetensors"]
    assert (tmp_path / "last.safetensors").stat().st_mode & 0o777 == mode


def test_a_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / checkpoint.LAST
    checkpoint.write(path, {"x": torch.ones(2)}, {"epoch": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"last\.safetensors could not be written: .*File too large"):
            checkpoint.write(path, {"x": torch.ones(10**6)}, {"epoch": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [one.name for one in tmp_path.iterdir()] == [checkpoint.LAST]
    assert checkpoint.read(path)[1] == {"epoch": 1}


def test_what_a_killed_process_left_unfinished_is_found_and_nothing_else(tmp_path):
    checkpoint.write(tmp_path / checkpoint.LAST, {}, {"epoch": 1})
    script = (
        "import os, pathlib\n"
        "from flowsearch.training import checkpoint\n"
        "checkpoint.save_file = lambda *args, **more: os._exit(9)\n"
        f"checkpoint.write(pathlib.Path({str(tmp_path / checkpoint.LAST)!r}), {{}}, {{}})\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    assert len(list(tmp_path.iterdir())) == 2
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.LAST]
    assert checkpoint.about(tmp_path / checkpoint.LAST) == {"epoch": 1}
