"""The Ray that a study starts on this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flowsearch.study.holding import signals
from flowsearch.study.local import _check_local, _short

# As a notebook may have it, or `flowsearch bench study`: Ray has read its environment before a study begins.
SCRIPT = """
from ray import tune
import json, os, subprocess
from flowsearch.study.local import joined_ray

def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout

with joined_ray(1):
    import ray
    ray.get(ray.remote(lambda: 1).remote())
    print(json.dumps([said("ps", "-wwo", "pid=,args=", "-s", str(os.getsid(0))), said("ss", "-Hltnp")]))
"""


Started = tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def started() -> Started:
    """What a study's own Ray is made of: its processes, and what listens of them."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, start_new_session=True
    )
    assert done.returncode == 0, done.stderr
    processes, listening = (said.splitlines() for said in json.loads(done.stdout))
    ours = [f"pid={line.split()[0]}," for line in processes if line.split()[0].isdigit()]  # of a script, its first line
    return processes, [line for line in listening if any(pid in line for pid in ours)]


@pytest.mark.ray
def test_nothing_listens_beyond_this_machine_where_ray_was_imported_before(started: Started) -> None:
    rays = [line for line in started[1] if "raylet" in line or "ray::" in line or "gcs_server" in line]
    assert len(rays) >= 4
    assert [line for line in rays if "127.0.0.1" not in line.split()[3]] == []


@pytest.mark.ray
def test_ray_starts_without_what_a_study_has_no_use_for(started: Started) -> None:
    processes = "\n".join(started[0])
    assert "raylet" in processes
    assert [name for name in ("dashboard/dashboard.py", "monitor.py", "log_monitor.py") if name in processes] == []


# The signal comes when Ray would have taken it and is not done with its start.
SIGNALLED = """
import os, signal, sys
import ray._private.worker as worker
from flowsearch.study.holding import signals
from flowsearch.study.local import joined_ray

start = worker.connect
def connect(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGTERM)
    start(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGTERM) if "twice" in sys.argv else None
worker.connect = connect

with signals() as stop, joined_ray(1) as resources:
    print(stop.why, resources["CPU"])
"""


@pytest.mark.ray
@pytest.mark.parametrize(("argument", "code", "said"), [("once", 0, "signal 1.0\n"), ("twice", 128 + 15, "")])
def test_a_signal_while_ray_starts_is_the_studys(argument: str, code: int, said: str) -> None:
    command = [sys.executable, "-c", SIGNALLED, argument]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, said), done.stderr


# What Ray does on an Apple silicon Mac: it asks `system_profiler` for a GPU, and has a process that ends the others.
ON_A_MAC = """
import json, os, platform
platform.system, platform.machine = lambda: "Darwin", lambda: "arm64"
import ray._private.utils as utils
import ray._private.worker as worker
from flowsearch.study.local import joined_ray

utils.detect_fate_sharing_support = lambda: None
group = os.getpgrp()
with joined_ray(1) as resources:
    started = [info.process.pid for each in worker._global_node.all_processes.values() for info in each]
    print(json.dumps([resources.get("GPU", 0), os.getpgrp() == group, started]), flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.ray
def test_a_macs_ray_has_no_gpu_and_leaves_ctrl_c_to_the_study(tmp_path: Path) -> None:
    profiler = tmp_path / "system_profiler"
    profiler.write_text("#!/bin/sh\necho 'Metal Support: Metal 3'\n")
    profiler.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [sys.executable, "-c", ON_A_MAC]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    gpus, in_its_group, started = json.loads(done.stdout)
    assert (gpus, in_its_group) == (0, True)
    assert len(started) >= 3
    until = time.monotonic() + 60
    while [pid for pid in started if _runs(pid)]:
        assert time.monotonic() < until, "Ray's processes outlive the study that was killed"
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.ray
@pytest.mark.parametrize("before", [None, "f" * 64], ids=["new", "kept"])
def test_nobody_else_reads_the_token_that_lets_code_run_here(before: str | None, tmp_path: Path) -> None:
    token = tmp_path / ".ray" / "auth_token"
    if before is not None:
        token.parent.mkdir()
        token.write_text(before)
        token.chmod(0o644)
    script = "from flowsearch.study.local import joined_ray\nwith joined_ray(1):\n    pass"
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | {"HOME": str(tmp_path)})
    assert (len(token.read_text()), token.stat().st_mode & 0o777) == (64, 0o600)


@pytest.mark.parametrize(
    ("before", "stops"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)], ids=["as it comes", "by nohup"]
)
def test_a_terminal_that_closes_stops_a_study_unless_it_was_begun_by_nohup(before: Any, stops: bool) -> None:
    theirs = signal.signal(signal.SIGHUP, before)
    try:
        with signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.asked is stops
        assert signal.getsignal(signal.SIGHUP) == before
    finally:
        signal.signal(signal.SIGHUP, theirs)


@pytest.mark.parametrize(
    ("writable", "chosen"),
    [({"/tmp", "/var/tmp", "/dev/shm"}, "/tmp"), ({"/dev/shm"}, "/dev/shm"), (set(), None)],
    ids=["all", "a container without /tmp", "none"],
)
def test_ray_s_sockets_are_where_they_can_be_written(
    writable: set[str], chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/scratch/jobs/of/somebody/0123456")
    monkeypatch.setattr(os, "access", lambda path, mode: path in writable)
    assert _short() == chosen


def test_a_ray_that_others_reach_is_refused() -> None:
    _check_local("127.0.0.1")
    with pytest.raises(RuntimeError, match=r"listens on 192\.0\.2\.7"):
        _check_local("192.0.2.7")
