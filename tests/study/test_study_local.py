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


def test_a_ray_that_others_reach_is_refused() -> None:
    _check_local("127.0.0.1")
    with pytest.raises(RuntimeError, match=r"listens on 192\.0\.2\.7"):
        _check_local("192.0.2.7")
