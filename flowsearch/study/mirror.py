"""A folder of checkpoints that is kept in an object store as well, by whoever writes into it.

    <store>/files.json                        which object each file of the folder is, by name
    <store>/last.0f3a9c1d52b7.safetensors     an object for each, named by its content

An object is whole before `files.json` names it, and an old one goes after it no longer does; so whenever the writer
dies, the folder that `files.json` describes is one that was there at a checkpoint. Putting the same again changes
nothing.
"""

import hashlib
import json
import os
from pathlib import Path

from flowsearch.storage import Store

POINTER = "files.json"

_TRIES = 3


class Mirror:
    """The folder `local` and its copy in `store`. Hidden files, such as locks, are no part of it."""

    def __init__(self, local: Path, store: Store) -> None:
        self.local, self.store = local, store
        self._seen: dict[str, tuple[int, int, str]] = {}
        """Time, size and object of each file when it was last looked at."""
        self._named: dict[str, str] | None = None
        """What this writer last found or named."""
        self._naming: dict[str, str] | None = None
        """What it last tried to name, which may have gone through unheard."""

    def named(self) -> dict[str, str]:
        """The object that each file is, in the store; nothing where there is none yet."""
        try:
            found = json.loads(self.store.get(POINTER))
        except (FileNotFoundError, ValueError):
            return {}
        if not isinstance(found, dict):
            return {}
        # A name of a hidden file, or one outside the folder, is not of this class's making.
        return {str(name): str(one) for name, one in found.items() if not any(map(_hidden, str(name).split("/")))}

    def read(self, name: str) -> bytes:
        """A file's content in the store; FileNotFoundError where it has none of that name."""
        named = self.named()
        if name not in named:
            raise FileNotFoundError(f"{self.store.where} has no {name}")
        return self.store.get(named[name])

    def fetch(self, below: str = "") -> None:
        """Make the folder, or the one `below` in it, what the store has. Raises OSError where it cannot be read.

        Where it names what is not there, which only two writers at once can bring about, the folder is empty after it.
        """
        (self.local / below).mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            self._named = self.named()
            try:
                self._take({name: one for name, one in self._named.items() if name.startswith(below)}, below)
                return
            except FileNotFoundError:
                continue  # another writer may have put newer files meanwhile
        self._take({}, below)

    def _take(self, named: dict[str, str], below: str) -> None:
        for name, path in self._files(below):
            if name not in named or _object(name, path.read_bytes()) != named[name]:
                path.unlink()
        for name, one in named.items():
            path = self.local / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                aside = path.with_name(f".{path.name}.{os.getpid()}")
                aside.write_bytes(self.store.get(one))
                aside.replace(path)
            self._note(name, path, one)

    def push(self, *, alone: bool = False) -> None:
        """Make the store what the folder is. Raises OSError where it cannot be written.

        With `alone` also where another writer has been there since: one on a machine that slept, or was cut off, while
        the folder was taken up elsewhere, would put what is older in the place of what is newer.
        """
        if self._named is None or alone:
            found = self.named()
            if self._named is not None and found not in (self._named, self._naming):
                raise OSError("another process writes there now")
            self._named = found
        there = set(self.store.names())
        now: dict[str, str] = {}
        for name, path in self._files():
            status, seen = path.stat(), self._seen.get(name)
            if seen is not None and seen[:2] == (status.st_mtime_ns, status.st_size) and seen[2] in there:
                now[name] = seen[2]
                continue
            content = path.read_bytes()
            now[name] = _object(name, content)
            if now[name] not in there:
                self.store.put(now[name], content)
            self._seen[name] = (status.st_mtime_ns, status.st_size, now[name])
        if now != self._named:
            self._naming = now
            self.store.put(POINTER, json.dumps(now, indent=1).encode())
            self._named = now
        self.store.remove(sorted(there - set(now.values()) - {POINTER}))

    def forget(self, name: str) -> None:
        """Remove a file there, when nobody writes into the folder any more. Raises OSError where that fails."""
        named = self.named()
        one = named.pop(name, None)
        if one is not None:
            self.store.put(POINTER, json.dumps(named, indent=1).encode())
            self.store.remove([one])

    def empty(self) -> None:
        """Remove what is here, once it is there."""
        for _, path in self._files():
            path.unlink()
        self._seen.clear()

    def clear(self) -> None:
        """Remove all of it, here and there."""
        self.store.remove([POINTER])
        self.store.remove(self.store.names())
        self.empty()
        self._named = {}

    def _files(self, below: str = "") -> list[tuple[str, Path]]:
        """The files and their names in the folder."""
        found = ((path.relative_to(self.local), path) for path in (self.local / below).rglob("*") if path.is_file())
        return sorted((name.as_posix(), path) for name, path in found if not any(map(_hidden, name.parts)))

    def _note(self, name: str, path: Path, one: str) -> None:
        status = path.stat()
        self._seen[name] = (status.st_mtime_ns, status.st_size, one)


def _object(name: str, content: bytes) -> str:
    stem, dot, suffix = name.replace("/", "-").partition(".")
    return f"{stem}.{hashlib.sha256(content).hexdigest()[:16]}{dot}{suffix}"


def _hidden(part: str) -> bool:
    return part.startswith(".")
