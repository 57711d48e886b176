"""The Ray that a study starts on this machine."""

import subprocess
import sys

import pytest

from flowsearch.study.local import _check_local

# As a notebook may have it, or `flowsearch bench study`: Ray has read its environment before a study begins.
SCRIPT = """
from ray import tune
import subprocess
from flowsearch.study.local import joined_ray
with joined_ray(1):
    import ray
    ray.get(ray.remote(lambda: 1).remote())
    print(subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout)
"""


@pytest.mark.ray
def test_nothing_listens_beyond_this_machine_where_ray_was_imported_before() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rays = [line for line in done.stdout.splitlines() if "raylet" in line or "ray::" in line or "gcs_server" in line]
    assert len(rays) >= 4
    assert [line for line in rays if "127.0.0.1" not in line.split()[3]] == []


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


def test_a_ray_that_others_reach_is_refused() -> None:
    _check_local("127.0.0.1")
    with pytest.raises(RuntimeError, match=r"listens on 192\.0\.2\.7"):
        _check_local("192.0.2.7")
