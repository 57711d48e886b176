"""Where image sets lie on disk, and how one gets there whole or not at all.

A set is a folder with `images.npy`, uint8 (N, C, H, W), `manifest.json`, and `names.json`: where each image came from.

    $FLOWSEARCH_HOME (~/.flowsearch)/data/<name>-<size>/                prepared by `flowsearch data prepare`
    $FLOWSEARCH_HOME (~/.flowsearch)/data/.drawn/<name>-...-<count>/    drawn, kept so that it is drawn once
    $FLOWSEARCH_HOME (~/.flowsearch)/data/.own/<name>-<key>/            from a researcher's own module:name, kept too
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowsearch.built_in import BUILT_IN
from flowsearch.checks import nearest

try:
    import fcntl
except ImportError:  # Windows: without the lock two processes may do the same work, and the first one's result stays.
    fcntl = None  # type: ignore[assignment]

IMAGES, MANIFEST, NAMES = "images.npy", "manifest.json", "names.json"
OWN = ".own"


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
    partition: str | None = None
    """The name of the file that said which image belongs to which part."""
    parts: tuple[int, int, int] | None = None
    """With a partition: the number of train, val and test images, which are stored in this order."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` takes them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Manifest":
        """The manifest that `to_dict` wrote."""
        known = {key: values[key] for key in (field.name for field in fields(cls)) if key in values}
        known["skipped"] = tuple((str(name), str(reason)) for name, reason in known.get("skipped", ()))
        if known.get("parts") is not None:
            known["parts"] = tuple(int(count) for count in known["parts"])
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
    return _manifests(data_home())


def list_own() -> list[Manifest]:
    """The manifests of what sources of researchers' own (`module:name`) gave, by name and size."""
    return _manifests(data_home() / OWN)


def _manifests(home: Path) -> list[Manifest]:
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
        f"run: flowsearch data prepare {name} SOURCE --size {size}"
    )


def fingerprint_images(images: NDArray[np.uint8]) -> str:
    """sha256 over the pixels of `images` (N, C, H, W), then their shape, as a `Manifest` has it: equal sets in equal
    order have equal ones."""
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
    """Write a JSON file; bytes of a file's name that are no UTF-8 (lone surrogates in Python) as JSON's escapes."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def order_key(seed: int, name: str) -> bytes:
    """The place of an image in the order of a seed: sorting by it is a permutation that depends on nothing else.

    So leaving an image out does not move the others.
    """
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()
