"""What studies need of a machine, looked at and tried, one thing after the other."""

import errno
import os
import platform
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from flowsearch.cores import cores, memory_limit

_TRIAL_BYTES = 1.5e9
"""About what a trial of the quickstart takes of the main memory, its process and its part of Ray's included."""

_LITTLE_DISK = 5e9

_RAY_SECONDS = 60.0

SET_HOME = "set HOME to a folder of yours, where flowsearch keeps images and Ray its token"


@dataclass(frozen=True)
class Finding:
    """What one look gave."""

    what: str
    state: str
    """`ok`; `note`: studies run, but not as on another machine; `problem`: they will not run, or not to their end."""
    said: str
    mend: str | None = None
    """What to do about it."""


def examine(results: str) -> Iterator[Finding]:
    """Look at packages, processor, GPUs and Ray, at the folders that studies write to (`results` is a path or URI) and
    at the prepared images. What fails is a finding; nothing is left behind."""
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "packages": _packages,
        "processor": _processor,
        "gpu": _gpus,
        "ray": _ray,
        "results": lambda: [_place("results", results)],
        "home": lambda: [_place("home", str(_home()))],
        "scratch": lambda: [_place("scratch", tempfile.gettempdir())],
        "images": _images,
    }
    for what, check in checks.items():
        try:
            yield from check()
        except Exception as error:
            said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            mend = SET_HOME if isinstance(error, OSError) and is_of_home(error) else None
            yield Finding(what, "problem", " ".join(said.split()), mend)


def is_of_home(error: OSError) -> bool:
    """Whether the user's home, which in containers may be `/`, or what is ours or Ray's there cannot be written."""
    if error.errno not in (errno.EACCES, errno.EROFS) or error.filename is None:
        return False
    path, home = Path(str(error.filename)), Path(os.path.expanduser("~"))
    return path == home or path.is_relative_to(home / ".flowsearch") or path.is_relative_to(home / ".ray")


def _packages() -> Iterator[Finding]:
    """Every package that flowsearch asks for, and its version."""
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in requires("flowsearch") or []]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    fit = True
    for one in wanted:
        try:
            found = version(one.name)
        except PackageNotFoundError:
            found = None
        if found is None or not one.specifier.contains(found, prereleases=True):
            fit = False
            said = f"{one.name} {found or 'is missing'}; flowsearch needs {one}"
            yield Finding("packages", "problem", said, f"pip install '{one}'")
    if fit:
        named = ", ".join(f"{name} {version(name)}" for name in ("flowsearch", "torch", "ray", "optuna"))
        yield Finding("packages", "ok", f"{named}; python {platform.python_version()}")


