"""From a source of images on disk to one memory-mapped file."""

import re
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from flowsearch.built_in import BUILT_IN
from flowsearch.checks import check_choice, check_int
from flowsearch.data.arrays import NpySource, NpzSource
from flowsearch.data.collect import Collection
from flowsearch.data.decode import CROPS, OutOfRangeError, decode, without_warnings
from flowsearch.data.files import FolderSource, TarSource, ZipSource
from flowsearch.data.partition import PARTS, Partition, read_partition
from flowsearch.data.shards import ParquetSource, shards_of
from flowsearch.data.source import Skipped, Source
from flowsearch.data.store import (
    MANIFEST,
    NAMES,
    Manifest,
    folder_of,
    locked,
    made_whole,
    order_key,
    read_manifest,
    write_json,
)

Progress = Callable[[int, int], None]
_LEAST_STRETCH = 64
"""Images that are read at once at least where a limit may leave out the rest."""


def prepare(
    name: str,
    source: Path,
    *,
    size: int,
    crop: str | None = None,
    grey: bool = False,
    seed: int = 0,
    limit: int | None = None,
    column: str | None = None,
    partition: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Prepare a data set: `<home>/data/<name>-<size>/` with `images.npy`, `manifest.json` and `names.json`.

    The images are stored in the order that `seed` gives their names, so that the splits of that seed are slices of the
    file; with a partition, part by part in that order. A set of this name and size made from the same source with the
    same settings is kept as it is.

    Args:
        source: a folder (searched recursively), a zip or tar (read in place), Parquet (a file or a folder of shards),
            a `.npy` or a `.npz`. Hidden files are passed over.
        crop: None for the largest centred square, or `celeba` (see `decode.CELEBA_BOX`).
        limit: stop after this many usable images of that order.
        column: of Parquet or a `.npz` with several columns of images: which.
        partition: a file that puts each image into train, val or test, such as CelebA's `list_eval_partition.txt`:
            `load` then takes each part's images from that part alone.
        overwrite: replace a set of this name and size that is of another source or other settings.
        progress: called with (images done, images in all).

    Returns:
        The manifest; `skipped` names what could not be used, and why: what is no image, broken images, a member that a
        later one of the same name replaces, images that the partition does not name, and images with the same pixels
        as one before them (an image and its copy could otherwise be trained on and tested on).

    Raises:
        FileNotFoundError: no such source or partition.
        ValueError: a bad name or setting, a damaged source, no usable image, or another set there.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(
            f"the name of a data set is made of letters (a to z, A to Z), digits, '-', '_' and '.', and begins with a "
            f"letter or digit, not {name!r}"
        )
    if name.lower() == "none":
        raise ValueError(f"a study file could not tell a data set named {name} from none at all; give it another name")
    if name in BUILT_IN:
        raise ValueError(f"{name} is a built-in source; give the prepared data set another name")
    check_int("size", size, 8, 1024)
    check_int("seed", seed, 0)
    if limit is not None:
        check_int("limit", limit, 1)
    if crop is not None:
        check_choice("crop", crop, CROPS)
    parts = None if partition is None else read_partition(Path(partition))
    source = Path(source)
    folder = folder_of(name, size)
    with open_source(source, column) as opened:
        wanted = Manifest(
            name=name,
            size=size,
            channels=1 if grey else 3,
            count=0,
            source=source.resolve().name,
            source_digest=opened.digest(None if parts is None else parts.digest),
            crop=crop,
            seed=seed,
            limit=limit,
            fingerprint="",
            partition=None if parts is None else parts.name,
        )
        with locked(folder):
            kept = _existing(folder, wanted, overwrite=overwrite)
            if kept is not None:
                return kept
            with made_whole(folder) as aside, without_warnings():
                try:
                    return _write(aside, opened, parts, wanted, progress)
                except _NoImageError as error:
                    raise ValueError(f"{source} holds no usable image: {error}") from None
                except OutOfRangeError as error:
                    raise ValueError(f"{source}, {error}") from None


def open_source(path: Path, column: str | None = None) -> Source:
    """The source that lies at a path, told by what it is rather than how it is called (save `.npy` and `.npz`).

    Raises FileNotFoundError, or ValueError where it is none of the kinds or cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a folder, a zip, a tar, Parquet, a .npy or a .npz")
    kind = path.suffix.lower()
    if kind == ".parquet" or (path.is_dir() and shards_of(path)):
        return ParquetSource(path, column)
    if kind == ".npz" and path.is_file():
        return NpzSource(path, column)
    if column is not None:
        raise ValueError(f"column is for Parquet and .npz, and {path} is neither; leave it out")
    if path.is_dir():
        return FolderSource(path)
    if kind == ".npy":
        return NpySource(path)
    if zipfile.is_zipfile(path):
        return ZipSource(path)
    if tarfile.is_tarfile(path):
        return TarSource(path)
    raise ValueError(
        f"{path} is neither a folder nor a readable zip, tar, Parquet, .npy or .npz file; of image files give the "
        "folder that holds them"
    )


class _NoImageError(Exception):
    """Nothing that could be a data set."""


def _existing(folder: Path, wanted: Manifest, *, overwrite: bool) -> Manifest | None:
    if not (folder / MANIFEST).is_file():
        return None
    try:
        there = read_manifest(folder)
    except ValueError:
        if overwrite:
            return None
        raise
    settings = ("source_digest", "channels", "crop", "seed", "limit", "partition")
    differs = [key for key in settings if getattr(there, key) != getattr(wanted, key)]
    if not differs:
        return there
    if overwrite:
        return None
    what = ", ".join("another source" if key == "source_digest" else f"{key} {getattr(there, key)}" for key in differs)
    raise ValueError(
        f"data set {wanted.name} at size {wanted.size} already exists ({there.count} images from {there.source}) "
        f"and differs: {what}; give --overwrite to replace it, or choose another name"
    )


def _write(
    aside: Path, source: Source, partition: Partition | None, wanted: Manifest, progress: Progress | None
) -> Manifest:
    names = [member.name for member in source.members]
    part_of, missing = _parted(names, partition)
    order = sorted(part_of, key=lambda place: order_key(wanted.seed, names[place]))
    job = partial(decode, size=wanted.size, crop=wanted.crop, grey=wanted.channels == 1)
    limit = wanted.limit
    with Collection(aside, job, names.__getitem__) as images:
        start = 0
        while start < len(order) and (limit is None or len(images.kept) < limit):
            more = len(order) if limit is None else max(limit - len(images.kept), _LEAST_STRETCH)
            stretch = order[start : start + more]
            for done in images.take(source.read(sorted(stretch))):
                if progress is not None:
                    progress(start + done, start + len(stretch))
            images.keep(stretch, limit)
            start += len(stretch)
        skipped = [*source.skipped, *missing, *images.skipped]
        if not images.kept:
            raise _NoImageError(_reasons(skipped))
        kept = sorted(images.kept, key=part_of.__getitem__)  # stable: part by part, else as they are
        fingerprint = images.write(kept)
    counts = [sum(part_of[place] == part for place in kept) for part in range(len(PARTS))]
    manifest = replace(
        wanted,
        count=len(kept),
        fingerprint=fingerprint,
        skipped=tuple(sorted(skipped)),
        parts=None if partition is None else (counts[0], counts[1], counts[2]),
    )
    write_json(aside / NAMES, [names[place] for place in kept])
    write_json(aside / MANIFEST, manifest.to_dict())
    return manifest


def _parted(names: list[str], partition: Partition | None) -> tuple[dict[int, int], list[Skipped]]:
    """The part of each place in `names` (0 for all where there is no partition), and what belongs to none."""
    if partition is None:
        return dict.fromkeys(range(len(names)), 0), []
    parts = [partition.part(name) for name in names]
    part_of = {place: part for place, part in enumerate(parts) if part is not None}
    reason = f"not in {partition.name}"
    return part_of, [(name, reason) for name, part in zip(names, parts, strict=True) if part is None]


def _reasons(skipped: list[Skipped]) -> str:
    if not skipped:
        return "it is empty"
    named: dict[str, list[str]] = {}
    for name, reason in skipped:
        named.setdefault(reason, []).append(name)
    shown = [
        f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}: {why}" for why, names in named.items()
    ]
    return f"{len(skipped)} skipped ({'; '.join(shown[:3])}{'; ...' if len(shown) > 3 else ''})"
