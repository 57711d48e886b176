"""How many cores this process may use."""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where a container says how much of its time it has, e.g. `200000 100000`: two cores (cgroup v2)."""


def cores() -> int:
    """The cores that this process may run on, no more than its container or its Slurm job is given; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Not every Slurm cluster keeps a job's processes on the cores that it gave the job.
    if (given := os.environ.get("SLURM_CPUS_ON_NODE", "")).isdigit():
        allowed = min(allowed, max(1, int(given)))
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):  # there is no container, or its quota is `max`
        return allowed