def _processor() -> Iterator[Finding]:
    from flowsearch.flows.bfloat16 import has_bfloat16
    from flowsearch.study.provenance import processor

    count, memory = cores(), _memory()
    precision = "bf16 and fp32" if has_bfloat16("cpu") else "fp32 (it does not multiply bfloat16)"
    said = f"{processor()}, {count} {'core' if count == 1 else 'cores'}, {memory / 1e9:.1f} GB; precision: {precision}"
    if memory >= count * _TRIAL_BYTES:
        yield Finding("processor", "ok", said)
        return
    few = max(1, int(memory // _TRIAL_BYTES))
    mend = f"fewer trials at once: --set resources.concurrent={few}"
    yield Finding("processor", "note", f"{said}: little memory for a trial on each core", mend)


def _memory() -> int:
    """Bytes of memory: the machine's, or what this process is given of it."""
    known = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(known, memory_limit() or known)


def _gpus() -> Iterator[Finding]:
    """Every GPU that torch sees, with a convolution that is compared with the CPU's."""
    import torch

    from flowsearch.flows.bfloat16 import has_bfloat16

    if not torch.cuda.is_available():
        yield _no_gpu()
        return
    images, weight = torch.rand(2, 8, 16, 16), torch.rand(8, 8, 3, 3)
    expected = torch.nn.functional.conv2d(images, weight)
    precision = "bf16 and fp32" if has_bfloat16("cuda") else "fp32"
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        known = torch.cuda.get_device_properties(device)
        said = f"{known.name}, {known.total_memory / 1e9:.0f} GB"
        try:
            computed = torch.nn.functional.conv2d(images.to(device), weight.to(device)).cpu()
            free, total = torch.cuda.mem_get_info(device)
        except RuntimeError as error:
            line = str(error).strip().partition("\n")[0]
            yield Finding("gpu", "problem", f"{said}: {line}", "install a torch that is built for it")
            continue
        if not torch.allclose(computed, expected, rtol=1e-2):
            yield Finding("gpu", "problem", f"{said}: a convolution gives other numbers there than on the CPU")
        elif free < 0.8 * total:
            said += f", of which others use {(total - free) / 1e9:.0f} GB; precision: {precision}"
            yield Finding("gpu", "note", said, "gpu: auto counts the whole: end what else runs there")
        else:
            yield Finding("gpu", "ok", f"{said}; precision: {precision}")


def _no_gpu() -> Finding:
    """Why torch has no GPU."""
    import torch

    if shutil.which("nvidia-smi") is None and not Path("/dev/nvidiactl").exists():
        return Finding("gpu", "note", "none: trials run on the CPU")
    if torch.version.cuda is None:
        said = f"there is one, but torch {torch.__version__} is built for the CPU"
        mend = "install a torch that is built for CUDA"
    elif os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        said, mend = "there is one, but CUDA_VISIBLE_DEVICES hides it", "unset CUDA_VISIBLE_DEVICES"
    else:
        try:
            torch.cuda.init()
            said = "torch finds none"
        except (RuntimeError, AssertionError) as error:
            said = str(error).strip().partition("\n")[0]
        mend = f"install a driver for CUDA {torch.version.cuda}, for which torch is built, or a torch for this driver"
    return Finding("gpu", "problem", said, mend)


def _ray() -> Iterator[Finding]:
    """A Ray like a study's own, with a task that asks a worker for what a trial uses."""
    import torch

    from flowsearch.study.local import joined_ray
    from flowsearch.study.packing import look

    began = time.perf_counter()
    with joined_ray(cores()) as resources:
        import ray

        up = time.perf_counter() - began
        ray.get(ray.remote(_answer).options(num_cpus=1).remote(), timeout=_RAY_SECONDS)
        answered = time.perf_counter() - began - up
        gpus, seen = int(resources.get("GPU", 0)), torch.cuda.device_count()
        if gpus != seen:
            said = f"Ray counts {gpus} GPUs and torch {seen}"
            yield Finding("ray", "problem", said, "set CUDA_VISIBLE_DEVICES to those that are there")
            return
        look(resources)
    yield Finding("ray", "ok", f"ready in {up:.1f} s, a worker in {answered:.1f} s, for this machine alone")


def _answer() -> object:
    """What a worker is asked to do: import what trials are made of."""
    from flowsearch.training import TrialConfig

    return TrialConfig().folds


def _place(what: str, where: str) -> Finding:
    """A folder or prefix that studies write to: something is written, read and removed again; on disk in what is there
    of the path."""
    from flowsearch.storage import Folder, store_at

    store = store_at(where)
    said = store.where
    free = None
    if isinstance(store, Folder):
        there = next(path for path in (store.root, *store.root.resolve().parents) if path.exists())
        store, free = Folder(there), shutil.disk_usage(there).free
        said = f"{said}: {free / 1e9:.1f} GB free"
    name, content = f"doctor-{uuid.uuid4().hex}", os.urandom(1024)
    try:
        store.put(name, content)
        came = store.get(name)
        store.remove([name])
    except OSError as error:
        home = "set FLOWSEARCH_HOME to another folder" if os.environ.get("FLOWSEARCH_HOME") else SET_HOME
        mend = {"results": "choose another with --results", "home": home}.get(what, "make it writable")
        return Finding(what, "problem", f"{store.where} cannot be written: {error}", mend)
    if came != content:
        return Finding(what, "problem", f"{store.where} gives back something else than was written")
    if free is not None and free < _LITTLE_DISK:
        return Finding(what, "note", said, "`flowsearch study plan FILE` says how much disk a study fills")
    return Finding(what, "ok", said)


def _home() -> Path:
    from flowsearch.data.store import data_home

    return data_home().parent


def _images() -> Iterator[Finding]:
    """The image sets that a study file can name."""
    from flowsearch.data.store import BUILT_IN, list_datasets

    sets = [f"{manifest.name} at {manifest.size}" for manifest in list_datasets()]
    said = f"{' and '.join(BUILT_IN)} are built in; prepared: {', '.join(sets) or 'none'}"
    yield Finding("images", "ok", said)
