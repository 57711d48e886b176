"""Sources of image files: a folder, a zip, a tar. Archives are read in place, never unpacked."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from flowsearch.data.source import LARGEST, TOO_LARGE, Member, Read, Skipped, Source, is_hidden, mark_of


class FolderSource(Source):
    """All files below a folder, hidden ones passed over."""

    def __init__(self, root: Path) -> None:
        self.skipped = []
        self._paths = []
        self.members = []
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if is_hidden(name):
                continue
            if not path.is_file():
                if path.is_symlink():
                    target = "a link to a folder, which is not followed" if path.is_dir() else "a link to no file"
                    self.skipped.append((name, target))
                continue
            if path.stat().st_size > LARGEST:
                self.skipped.append((name, TOO_LARGE))
            else:
                self._paths.append(path)
                self.members.append(Member(name, mark_of(path)))

    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, Read]]:
        """A file is opened by the thread that decodes it."""
        for place in wanted:
            yield place, self._paths[place].read_bytes


class ZipSource(Source):
    """The members of a zip file. Of several with one name the last counts, as for any unpacking program."""

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, zipfile.LargeZipFile) as error:
            raise ValueError(f"{path} is no readable zip file ({error})") from None
        infos = [info for info in self._archive.infolist() if not info.is_dir() and not is_hidden(info.filename)]
        last = {info.filename: info for info in infos}
        self.skipped = [_replaced(info.filename) for info in infos if last[info.filename] is not info]
        self.skipped += [(name, TOO_LARGE) for name, info in last.items() if info.file_size > LARGEST]
        self._infos = [info for info in last.values() if info.file_size <= LARGEST]
        self.members = [Member(info.filename, f"{info.file_size}:{info.CRC}") for info in self._infos]

    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, Read]]:
        """A member is read and inflated by the thread that decodes it; zipfile guards the file that they share."""
        for place in wanted:
            yield place, partial(self._archive.read, self._infos[place])

    def close(self) -> None:
        """Close the zip file."""
        self._archive.close()


class TarSource(Source):
    """The files of a tar, plain or compressed by gzip, bzip2 or xz. A compressed one is inflated twice: to list it (it
    has no table of contents) and to read it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive = tarfile.open(path, "r:*")  # noqa: SIM115 - closed by `close`
        try:
            infos = [info for info in self._archive if not info.isdir()]
        except _DAMAGED as error:
            self._archive.close()
            raise ValueError(f"{path} is damaged ({error}); fetch or make it again") from None
        named = [(_plain(info.name), info) for info in infos if not is_hidden(_plain(info.name))]
        last = dict(named)
        self.skipped = [_replaced(name) for name, info in named if last[name] is not info]
        self.skipped += [(name, "a link, not a file") for name, info in last.items() if not info.isreg()]
        self.skipped += [(name, TOO_LARGE) for name, info in last.items() if info.isreg() and info.size > LARGEST]
        files = [(name, info) for name, info in last.items() if info.isreg() and info.size <= LARGEST]
        files.sort(key=lambda one: one[1].offset)
        self._infos = [info for _, info in files]
        self.members = [Member(name, f"{info.size}:{info.mtime}") for name, info in files]

    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, Read]]:
        """Members are read here, one after another: a compressed tar knows no other way."""
        for place in wanted:
            try:
                file = self._archive.extractfile(self._infos[place])
                assert file is not None
                content = file.read()
            except _DAMAGED as error:
                raise ValueError(f"{self._path} is damaged ({error}); fetch or make it again") from None
            yield place, partial(bytes, content)

    def close(self) -> None:
        """Close the tar."""
        self._archive.close()


_DAMAGED = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)


def _plain(name: str) -> str:
    """A member's name without the `./` that `tar -C FOLDER .` puts before it."""
    return name.removeprefix("./")


def _replaced(name: str) -> Skipped:
    return name, "a later member has the same name"
