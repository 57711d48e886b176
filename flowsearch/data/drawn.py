"""The built-in sources: drawn once, by several processes, and kept."""

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import flowsearch
from flowsearch.cores import cores
from flowsearch.data.anime import draw_anime
from flowsearch.data.faces import draw_face
from flowsearch.data.store import (
    IMAGES,
    MANIFEST,
    Manifest,
    data_home,
    fingerprint_images,
    locked,
    made_whole,
    open_images,
    read_manifest,
    write_json,
)

VERSION = 1
"""Of the drawings: to be raised whenever a change alters what is drawn, so that no stored set is mistaken for it."""
DRAW: dict[str, Callable[[int, int, int], NDArray[np.uint8]]] = {"faces": draw_face, "anime": draw_anime}
_WORTH_A_PROCESS = 150


def draw(name: str, size: int, seed: int, index: int, *, grey: bool = False) -> NDArray[np.uint8]:
    """Image `index` of a built-in source: uint8 (C, size, size), a function of the arguments alone."""
    image = DRAW[name](size, seed, index)
    if not grey:
        return image
    luma = np.tensordot(np.array([0.299, 0.587, 0.114]), image.astype(np.float64), axes=1)
    return (luma + 0.5).astype(np.uint8)[None]


def drawn(name: str, size: int, seed: int, count: int, *, grey: bool = False) -> tuple[NDArray[np.uint8], Manifest]:
    """The first `count` images of a built-in source as a read-only memory map, drawn where they are not yet stored."""
    tone = "-grey" if grey else ""
    folder = data_home() / ".drawn" / f"{name}-v{VERSION}-{size}{tone}-seed{seed}-{count}"
    if not (folder / MANIFEST).is_file():
        with locked(folder):
            if not (folder / MANIFEST).is_file():
                with made_whole(folder) as aside:
                    _draw_all(aside, name, size, seed, count, grey)
    manifest = read_manifest(folder)
    return open_images(folder, manifest), manifest


def _draw_all(aside: Path, name: str, size: int, seed: int, count: int, grey: bool) -> None:
    channels = 1 if grey else 3
    np.lib.format.open_memmap(aside / IMAGES, mode="w+", dtype=np.uint8, shape=(count, channels, size, size)).flush()
    parts = max(1, min(cores(), 32, count // _WORTH_A_PROCESS))
    bounds = [count * part // parts for part in range(parts + 1)]
    arguments = [name, str(size), str(seed), str(int(grey))]
    # Own interpreters instead of multiprocessing: no fork of a process with threads, no second run of the caller.
    root = str(Path(flowsearch.__file__).parent.parent)
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "flowsearch.data.draw_part", str(aside), *arguments, str(start), str(stop)],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
        )
        for start, stop in pairwise(bounds[1:])
    ]
    try:
        draw_part(aside, name, size, seed, grey, 0, bounds[1])
        failed = [worker.returncode for worker in workers if worker.wait() != 0]
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
    if failed:
        raise RuntimeError(f"{len(failed)} of {parts} processes that draw {name} ended with exit code {failed[0]}")
    manifest = Manifest(
        name=name,
        size=size,
        channels=channels,
        count=count,
        source=f"drawn, version {VERSION}",
        source_digest="",
        crop=None,
        seed=seed,
        limit=None,
        fingerprint=fingerprint_images(np.load(aside / IMAGES, mmap_mode="r")),
    )
    write_json(aside / MANIFEST, manifest.to_dict())


def draw_part(aside: Path, name: str, size: int, seed: int, grey: bool, start: int, stop: int) -> None:
    """Draw images `start` to `stop` into the file that lies in `aside`."""
    images = np.lib.format.open_memmap(aside / IMAGES, mode="r+")
    for index in range(start, stop):
        images[index] = draw(name, size, seed, index, grey=grey)
    images.flush()
