"""Memory of a trial: CUDA's own count on a GPU, the resident set of the process otherwise."""

import contextlib
import ctypes
import os
import resource
import sys
from pathlib import Path

import torch


def reset_peak(device: torch.device) -> None:
    """Begin a new peak, so that a process that is used again does not report an earlier trial's."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
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


def _status(name: str) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{os.getpid()}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
