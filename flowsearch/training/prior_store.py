"""The store of pre-trained priors: a folder each, named by what decides the prior. Neither torch nor Ray is loaded.

    <store>/<key>/prior.safetensors         the flow, once it is pre-trained; its header says what it is
    <store>/<key>/unfinished.safetensors    flow and optimizer as they are kept, until then
    <store>/<key>/records.jsonl             a record an epoch, as studies keep them
    <store>/<key>/pictures/                 its mode and samples, PNG
    <store>/<key>/users.jsonl               which trials of which studies have asked for it

Whoever pre-trains holds the folder's lock. It is the operating system's (flock): it is gone when its holder is, however
that died, so the next one takes over and goes on from there. It holds between processes of one machine, and
between machines that share a disk whose file system passes such locks on (NFS 4 does).
"""

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from flowsearch.training.config import OWN_FIELDS, TrialConfig
from flowsearch.training.header import about

FOLDER = "priors"
"""The store's name in the results' folder, beside the studies that share it."""

PRIOR, UNFINISHED = "prior.safetensors", "unfinished.safetensors"
PICTURES = "pictures"
_USERS, _LOCK = "users.jsonl", ".lock"


_FLOW = tuple(name for name in OWN_FIELDS["glow"] if name not in ("pretrain", "memory"))
PRIOR_NAMES = (*_FLOW, "flip", "precision")
"""What of a trial's flat names decides its prior; not `memory`, by which gradients are computed, but not which."""


def prior_key(config: TrialConfig, fingerprint: str) -> str:
    """A name for everything that decides a prior: images, architecture, settings. Equal keys mean equal priors.

    `mixing` tells a flow from those of before its 1x1 convolutions were orthogonal, which cannot be read any more.
    """
    values = {name: getattr(config, name) for name in PRIOR_NAMES}
    prior = config.prior.to_dict()
    del prior["memory"]
    decided = {
        "fingerprint": fingerprint,
        "flow": {name: values.pop(name) for name in _FLOW} | {"mixing": "orthogonal"},
        "prior": prior,
    } | values
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()[:16]


def picture_name(number: int) -> str:
    """Where a prior's folder has its picture of that number: 0 is the mode, the others are samples."""
    return f"{PICTURES}/{number:02d}.png"


@dataclass(frozen=True)
class StoredPrior:
    """What `listed` tells of a prior: `about` is its header, `users` the trials that asked for it, by study.

    `damaged` names its file where that cannot be read; nothing is known of the prior then.
    """

    key: str
    finished: bool
    about: dict[str, Any]
    bytes: int
    changed: datetime
    users: dict[str, set[str]] = field(default_factory=dict)
    damaged: str | None = None


class PriorStore:
    """The priors in the folder `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, key: str) -> Path:
        """Where the prior of that key lies."""
        return self.root / key

    def finished(self, key: str) -> bool:
        """Whether the prior is pre-trained, and its file whole."""
        try:
            about(self.root / key / PRIOR)
        except (OSError, ValueError):
            return False
        return True

    def kept(self, key: str) -> tuple[str, str] | None:
        """Where else the prior's folder is kept, as an order says it: nowhere."""
        return None

    def find(self, begins: str) -> str:
        """The one prior whose key begins so; ValueError where there is none or more than one."""
        keys = [prior.key for prior in self.listed()]
        found = [key for key in keys if begins and key.startswith(begins)]
        if len(found) != 1:
            what = "no prior" if not found else f"{len(found)} priors"
            there = ", ".join(keys) if keys else "none"
            raise ValueError(f"{what} in {self.root} of a name that begins with {begins!r} (there: {there})")
        return found[0]

    def file(self, key: str) -> Path:
        """Where the flow lies, finished or as far as it is; one that is damaged all the same."""
        finished, unfinished = self.folder(key) / PRIOR, self.folder(key) / UNFINISHED
        return unfinished if unfinished.exists() and not self.finished(key) else finished

    def pictures(self, key: str) -> list[dict[str, Any]]:
        """The prior's mode and samples, as rows of the table of panels; none of a prior of before they were kept."""
        found = sorted((self.folder(key) / PICTURES).glob("*.png"))
        return [
            {"image": number, "kind": "sample" if number else "mode", "png": path.read_bytes()}
            for number, path in enumerate(found)
        ]

    def hold(self, key: str) -> TextIO | None:
        """The prior's lock, to be closed when it is pre-trained; None while another process has it."""
        self.folder(key).mkdir(parents=True, exist_ok=True)
        file = (self.folder(key) / _LOCK).open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except BaseException:
            file.close()
            raise
        return file

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        """The prior's lock for the body, after waiting for it."""
        self.folder(key).mkdir(parents=True, exist_ok=True)
        with (self.folder(key) / _LOCK).open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def note_use(self, key: str, study: str, trial: str) -> None:
        """Note that a trial asked for the prior."""
        self.folder(key).mkdir(parents=True, exist_ok=True)
        with (self.folder(key) / _USERS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"study": study, "trial": trial, "time": datetime.now(UTC).isoformat()}) + "\n")

    def listed(self) -> list[StoredPrior]:
        """The priors there are, the latest last; those that nobody has begun are left out."""
        found = [self._read(folder) for folder in self.root.iterdir()] if self.root.is_dir() else []
        return sorted((prior for prior in found if prior is not None), key=lambda one: one.changed)

    def _read(self, folder: Path) -> StoredPrior | None:
        found = [one for name in (PRIOR, UNFINISHED) if (one := _stored(folder, name)) is not None]
        return min(found, key=lambda one: one.damaged is not None, default=None)


def _stored(folder: Path, name: str) -> StoredPrior | None:
    path, header, damaged = folder / name, dict[str, Any](), None
    try:
        status = path.stat()
        header = about(path)
    except OSError:
        return None
    except ValueError:
        damaged = name
    return StoredPrior(
        key=folder.name,
        finished=name == PRIOR and damaged is None,
        about=header,
        bytes=status.st_size,
        changed=datetime.fromtimestamp(status.st_mtime, UTC),
        users=_users(folder / _USERS),
        damaged=damaged,
    )


def _users(path: Path) -> dict[str, set[str]]:
    users: dict[str, set[str]] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return users
    for line in lines:
        try:
            use = json.loads(line)
            users.setdefault(str(use["study"]), set()).add(str(use["trial"]))
        except (ValueError, KeyError, TypeError):
            continue
    return users
