"""Parts of a researcher's own in a study: tried before Ray starts, found again by a resume, and taken to workers."""

import atexit
import hashlib
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flowsearch.operators.names import parse_task
from flowsearch.parts import beside, is_part, is_theirs, load_part, modules_in
from flowsearch.study.sections import Study
from flowsearch.training.config import TrialConfig
from flowsearch.training.prox_names import parse_prox

_log = logging.getLogger(__name__)

LARGEST = 64 * 2**20
"""Bytes of modules that are sent to a cluster's workers, at most."""

_FOLDER, _DIGESTS, _PROBES = "study_folder", "parts", "operators"


@dataclass(frozen=True)
class Carried:
    """What a worker needs to import the parts: the study file's folder, and the modules' files where it may have none.

    `files` are by their path below that folder, and empty where the workers share the driver's disk.
    """

    folder: str
    files: Mapping[str, bytes] = field(default_factory=dict)

    def put(self) -> None:
        """Let this process import them, after installed modules; for the rest of its life."""
        if not self.files:
            sys.path.append(self.folder)
            return
        place = tempfile.mkdtemp(prefix="fs-parts-")
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        for name, content in self.files.items():
            path = Path(place) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        sys.path.append(place)


def has_parts(study: Study) -> bool:
    """Whether the study names a part of its own: an operator, a proximal map, or a source of images."""
    return bool(_own_names(study))


def _own_names(study: Study) -> list[str]:
    """The parts of the study's own, as `module:name`."""
    data = study.data_config
    names = [data.source, data.ood or "", data.prior or ""]
    names += [parse_task(task).kind for task in _values(study, "task")]
    names += [parse_prox(prox).kind for prox in _values(study, "prox")]
    return [name for name in names if is_part(name)]


def packages(study: Study) -> set[str]:
    """The outermost packages, or single modules, of the study's own parts."""
    return {name.partition(":")[0].partition(".")[0] for name in _own_names(study)}


def moved(known: Mapping[str, Any], like: Study | None) -> dict[str, Any]:
    """The provenance of a study, whose file's folder is now that of `like` where the one it had is no more.

    A study that is submitted to a cluster again comes with its file and parts in another folder.
    """
    gone = like is not None and known.get(_FOLDER) is not None and not Path(known[_FOLDER]).is_dir()
    return dict(known) | ({_FOLDER: str(like.folder)} if gone and like is not None else {})


@contextmanager
def importable(study: Study, known: Mapping[str, Any]) -> Iterator[None]:
    """Let the body import what lies beside the study file; `known` is the provenance of a study that goes on.

    Raises ValueError for a module that was beside it then, and is not to be found now, and for a part of a notebook.
    """
    folder = Path(known.get(_FOLDER) or study.folder)
    if not has_parts(study):
        yield
        return
    inside = next((name for name in _own_names(study) if name.startswith("__main__:")), None)
    if inside is not None:
        raise ValueError(
            f"{inside} is of this notebook or script, which a study's workers do not have: move it into a module, on "
            "PYTHONPATH or beside the study file"
        )
    with beside(folder):
        for name in known.get(_DIGESTS) or {}:
            _check_still_there(name, folder)
        yield


def check(study: Study, channels: int | None = None) -> dict[str, tuple[float, float]]:
    """Try each operator and proximal map of one's own once, on images of the study's shape.

    `channels` are those of its images, which are loaded without it. Returns what `probe` says of each task with an
    operator of one's own.

    Raises StudyFileError, with the line that names the part, for what is missing or is none.
    """
    tasks = {task: parse_task(task) for task in _values(study, "task")}
    tasks = {task: spec for task, spec in tasks.items() if spec.own}
    proxes = _own_proxes(study)
    if not tasks and not proxes:
        return {}
    from flowsearch.data import load
    from flowsearch.operators import Task, probe
    from flowsearch.training.build import build_prox

    channels, size = channels or load(study.data_config).train.shape[1], study.data_config.size
    probes: dict[str, tuple[float, float]] = {}
    for task, spec in tasks.items():
        try:
            named = Task.named(task, size, channels)
            probes[named.name] = probe(named.operator, channels, size)
        except ValueError as error:
            raise study.error(_place(study, "task", spec.kind), str(error)) from None
    for config in proxes:
        try:
            build_prox(config, channels + (config.method == "pnp"))  # whose denoiser is told the noise as an image
        except ValueError as error:
            raise study.error(_place(study, "prox", str(config.prox)), str(error)) from None
    return probes


