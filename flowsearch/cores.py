"""How many cores and how much memory this process may use: in a container or a batch job less than the machine has."""

import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")
"""The control groups of this process, a line `number:controllers:path` each; version 2 has one, without controllers."""
_MOUNTED = Path("/sys/fs/cgroup")


def cores() -> int:
    """The cores that this process may run on, no more than its container or its Slurm job is given; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Not every Slurm cluster keeps a job's processes on the cores that it gave the job.
    if (given := os.environ.get("SLURM_CPUS_ON_NODE", "")).isdigit():
        allowed = min(allowed, int(given))
    for folder in _groups("cpu"):
        # Two cores: 200000 100000 in cpu.max of version 2, in two files of version 1; without a quota max, or -1.
        quota, *period = _read(folder / "cpu.max") or _read(folder / "cpu.cfs_quota_us") or ["max"]
        period = period or _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period:
            allowed = min(allowed, int(quota) // int(period[0]))
    return max(1, allowed)


def memory_limit() -> int | None:
    """Bytes of memory that this process's container or batch job has at most; None where nobody says."""
    said = (_read(folder / name) for folder in _groups("memory") for name in ("memory.max", "memory.limit_in_bytes"))
    return min((int(limit[0]) for limit in said if limit and limit[0].isdigit()), default=None)


def _groups(controller: str) -> Iterator[Path]:
    """The folders of the groups that this process is in, its own and all above it: the least limit counts.

    A container has its group's files in the place of the root's, whether or not the path that it is told says so.
    """
    for line in (_GROUPS.read_text(encoding="utf-8") if _GROUPS.exists() else "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = _MOUNTED / controller if controllers else _MOUNTED
        own = root / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))


def _read(path: Path) -> list[str]:
    """The words of a file; none where there is no such file."""
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
