"""A driver that is interrupted or killed, in a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from small_study import HERE, TEXT

from flowsearch.study import load
from flowsearch.study.ledger import Ledger
from flowsearch.study.progress import replay

pytestmark = pytest.mark.ray

SCRIPT = """
import sys
from unittest import mock
import typer
from flowsearch.cli import study as commands
from flowsearch.study import runner
run_trial = sys.argv.pop(1)
for function in (runner.run, runner.resume, runner.retry):
    function.__kwdefaults__.update(run_trial=run_trial, images=lambda config: "same", cpus=2)
app = typer.Typer()
app.add_typer(commands.app, name="study")
app()
"""


def start(folder: Path, run_trial: str, *arguments: str) -> subprocess.Popen[str]:
    """`flowsearch study ...` with instant trials."""
    # The package is the one that these tests belong to, wherever another copy of it is installed.
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, f"study_fakes:{run_trial}", "study", *arguments],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "nothing happened in time"
        time.sleep(0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(TEXT.replace("trials: 8", "trials: 4").replace("scheduler: {asha", "# {asha"))
    return tmp_path


def statuses(folder: Path) -> dict[str, int]:
    root = folder / "results/small"
    return dict(replay(load(root / "study.yaml"), Ledger(root / "ledger")).counts)


def epochs_done(folder: Path) -> bool:
    return len(list((folder / "results/small/checkpoints").glob("*/records.jsonl"))) == 2


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="ctrl-c"),
        pytest.param(signal.SIGTERM, id="sigterm", marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, id="its terminal closed", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_study_says_how_to_go_on(folder, number):
    process = start(folder, "lasting_trial", "run", "small.yaml", "--plain")
    wait_for(lambda: epochs_done(folder), process)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "flowsearch study resume results/small" in out
    assert err == ""
    trials = pd.read_parquet(folder / "results/small/trials")
    assert set(trials["status"]) == {"interrupted"}
    process = start(folder, "run_trial", "resume", "results/small", "--plain")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert statuses(folder) == {"completed": 4}
    assert set(pd.read_parquet(folder / "results/small/trials")["attempt"]) == {1, 2}


@pytest.mark.slow
def test_a_signal_to_all_processes_ends_ray_too_and_the_study_goes_on_when_resumed(folder):
    process = start(folder, "lasting_trial", "run", "small.yaml", "--plain")
    wait_for(lambda: epochs_done(folder), process)
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode in (1, 130), err
    assert "resume" in out + err
    assert "Traceback" not in err
    process = start(folder, "run_trial", "resume", "results/small", "--plain")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert statuses(folder) == {"completed": 4}


@pytest.mark.slow
def test_a_killed_driver_loses_nothing(folder):
    process = start(folder, "lasting_trial", "run", "small.yaml", "--plain")
    wait_for(lambda: epochs_done(folder), process)
    process.kill()
    process.wait()
    assert statuses(folder) == {"interrupted": 2}
    process = start(folder, "run_trial", "resume", "results/small", "--plain")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert statuses(folder) == {"completed": 4}
    trials = pd.read_parquet(folder / "results/small/trials")
    assert sorted(trials["attempt"]) == [1, 1, 2, 2]
    assert sorted(pd.read_parquet(folder / "results/small/epochs").groupby("trial_id")["epoch"].nunique()) == [4] * 4


@pytest.mark.slow
def test_two_drivers_at_once_are_refused(folder):
    process = start(folder, "lasting_trial", "run", "small.yaml", "--plain")
    try:
        wait_for(lambda: epochs_done(folder), process)
        second = start(folder, "run_trial", "resume", "results/small", "--plain")
        _, err = second.communicate(timeout=30)
        assert second.returncode == 2
        assert "another process is running the study" in err
        assert f"process {process.pid} on " in err
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "reason", "traced"),
    [
        pytest.param(3, "KeyError: 'no such thing'", "KeyError", id="raised"),
        pytest.param(6, "lost its worker process twice", "its worker process has died", id="died, in Ray's words"),
    ],
)
def test_failed_trials_give_exit_code_1_and_are_named(folder, seed, reason, traced):
    text = (folder / "small.yaml").read_text()
    (folder / "small.yaml").write_text(text.replace("epochs: 4}", f"epochs: 4, seed: {seed}}}"))
    process = start(folder, "troubled_trial", "run", "small.yaml", "--plain", "--set", "search.trials=2")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"trial 0001 failed: {reason}" in out
    assert "failed: 0000, 0001 (tracebacks are in results/small/errors)\n" in err
    assert traced in (folder / "results/small/errors/0001.txt").read_text()


def test_mistakes_give_exit_code_2(folder):
    process = start(folder, "run_trial", "run", "small.yaml", "--set", "space.dept=[1]")
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert err.strip().splitlines() == [err.strip()]
    assert "did you mean space.depth?" in err
    assert not (folder / "results").exists()


@pytest.mark.slow
def test_nothing_listens_beyond_this_machine_and_nothing_chatters(folder):
    process = start(folder, "lasting_trial", "run", "small.yaml", "--plain")
    try:
        wait_for(lambda: epochs_done(folder), process)
        opened = subprocess.run(["ss", "-Hltunp"], capture_output=True, text=True, check=True).stdout
        session = subprocess.run(
            ["ps", "-o", "pid=", "-s", str(process.pid)], capture_output=True, text=True, check=True
        )
        pids = session.stdout.split()
        ours = [line for line in opened.splitlines() if any(f"pid={pid}," in line for pid in pids)]
        assert ours
        assert [line for line in ours if "127.0.0.1" not in line.split()[4]] == []
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert err == ""
    assert all(line.startswith(("study ", "trial ", "interrupted", "go on")) for line in out.splitlines()), out


def left_of(process: subprocess.Popen[str]) -> list[str]:
    """Processes of the study's session that are still there, but for Ray's agents, which notice only after a while."""
    command = ["ps", "-o", "args=", "-s", str(process.pid)]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return [line for line in lines if line.strip() and "Agent" not in line]


@pytest.mark.slow
def test_a_second_signal_ends_everything_at_once(folder):
    process = start(folder, "lasting_trial", "run", "small.yaml", "--plain")
    wait_for(lambda: epochs_done(folder), process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)
    assert process.returncode in (130, 143)
    until = time.monotonic() + 20
    while left_of(process) and time.monotonic() < until:
        time.sleep(0.2)
    assert left_of(process) == []
