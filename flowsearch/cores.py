"""How many cores this process may use."""

import os
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where a container says how much of its time it has, e.g. `200000 100000`: two cores (cgroup v2)."""


def cores() -> int:
    """The cores that this process may run on, no more than its container is given time for; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        given, of = _QUOTA.read_text(encoding="ascii").split()
        return max(1, min(allowed, int(given) // int(of)))
    except (OSError, ValueError):  # there is no container, or its quota is `max`
        return allowed
