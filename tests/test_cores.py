"""How many cores a process takes for its own."""

import os
from pathlib import Path

import pytest

from flowsearch import cores


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 4), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 4), (None, 4)],
)
def test_a_container_counts_for_what_it_is_given(
    quota: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert cores.cores() == expected


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("16", 4), ("", 4)])
def test_a_slurm_job_counts_for_what_it_is_given(
    given: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", given)
    assert cores.cores() == expected
