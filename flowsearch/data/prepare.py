"""From a folder or a zip of images to one memory-mapped file."""

import hashlib
import json
import os
import re
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowsearch.checks import check_choice, check_int
from flowsearch.data.decode import CROPS, decode
from flowsearch.data.store import (
    BUILT_IN,
    IMAGES,
    MANIFEST,
    NAMES,
    ImageWriter,
    Manifest,
    folder_of,
    locked,
    made_whole,
    order_key,
    read_manifest,
    write_json,
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Member:
    """One file of a source: its name, what tells whether it changed, and how to read it."""

    name: str
    mark: str
    read: Callable[[], bytes]


def prepare(
    name: str,
    source: Path,
    *,
    size: int,
    crop: str | None = None,
    grey: bool = False,
    seed: int = 0,
    limit: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Prepare a data set: `<home>/data/<name>-<size>/` with `images.npy` and `manifest.json`.

    The images are stored in the order that `seed` gives their names, so that the splits of that seed are slices of the
    file. A set of this name and size made from the same source with the same settings is kept as it is.

    Args:
        source: a folder (searched recursively) or a zip file (read in place). Hidden files are passed over.
        crop: None for the largest centred square, or `celeba` (see `decode.CELEBA_BOX`).
        limit: stop after this many usable images of that order.
        overwrite: replace a set of this name and size that is of another source or other settings.
        progress: called with (files done, files in all).

    Returns:
        The manifest; `skipped` names what could not be used, and why: what is no image, broken images, a member that a
        later one of the same name replaces, and images with the same pixels as one before them (an image and its copy
        could otherwise be trained on and tested on).

    Raises:
        FileNotFoundError: no such source.
        ValueError: a bad name or setting, no usable image, or another set there.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ValueError(f"the name of a data set is made of letters, digits, '-', '_' and '.', not {name!r}")
    if name in BUILT_IN:
        raise ValueError(f"{name} is a built-in source; give the prepared data set another name")
    check_int("size", size, 8, 1024)
    check_int("seed", seed, 0)
    if limit is not None:
        check_int("limit", limit, 1)
    if crop is not None:
        check_choice("crop", crop, CROPS)
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist; give a folder or a zip file of images")
    folder = folder_of(name, size)
    archive = None if source.is_dir() else _open_zip(source)
    try:
        members, skipped = _folder_members(source) if archive is None else _zip_members(archive)
        wanted = Manifest(
            name=name,
            size=size,
            channels=1 if grey else 3,
            count=0,
            source=source.resolve().name,
            source_digest=_digest(members),
            crop=crop,
            seed=seed,
            limit=limit,
            fingerprint="",
        )
        with locked(folder):
            kept = _existing(folder, wanted, overwrite=overwrite)
            if kept is not None:
                return kept
            with made_whole(folder) as aside:
                members.sort(key=lambda member: order_key(seed, member.name))
                return _write(aside, members, skipped, wanted, source, progress)
    finally:
        if archive is not None:
            archive.close()


def _existing(folder: Path, wanted: Manifest, *, overwrite: bool) -> Manifest | None:
    if not (folder / MANIFEST).is_file():
        return None
    try:
        there = read_manifest(folder)
    except ValueError:
        if overwrite:
            return None
        raise
    settings = ("source_digest", "channels", "crop", "seed", "limit")
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
    aside: Path,
    members: list[Member],
    skipped: list[tuple[str, str]],
    wanted: Manifest,
    source: Path,
    progress: Progress | None,
) -> Manifest:
    job = partial(decode, size=wanted.size, crop=wanted.crop, grey=wanted.channels == 1)
    names: list[str] = []
    seen: dict[bytes, str] = {}
    shape = (wanted.channels, wanted.size, wanted.size)
    with ImageWriter(aside / IMAGES, shape) as writer, closing(_decoded(members, job)) as decoded:
        for done, (name, image) in enumerate(decoded, start=1):
            if isinstance(image, str):
                skipped.append((name, image))
            else:
                first = seen.setdefault(hashlib.sha256(image.tobytes()).digest(), name)
                if first != name:
                    skipped.append((name, f"the same pixels as {first}"))
                else:
                    names.append(name)
                    writer.append(image)
            if progress is not None:
                progress(done, len(members))
            if wanted.limit is not None and writer.count == wanted.limit:
                break
        if not names:
            raise ValueError(f"{source} holds no usable image: {_reasons(skipped)}")
        fingerprint = writer.close()
    manifest = replace(wanted, count=len(names), fingerprint=fingerprint, skipped=tuple(sorted(skipped)))
    write_json(aside / NAMES, names)
    write_json(aside / MANIFEST, manifest.to_dict())
    return manifest


def _reasons(skipped: list[tuple[str, str]]) -> str:
    if not skipped:
        return "it is empty"
    shown = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
    return f"{len(skipped)} skipped ({shown}{'; ...' if len(skipped) > 3 else ''})"


def _decoded(
    members: list[Member], job: Callable[[bytes], NDArray[np.uint8]]
) -> Generator[tuple[str, NDArray[np.uint8] | str], None, None]:
    """Each member with its pixels, or with the reason why there are none, in order; decoded by threads."""

    def attempt(member: Member) -> NDArray[np.uint8] | str:
        try:
            return job(member.read())
        except ValueError as error:
            return str(error)
        except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            return f"cannot be read ({error})"

    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting: deque[tuple[str, Future[NDArray[np.uint8] | str]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for member in members:
            waiting.append((member.name, pool.submit(attempt, member)))
            if len(waiting) > 16 * workers:
                name, future = waiting.popleft()
                yield name, future.result()
        for name, future in waiting:
            yield name, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _folder_members(source: Path) -> tuple[list[Member], list[tuple[str, str]]]:
    members = []
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_file() and not _hidden(name):
            state = path.stat()
            members.append(Member(name, f"{state.st_size}:{state.st_mtime_ns}", path.read_bytes))
    return members, []


def _open_zip(source: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except (zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise ValueError(f"{source} is neither a folder nor a readable zip file ({error})") from None


def _zip_members(archive: zipfile.ZipFile) -> tuple[list[Member], list[tuple[str, str]]]:
    members: dict[str, Member] = {}
    skipped = []
    for info in archive.infolist():
        if info.is_dir() or _hidden(info.filename):
            continue
        if info.filename in members:
            skipped.append((info.filename, "a later member has the same name"))
        members[info.filename] = Member(info.filename, f"{info.file_size}:{info.CRC}", partial(archive.read, info))
    return list(members.values()), skipped


def _digest(members: list[Member]) -> str:
    listing = json.dumps(sorted((member.name, member.mark) for member in members))
    return hashlib.sha256(listing.encode()).hexdigest()
