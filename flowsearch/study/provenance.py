"""Where a study's numbers come from: versions, commit, machine, data."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "flowsearch",
    "torch",
    "numpy",
    "ray",
    "optuna",
    "pyarrow",
    "pandas",
    "torchmetrics",
    "pillow",
    "safetensors",
)


def gather(fingerprint: str | None) -> dict[str, Any]:
    """Plain values about this run of a study; `fingerprint` is that of its images."""
    return {
        "created": datetime.now(UTC).isoformat(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "git": _git(Path(__file__).resolve().parent),
        "host": platform.node(),
        "hosts": [platform.node()],
        "platform": platform.platform(),
        "processor": processor(),
        "cpus": os.cpu_count(),
        "command": sys.argv,
        "data_fingerprint": fingerprint,
    }


@cache
def processor() -> str:
    """What the processor is called; on Linux and macOS by its model's name, which `platform` does not know."""
    if platform.system() == "Darwin" and (name := _said("sysctl", "-n", "machdep.cpu.brand_string")):
        return name
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that flowsearch runs from, and whether it was changed; None for an installed package."""
    commit = _run(folder, "rev-parse", "HEAD")
    if commit is None or _run(folder, "ls-files", "--error-unmatch", str(Path(__file__).resolve())) is None:
        return None
    changes = _run(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "changed": bool(changes)}


def _run(folder: Path, *command: str) -> str | None:
    return _said("git", "-C", str(folder), *command)


def _said(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
