"""Memory of a trial: CUDA's own count on a GPU, the resident set of the process otherwise."""

import contextlib
import ctypes
import os
import resource
import sys
from pathlib import Path

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of malloc.h; the largest that glibc takes are 2 GiB and 32 MiB."""


def reset_peak(device: torch.device) -> None:
    """Begin a new peak, so that a process that is used again does not report an earlier trial's, or what it left."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        release()
        with contextlib.suppress(OSError):  # only Linux can, and only where the process may write its own record
            Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """The highest memory in bytes since `reset_peak` (on a CPU without that, since the process began)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM")


def current_bytes(device: torch.device) -> int:
    """Memory in use in bytes now (on a CPU without Linux's record, the highest since the process began)."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _status("VmRSS")


def release() -> None:
    """Give freed memory back to the system where the C library can, so that the resident set is what is in use."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed() -> None:
    """Have glibc keep memory that is freed, unless the user's `MALLOC_` variables say what to do with it.

    A training step takes again what the last one freed; glibc would give its pages back to the system in between, and
    have them made anew (`tests/benchmarks/memory_kept.py`). The resident set then stays at its peak until `release`.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def _status(name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{os.getpid()}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