def provenance(
    study: Study, known: Mapping[str, Any], probes: Mapping[str, tuple[float, float]] | None = None
) -> dict[str, Any]:
    """Where the parts were found and sha256 of each file, once they have been imported; nothing without parts.

    Warns of each file that is not what it was when the study began by `known`, and of each operator that measures
    otherwise by its probe, as where a file that it reads has changed.
    """
    if not has_parts(study):
        return {}
    folder = Path(known.get(_FOLDER) or study.folder)
    files = {name: folder / name for name in _files(folder)} | _elsewhere(study, folder)
    digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}
    for name, digest in (known.get(_DIGESTS) or {}).items():
        if digests.get(name, digest) != digest:
            _log.warning("%s has changed since the study began; its trials will not be alike", files[name])
    for task, now in (probes or {}).items():
        then = (known.get(_PROBES) or {}).get(task)
        if then is not None and any(abs(a - b) > 1e-4 * abs(then[0]) for a, b in zip(now, then, strict=True)):
            _log.warning(
                "task %s measures otherwise than when the study began: has its code, a package or a file that it reads "
                "changed? Its trials will not be alike",
                task,
            )
    return {_FOLDER: str(folder), _DIGESTS: digests, _PROBES: dict(probes or {})}


def modules(study: Study) -> dict[str, bytes]:
    """The files of the modules beside the study file that hold its parts, by their path there.

    Called where they are `importable`. Raises ValueError for a part that is missing, and where they are too large.
    """
    for name in _own_names(study):
        load_part(name)
    return _limited(_files(Path(study.folder))) if has_parts(study) else {}


def carried(study: Study, known: Mapping[str, Any], far: bool) -> Carried | None:
    """What workers need, once the parts have been imported here; with `far` they may share no disk with the driver."""
    if not has_parts(study):
        return None
    folder = Path(known.get(_FOLDER) or study.folder)
    return Carried(str(folder.resolve()), _limited(_files(folder)) if far else {})


def _limited(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files, where they are not too large to travel."""
    taken = sum(map(len, files.values()))
    if taken > LARGEST:
        raise ValueError(
            f"the modules beside the study file have {taken / 2**20:.0f} MiB, and at most {LARGEST / 2**20:g} MiB are "
            "sent to a cluster's workers; keep large files elsewhere, or install the package on every machine"
        )
    return files


def _files(folder: Path) -> dict[str, bytes]:
    """The files of the imported modules that lie in the folder: a module's own, all of a package."""
    folder = folder.resolve()
    found: dict[str, bytes] = {}
    for home in set(modules_in(folder).values()):
        inside = sorted(home.rglob("*")) if home.is_dir() else [home]
        for path in inside:
            below = path.relative_to(folder)
            if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in below.parts):
                found[below.as_posix()] = path.read_bytes()
    return dict(sorted(found.items()))


def _elsewhere(study: Study, folder: Path) -> dict[str, Path]:
    """The files of the modules that hold the parts where these are installed or on PYTHONPATH, and of what they
    imported of their package on PYTHONPATH; by the module's name as a path, `mylab/nets.py`, as its folder may be
    called otherwise. What else lies in such a package, which may be a whole home, is not looked at.
    """
    holders = {name.partition(":")[0] for name in _own_names(study)}
    tops, near = packages(study), modules_in(folder)
    found: dict[str, Path] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] not in tops or name in near or file is None or not Path(file).is_file():
            continue
        if name in holders or is_theirs(file):
            inside = "/__init__" if hasattr(module, "__path__") else ""
            found[name.replace(".", "/") + inside + Path(file).suffix] = Path(file)
    return found


def _check_still_there(name: str, folder: Path) -> None:
    if not (folder / name).is_file() and find_spec(name.partition("/")[0].partition(".")[0]) is None:
        raise ValueError(
            f"{name} is gone, which this study was run with: bring it back to {folder}, or put its module on PYTHONPATH"
        )


def _values(study: Study, name: str) -> tuple[Any, ...]:
    """The values that a study gives to `name`, fixed or searched."""
    if name in study.space:
        return study.parsed_space().parameters[name].choices
    if name == "task" and study.tasks is not None:
        return tuple(study.tasks)
    return (study.fixed[name],) if name in study.fixed else ()


def _own_proxes(study: Study) -> list[TrialConfig]:
    """A configuration for each distinct proximal map of one's own at the corners of the space."""
    if not any(parse_prox(prox).own for prox in _values(study, "prox")):
        return []
    found: dict[tuple[str, str, str | None], TrialConfig] = {}
    for _, point in study.parsed_space().corners():
        config = study.config(point)
        if config.prox is not None and parse_prox(config.prox).own:
            found.setdefault((config.method, config.prox, config.prox_parameters), config)
    return list(found.values())


def _place(study: Study, name: str, kind: str) -> tuple[str, ...]:
    """Where in the file the part `kind` is named."""
    if name == "task" and study.tasks is not None:
        return ("tasks", *(str(index) for index, task in enumerate(study.tasks) if parse_task(task).kind == kind))
    section = "space" if name in study.space else "fixed"
    entry = getattr(study, section)[name]
    below: tuple[str, ...] = ()
    if isinstance(entry, dict) and "choice" in entry:
        entry, below = entry["choice"], ("choice",)
    if isinstance(entry, list):
        for index, choice in enumerate(entry):
            if isinstance(choice, dict) and kind in choice:
                return (section, name, *below, str(index), kind)
    return (section, name, *below, kind)
