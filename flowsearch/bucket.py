"""A prefix in an object store, by pyarrow's file systems: `s3://bucket/prefix`, `gs://bucket/prefix`.

What the connection needs beside the address comes from the environment, as everywhere (`AWS_ACCESS_KEY_ID`,
`AWS_ENDPOINT_URL`, a machine's role), or after a question mark: `s3://bucket/x?region=eu-west-1`.
"""

import errno
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
from pyarrow import fs

_log = logging.getLogger(__name__)

_TRIES = 8
_SHORTEST, _LONGEST = 0.2, 8.0
"""Seconds before the second try, at most, and before any: each wait is drawn below a bound that doubles."""

_FOR_GOOD = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY", "SIGNATURE_DOES_NOT_MATCH", "UNRECOGNIZED_CLIENT")
"""What the errors say that waiting does not mend."""

_UPLOAD = "UploadChunk"
"""What Google's client was doing where not an object was not found, but the upload that it had begun."""

_AT_ONCE = 16
"""Objects that are fetched side by side: each takes a round trip."""

Value = TypeVar("Value")


class Bucket:
    """A store in an object store (see `storage.Store`).

    A put is whole or not at all, by the object store's own word, and every request is made again where it fails in
    passing. A put that went through and was not heard of is so made twice, of the same content under the same name.
    """

    def __init__(
        self, files: fs.FileSystem, root: str, before: str, query: str, marked: set[str] | None = None
    ) -> None:
        self._files, self._root = files, root.strip("/")
        self._before, self._query = before.rstrip("/"), query
        self._google, self._marked = files.type_name == "gcs", set() if marked is None else marked
        self.where = self._before + (f"?{query}" if query else "")

    @classmethod
    def at_uri(cls, uri: str) -> "Bucket":
        """The prefix that a URI names. Raises ValueError where pyarrow has no file system for it."""
        before, _, query = uri.partition("?")
        try:
            try:
                # One request for a small object, rather than the three of an upload in parts.
                sign = "&" if query else "?"
                files, root = fs.FileSystem.from_uri(f"{uri}{sign}allow_delayed_open=true")
            except pa.ArrowInvalid:
                files, root = fs.FileSystem.from_uri(uri)
        except (pa.ArrowException, ValueError, OSError) as error:
            raise ValueError(f"{uri} cannot be opened ({str(error).splitlines()[0]})") from None
        return cls(files, root, before, query)

    def at(self, name: str) -> "Bucket":
        """See `Store`."""
        return Bucket(self._files, f"{self._root}/{name}", f"{self._before}/{name}", self._query, self._marked)

    def names(self) -> list[str]:
        """See `Store`."""
        found = self._again(lambda: self._files.get_file_info(fs.FileSelector(self._root, allow_not_found=True)))
        if not found:
            self._check_bucket()
        return sorted(one.base_name for one in found if one.base_name and not one.base_name.startswith("."))

    def get(self, name: str) -> bytes:
        """See `Store`."""

        path = self._path(name)

        def read() -> bytes:
            # As a stream, S3 gives a large object in many requests; as a file, Google's is asked for its size while no
            # other thread of the process may go on.
            files = self._files
            with files.open_input_stream(path) if self._google else files.open_input_file(path) as file:
                return bytes(file.read())

        return self._again(read)

    def fetch(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | OSError]]:
        """See `Store`."""
        wanted = list(names)
        if len(wanted) < 2:
            yield from ((name, self._tried(name)) for name in wanted)
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from zip(wanted, pool.map(self._tried, wanted), strict=True)

    def open(self, name: str) -> Any:
        """See `Store`."""
        return self._again(lambda: self._files.open_input_file(self._path(name)))

    def put(self, name: str, content: bytes, *, safe: bool = True) -> None:
        """See `Store`. What an object store has taken is safe."""

        path = self._path(name)

        def write() -> None:
            self._mark(path.rpartition("/")[0])
            with self._files.open_output_stream(path) as file:
                file.write(content)

        self._again(write)

    def remove(self, names: Iterable[str]) -> None:
        """See `Store`."""
        for name in names:
            try:
                self._again(partial(self._files.delete_file, self._path(name)))
            except FileNotFoundError:
                continue

    def prepare(self) -> None:
        """See `Store`. There is nothing aside in an object store."""

    def _check_bucket(self) -> None:
        """Raise FileNotFoundError where there is no such bucket, which pyarrow lists like an empty folder."""
        bucket = self._root.partition("/")[0]
        if bucket in self._marked:
            return
        try:
            there = self._files.get_file_info(bucket).type != fs.FileType.NotFound
        except (OSError, pa.ArrowException):
            there = True  # who may not ask for the bucket may yet have a folder in it
        if not there:
            scheme = self._before.partition("://")[0]
            raise FileNotFoundError(errno.ENOENT, "No such bucket", f"{scheme}://{bucket}")
        self._marked.add(bucket)

    def _mark(self, folder: str) -> None:
        """Have a folder listed in the one above it: pyarrow lists those of Google's only that have an object of their
        own (apache/arrow#35993)."""
        if self._google and "/" in folder and folder not in self._marked:
            self._files.create_dir(folder)
            self._marked.add(folder)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _tried(self, name: str) -> bytes | OSError:
        try:
            return self.get(name)
        except OSError as error:
            return error

    def _again(self, action: Callable[[], Value]) -> Value:
        """Do it, and again with growing waits while it fails in passing."""
        for turn in range(1, _TRIES + 1):
            try:
                return action()
            except (OSError, pa.ArrowInvalid) as error:  # invalid is what Google's client calls a torn upload
                if turn == _TRIES or not _passes(error):
                    if isinstance(error, OSError) and (error.errno is not None or type(error) is not OSError):
                        raise
                    # With a number, as what the system says of a file: it ends a command in one line.
                    raise OSError(errno.EIO, str(error).splitlines()[0], self.where) from error
                wait = random.uniform(0, min(_LONGEST, _SHORTEST * 2 ** (turn - 1)))
                _log.info("%s: %s; again in %.1f s", self.where, str(error).splitlines()[0], wait)
                time.sleep(wait)
        raise AssertionError("unreachable")


def _passes(error: Exception) -> bool:
    """Whether waiting may mend it."""
    if isinstance(error, FileNotFoundError):
        return _UPLOAD in str(error)
    return not isinstance(error, PermissionError) and not any(what in str(error) for what in _FOR_GOOD)
