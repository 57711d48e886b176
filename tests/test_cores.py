"""How many cores and how much memory a process takes for its own."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flowsearch import cores

Put = Callable[..., None]

JOB = "0::/system.slice/slurmstepd.scope/job_7/step_0"
DOCKER = "4:memory:/docker/f00\n3:cpuacct,cpu:/docker/f00\n0::/docker/f00"
PLACES = [
    pytest.param("0::/", "", id="container"),
    pytest.param(JOB, "system.slice/slurmstepd.scope/job_7/step_0/", id="job"),
    pytest.param(JOB, "system.slice/slurmstepd.scope/job_7/", id="job of several steps"),
    pytest.param("0::/docker/f00", "", id="container that is told its path"),
]
VERSION_1 = [pytest.param("", id="container"), pytest.param("docker/f00/", id="group")]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """A machine of four cores whose control groups are what is put there: /proc/self/cgroup, and files with words."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5}, raising=False)
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    monkeypatch.setattr(cores, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cores, "_MOUNTED", tmp_path / "mounted")

    def make(groups: str, **files: str) -> None:
        (tmp_path / "groups").write_text(groups + "\n")
        for name, words in files.items():
            path = tmp_path / "mounted" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(words + "\n")

    return make


@pytest.mark.parametrize(("groups", "at"), PLACES)
@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", 4), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 4)]
)
def test_what_a_process_is_given_of_the_cores_counts(groups: str, at: str, quota: str, expected: int, put: Put) -> None:
    put(groups, **{f"{at}cpu.max": quota})
    assert cores.cores() == expected


@pytest.mark.parametrize("at", VERSION_1)
@pytest.mark.parametrize(("quota", "expected"), [("-1", 4), ("250000", 2), ("50000", 1)])
def test_what_control_groups_of_version_1_give_of_the_cores_counts(
    at: str, quota: str, expected: int, put: Put
) -> None:
    put(DOCKER, **{f"cpu/{at}cpu.cfs_quota_us": quota, f"cpu/{at}cpu.cfs_period_us": "100000"})
    assert cores.cores() == expected


@pytest.mark.parametrize(("groups", "at"), PLACES)
def test_what_a_process_is_given_of_the_memory_is_known(groups: str, at: str, put: Put) -> None:
    put(groups, **{f"{at}memory.max": "max"})
    assert cores.memory_limit() is None
    put(groups, **{f"{at}memory.max": "4000000000"})
    assert cores.memory_limit() == 4_000_000_000


@pytest.mark.parametrize("at", VERSION_1)
def test_what_control_groups_of_version_1_give_of_the_memory_is_known(at: str, put: Put) -> None:
    put(DOCKER, **{f"memory/{at}memory.limit_in_bytes": "4000000000"})
    assert cores.memory_limit() == 4_000_000_000


def test_without_control_groups_the_machine_counts(put: Put) -> None:
    assert (cores.cores(), cores.memory_limit()) == (4, None)


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("16", 4), ("0", 1), ("", 4)])
def test_a_slurm_job_counts_for_what_it_is_given(
    given: str, expected: int, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", given)
    assert cores.cores() == expected
