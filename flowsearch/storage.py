"""Where a study's files lie: a folder on disk, or a prefix in an object store that pyarrow opens (`s3://`, `gs://`).

Whoever writes asks for little, so that both will do: an object appears whole or not at all, nothing is appended to and
nothing renamed. An object's name may hold folders, as in `trials/0000-1.parquet`; one that begins with "." is hidden.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import unquote, urlsplit


class Store(Protocol):
    """A folder of objects."""

    where: str
    """Its path or URI, as a person would give it."""

    def at(self, name: str) -> "Store":
        """The folder `name` in this one."""
        ...

    def names(self) -> list[str]:
        """The names of all objects and folders in it, in order, but hidden ones; none where there is no such folder.
        FileNotFoundError where there is no such bucket."""
        ...

    def get(self, name: str) -> bytes:
        """The content of an object; FileNotFoundError where there is none."""
        ...

    def fetch(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | OSError]]:
        """The content of many objects, or why it is not to be had."""
        ...

    def open(self, name: str) -> IO[bytes] | Any:
        """An object to read parts of; FileNotFoundError where there is none."""
        ...

    def put(self, name: str, content: bytes, *, safe: bool = True) -> None:
        """Put an object, whole or not at all; where it must be `safe`, it outlives a power failure from now on."""
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects, those that are there."""
        ...

    def prepare(self) -> None:
        """Make ready for the only one that writes into it; what a writer that was killed left aside goes."""
        ...


class Folder:
    """A store on disk: a file is written under a hidden name, then renamed."""

    def __init__(self, root: Path) -> None:
        self.root, self.where = root, str(root)

    def at(self, name: str) -> "Folder":
        """See `Store`."""
        return Folder(self.root / name)

    def names(self) -> list[str]:
        """See `Store`."""
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(self.root) if not entry.name.startswith("."))

    def get(self, name: str) -> bytes:
        """See `Store`."""
        return (self.root / name).read_bytes()

    def fetch(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | OSError]]:
        """See `Store`."""
        for name in names:
            try:
                yield name, self.get(name)
            except OSError as error:
                yield name, error

    def open(self, name: str) -> IO[bytes]:
        """See `Store`."""
        return (self.root / name).open("rb")

    def put(self, name: str, content: bytes, *, safe: bool = True) -> None:
        """See `Store`."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{threading.get_native_id()}")  # two threads may put one name
        try:
            with aside.open("wb") as file:
                file.write(content)
                if safe:
                    # A rename can reach the disk before the content does, which would leave an empty file.
                    file.flush()
                    os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise

    def remove(self, names: Iterable[str]) -> None:
        """See `Store`."""
        for name in names:
            (self.root / name).unlink(missing_ok=True)

    def prepare(self) -> None:
        """See `Store`."""
        self.root.mkdir(parents=True, exist_ok=True)
        for path in self.root.glob(".*.*.*"):
            if path.suffix[1:].isdigit():
                path.unlink(missing_ok=True)


def is_uri(where: Path | str) -> bool:
    """Whether `where` is a URI, rather than a path on this machine."""
    return "://" in str(where)


def store_at(where: Path | str) -> Store:
    """The store at a path or URI. Raises ValueError where pyarrow has no file system of the URI's kind."""
    if not is_uri(where):
        return Folder(Path(where))
    if str(where).startswith("file://"):
        return Folder(Path(unquote(urlsplit(str(where)).path)))
    from flowsearch.bucket import Bucket

    return Bucket.at_uri(str(where))


def on_disk(where: str, otherwise: str) -> Path:
    """What `where`, a path or a file:// URI, names on this machine.

    Raises ValueError for another URI, which a Path would mangle, and says what to do `otherwise`.
    """
    if is_uri(where) and not where.startswith("file://"):
        raise ValueError(f"this takes what lies on this machine, not {where}; {otherwise}")
    return Path(store_at(where).where)


def inside(where: Path | str, name: str) -> Path | str:
    """The path or URI of what is called `name` in the folder `where`."""
    if not is_uri(where):
        return Path(where) / name
    before, question, query = str(where).partition("?")
    return f"{before.rstrip('/')}/{name}{question}{query}"


def outside(where: Path | str) -> Path | str:
    """The path or URI of the folder that `where` lies in."""
    if not is_uri(where):
        return Path(where).resolve().parent
    before, question, query = str(where).partition("?")
    return f"{before.rstrip('/').rpartition('/')[0]}{question}{query}"
