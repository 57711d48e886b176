"""From a configuration to the images of each part."""

import hashlib
import json
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowsearch.data.config import DataConfig, is_own
from flowsearch.data.drawn import drawn
from flowsearch.data.partition import PARTS
from flowsearch.data.store import BUILT_IN, NAMES, Manifest, find_dataset, locked, open_images, order_key


@dataclass(frozen=True, kw_only=True)
class Datasets:
    """The images of a study, each part uint8 (N, C, H, W): views of read-only memory maps."""

    train: NDArray[np.uint8]
    val: NDArray[np.uint8]
    test: NDArray[np.uint8]
    ood: NDArray[np.uint8] | None
    fingerprint: str
    """sha256 over the pixels of the sources and the split."""


def load(config: DataConfig) -> Datasets:
    """The parts of a data set: test, then val, then train, in the order that `config.seed` gives its images.

    Test and validation images come first, so that they stay the same whatever the number of training images. Of a set
    prepared with a partition, each part comes from that part of the partition alone. A built-in source is drawn, one
    of a researcher's own is called, and what they give is kept. The out-of-distribution part is the first `test` images
    of its own source (of its test part, where it has a partition), or all where there are fewer; where it is the same
    source, images that no other part holds.

    Raises:
        ValueError: an unknown data set, a size that is not prepared, or too few images; says what to do.
    """
    same = config.ood == config.source
    counts = {"test": config.test, "val": config.val, "train": config.train, "ood": config.test * same}
    source = _found(config.source, config, sum(counts.values()), None)
    _check_counts(source.manifest, config)
    pieces = source.pieces(counts, config.seed)
    ood, outside = None, None
    if config.ood is not None and same:
        ood, outside = pieces["ood"], source.manifest
        if not len(ood):
            whose = "images are" if outside.parts is None else "test images are"
            raise ValueError(
                f"ood {config.ood} is the source itself, whose {_pool(outside, 'test')} {whose} all in use; "
                "name another data set, ask for fewer images, or set ood to null"
            )
    elif config.ood is not None:
        other = _found(config.ood, config, config.test, source.manifest.channels)
        outside = other.manifest
        ood = other.pieces({"test": config.test}, config.seed)["test"]
        if outside.channels != source.manifest.channels:
            raise ValueError(
                f"data set {config.source} has {source.manifest.channels} channels and ood {config.ood} has "
                f"{outside.channels}; prepare both with --grey or both without, or set ood to null"
            )
    return Datasets(
        train=pieces["train"],
        val=pieces["val"],
        test=pieces["test"],
        ood=ood,
        fingerprint=_fingerprint(config, source.manifest, outside, 0 if ood is None else len(ood)),
    )


@dataclass(frozen=True)
class _Found:
    """The images of a source, and the folder of the set where they are not in the order of the seed asked for."""

    images: NDArray[np.uint8]
    manifest: Manifest
    folder: Path | None

    def pieces(self, counts: dict[str, int], seed: int) -> dict[str, NDArray[np.uint8]]:
        """So many images for each purpose (fewer where there are no more): what several draw from is drawn from in the
        order of `counts`, and `ood` draws from what `test` draws from."""
        used: dict[int, int] = {}
        spans = {}
        for purpose, count in counts.items():
            first, last = _bounds(self.manifest, purpose)
            start = used.get(first, first)
            used[first] = min(start + count, last)
            spans[purpose] = (start, used[first])
        if self.folder is None:
            return {purpose: self.images[start:stop] for purpose, (start, stop) in spans.items()}
        gathered = _gathered(self.folder, self.images, self.manifest, seed, list(spans.values()))
        ends = [0, *accumulate(stop - start for start, stop in spans.values())]
        return {purpose: gathered[a:b] for purpose, (a, b) in zip(spans, pairwise(ends), strict=True)}


def _found(name: str, config: DataConfig, count: int, channels: int | None) -> _Found:
    """The source `name`; of a built-in one, the first `count` images. `channels` is asked of one that can choose."""
    if name in BUILT_IN:
        return _Found(*drawn(name, config.size, config.seed, count, grey=channels == 1), None)
    if is_own(name):
        from flowsearch.data.own import own

        manifest, folder = own(name, config.size, config.seed, count, channels=channels)
    else:
        manifest, folder = find_dataset(name, config.size)
    images = open_images(folder, manifest)
    return _Found(images, manifest, None if config.seed == manifest.seed else folder)


def _bounds(manifest: Manifest, purpose: str) -> tuple[int, int]:
    """The rows that images for a purpose come from: all, or those of one part of a partition."""
    if manifest.parts is None:
        return 0, manifest.count
    part = PARTS.index("test" if purpose == "ood" else purpose)
    return sum(manifest.parts[:part]), sum(manifest.parts[: part + 1])


def _pool(manifest: Manifest, purpose: str) -> int:
    first, last = _bounds(manifest, purpose)
    return last - first


def _check_counts(manifest: Manifest, config: DataConfig) -> None:
    total = config.train + config.val + config.test
    if manifest.parts is None and manifest.count < total:
        raise ValueError(
            f"data set {config.source} has {manifest.count} images; train {config.train}, val {config.val} and test "
            f"{config.test} need {total}: ask for fewer, or prepare a larger set"
        )
    for part in PARTS if manifest.parts is not None else ():
        there, asked = _pool(manifest, part), getattr(config, part)
        if there < asked:
            raise ValueError(
                f"data set {config.source} has {there} {part} images by {manifest.partition}, and {part} asks for "
                f"{asked}: ask for fewer, or prepare a larger set"
            )


def _gathered(
    folder: Path, images: NDArray[np.uint8], manifest: Manifest, seed: int, spans: list[tuple[int, int]]
) -> NDArray[np.uint8]:
    """Spans of the rows in the order of another seed than the stored one: gathered once into a file beside."""
    count = sum(stop - start for start, stop in spans)
    which = str(count) if manifest.parts is None else "-".join(f"{start}.{stop}" for start, stop in spans)
    path = folder / f"order-seed{seed}-{which}.npy"
    if not path.is_file():
        names = json.loads((folder / NAMES).read_text(encoding="utf-8"))
        ends = [0, *accumulate(manifest.parts or (len(names),))]
        order: list[int] = []
        for start, stop in pairwise(ends):
            order += sorted(range(start, stop), key=lambda row: order_key(seed, names[row]))
        rows = [row for start, stop in spans for row in order[start:stop]]
        aside = folder / f".partial-{path.name}"
        with locked(folder):
            gathered = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=(count, *images.shape[1:]))
            for place, row in enumerate(rows):
                gathered[place] = images[row]
            gathered.flush()
            aside.rename(path)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _fingerprint(config: DataConfig, manifest: Manifest, outside: Manifest | None, ood_count: int) -> str:
    parts = [manifest.fingerprint, config.seed, config.test, config.val, config.train]
    parts += [outside.fingerprint if outside is not None else None, ood_count]
    for held in (manifest, outside):
        if held is not None and held.parts is not None:
            parts += list(held.parts)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
