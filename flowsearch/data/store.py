"""Where image sets lie on disk, and how one gets there whole or not at all.

A set is a folder with two files: `images.npy`, uint8 (N, C, H, W) in the order of its splits, and `manifest.json`.

    $FLOWSEARCH_HOME (~/.flowsearch)/data/<name>-<size>/                prepared by `flowsearch data prepare`
    $FLOWSEARCH_HOME (~/.flowsearch)/data/.drawn/<name>-...-<count>/    drawn, kept so that it is drawn once
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from flowsearch.checks import nearest

try:
    import fcntl
except ImportError:  # Windows: without the lock two processes may do the same work, and the first one's result stays.
    fcntl = None  # type: ignore[assignment]

BUILT_IN = ("faces", "anime")
IMAGES, MANIFEST, NAMES = "images.npy", "manifest.json", "names.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an image set holds and where it came from."""

    name: str
    size: int
    """Height and width in pixels."""
    channels: int
    count: int
    source: str
    """The file or folder that the images came from (its name, not its path), or what drew them."""
    source_digest: str
    """sha256 over the source's listing (names, sizes, checksums): tells whether a source is the same as before."""
    crop: str | None
    seed: int
    """Seed of the order in which the images are stored."""
    limit: int | None
    fingerprint: str
    """sha256 over shape and pixels."""
    skipped: tuple[tuple[str, str], ...] = ()
    """(member, reason) for what the source held that could not be used."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` takes them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Manifest":
        """The manifest that `to_dict` wrote."""
        known = {key: values[key] for key in (field.name for field in fields(cls)) if key in values}
        known["skipped"] = tuple((str(name), str(reason)) for name, reason in known.get("skipped", ()))
        return cls(**known)


def data_home() -> Path:
    """The folder of all image sets."""
    home = os.environ.get("FLOWSEARCH_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".flowsearch") / "data"


def folder_of(name: str, size: int) -> Path:
    """The folder of a prepared set."""
    return data_home() / f"{name}-{size}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a folder; `ValueError` naming the file where it cannot be read."""
    path = folder / MANIFEST
    try:
        return Manifest.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not a readable manifest ({error}); delete {folder} and prepare it again") from None


def open_images(folder: Path, manifest: Manifest) -> NDArray[np.uint8]:
    """The images of a set as a read-only memory map, uint8 (N, C, H, W)."""
    try:
        images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder / IMAGES} cannot be read ({error}); delete {folder} and prepare it again") from None
    expected = (manifest.count, manifest.channels, manifest.size, manifest.size)
    if images.shape != expected or images.dtype != np.uint8:
        raise ValueError(
            f"{folder / IMAGES} holds {images.dtype} {images.shape} where its manifest says uint8 {expected}; "
            f"delete {folder} and prepare it again"
        )
    return images


def list_datasets() -> list[Manifest]:
    """The manifests of all prepared sets, by name and size. The built-in sources are not among them."""
    home = data_home()
    if not home.is_dir():
        return []
    found = [read_manifest(path.parent) for path in home.glob(f"*/{MANIFEST}") if not path.parent.name.startswith(".")]
    return sorted(found, key=lambda manifest: (manifest.name, manifest.size))


def find_dataset(name: str, size: int) -> tuple[Manifest, Path]:
    """A prepared set's manifest and folder.

    Raises:
        ValueError: there is none of this name (lists the known ones and the nearest) or none of this size (says which
            sizes there are); both with the command that prepares it.
    """
    folder = folder_of(name, size)
    if (folder / MANIFEST).is_file():
        return read_manifest(folder), folder
    prepared = list_datasets()
    same = [manifest for manifest in prepared if manifest.name == name]
    if same:
        sizes = ", ".join(str(manifest.size) for manifest in same)
        source = same[0].source
        raise ValueError(
            f"data set {name} is prepared at size {sizes}, not {size}; "
            f"run: flowsearch data prepare {name} PATH/TO/{source} --size {size}"
        )
    known = [*BUILT_IN, *sorted({manifest.name for manifest in prepared})]
    raise ValueError(
        f"there is no data set {name!r}{nearest(name, known)} (known: {', '.join(known)}); "
        f"run: flowsearch data prepare {name} FOLDER_OR_ZIP --size {size}"
    )


class ImageWriter:
    """Writes `images.npy` image by image, the number of images not being known before the end.

    Room for the header is left at the start; `close` fills it in and gives the fingerprint.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.count = 0
        self._file: IO[bytes] = path.open("wb")
        self._hash = hashlib.sha256()
        self._header = self._write_header(0)

    def _write_header(self, count: int) -> int:
        # numpy pads the header so that the first axis can grow to any length in place.
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *self.shape)}
        np.lib.format.write_array_header_1_0(self._file, header)
        return self._file.tell()

    def append(self, image: NDArray[np.uint8]) -> None:
        """Add one image, uint8 (C, H, W)."""
        assert image.shape == self.shape
        assert image.dtype == np.uint8
        pixels = image.tobytes()
        self._hash.update(pixels)
        self._file.write(pixels)
        self.count += 1

    def close(self) -> str:
        """Finish the file; the fingerprint of what was written."""
        self._file.seek(0)
        end = self._write_header(self.count)
        assert end == self._header
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._hash.update(repr((self.count, *self.shape)).encode())
        return self._hash.hexdigest()

    def __enter__(self) -> "ImageWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def fingerprint_images(images: NDArray[np.uint8]) -> str:
    """sha256 over pixels and shape, as `ImageWriter.close` gives it."""
    digest = hashlib.sha256()
    for start in range(0, len(images), 1024):
        digest.update(np.ascontiguousarray(images[start : start + 1024]).tobytes())
    digest.update(repr(images.shape).encode())
    return digest.hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder that is about to be made; it goes with the process that holds it."""
    locks = folder.parent / ".locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / folder.name).open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """Make a folder aside and rename it when the body is through; hold `locked(folder)` around it.

    What a killed process left aside is removed by the next one; nothing reads it.
    """
    aside = folder.parent / f".partial-{folder.name}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        if folder.exists():
            old = folder.parent / f".old-{folder.name}"
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
            aside.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def order_key(seed: int, name: str) -> bytes:
    """The place of an image in the order of a seed: sorting by it is a permutation that depends on nothing else.

    So leaving an image out does not move the others.
    """
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()
