"""The memory of a process, by what Linux says of it."""

import json
import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is kept by glibc's means")

_FAULTS = """
import ctypes, resource, torch
from flowsearch.training.memory import keep_freed
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # no huge pages, which some systems give unasked: a fault each is counted
ctypes.CDLL(None).mallopt(-3, 1 << 17)  # as a process begins: whether glibc changes it depends on what came before
{keep}
def step():
    tensors = [torch.ones(1_000_000) for _ in range(50)]  # 4 MB each
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 5)
"""

_PEAK = """
import json, torch
from flowsearch.training.memory import current_bytes, keep_freed, peak_bytes, reset_peak
device = torch.device("cpu")
keep_freed()
free = current_bytes(device)
tensors = [torch.ones(5_000_000) for _ in range(10)]
tensors.clear()
kept = current_bytes(device)
reset_peak(device)
print(json.dumps([kept - free, peak_bytes(device) - free]))
"""


@pytest.mark.parametrize(
    ("keep", "low", "high"),
    [pytest.param("", 45_000, 60_000, id="as glibc begins"), pytest.param("keep_freed()", 0, 100, id="kept")],
)
def test_what_one_step_frees_the_next_takes_again(keep: str, low: int, high: int) -> None:
    assert low <= int(_run(_FAULTS.format(keep=keep))) <= high  # 200 MB are 49,000 pages


def test_what_was_kept_is_not_in_the_next_peak() -> None:
    kept, peak = json.loads(_run(_PEAK))
    assert kept > 150e6
    assert peak < 50e6


def _run(code: str) -> str:
    unset = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    return subprocess.run([sys.executable, "-c", code], env=unset, check=True, capture_output=True, text=True).stdout
