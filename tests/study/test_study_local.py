"""The Ray that a study starts on this machine."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from flowsearch.study.holding import signals
from flowsearch.study.local import _check_local

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


def test_a_ray_that_others_reach_is_refused() -> None:
    _check_local("127.0.0.1")
    with pytest.raises(RuntimeError, match=r"listens on 192\.0\.2\.7"):
        _check_local("192.0.2.7")
