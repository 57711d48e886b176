"""From a configuration to the images of each part."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowsearch.data.config import DataConfig
from flowsearch.data.drawn import drawn
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

    Test and validation images come first, so that they stay the same whatever the number of training images. A
    built-in source is drawn (and kept) where needed. The out-of-distribution part is the first `test` images of its
    own source, or all where there are fewer; where it is the same source, images that no other part holds.

    Raises:
        ValueError: an unknown data set, a size that is not prepared, or too few images; says what to do.
    """
    total = config.train + config.val + config.test
    same = config.ood == config.source
    images, manifest = _ordered(config.source, config, total + config.test * same, None)
    if len(images) < total:
        raise ValueError(
            f"data set {config.source} has {len(images)} images; train {config.train}, val {config.val} and test "
            f"{config.test} need {total}: ask for fewer, or prepare a larger set"
        )
    held = config.val + config.test
    ood, outside = None, None
    if config.ood is not None and same:
        ood, outside = images[total : total + config.test], manifest
        if not len(ood):
            raise ValueError(
                f"ood {config.ood} is the source itself, whose {len(images)} images are all in use; "
                "name another data set, ask for fewer images, or set ood to null"
            )
    elif config.ood is not None:
        ood, outside = _ordered(config.ood, config, config.test, manifest.channels)
        ood = ood[: config.test]
        if outside.channels != manifest.channels:
            raise ValueError(
                f"data set {config.source} has {manifest.channels} channels and ood {config.ood} has "
                f"{outside.channels}; prepare both with --grey or both without, or set ood to null"
            )
    return Datasets(
        train=images[held:total],
        val=images[config.test : held],
        test=images[: config.test],
        ood=ood,
        fingerprint=_fingerprint(config, manifest, outside, 0 if ood is None else len(ood)),
    )


def _ordered(name: str, config: DataConfig, count: int, channels: int | None) -> tuple[NDArray[np.uint8], Manifest]:
    """The images of a source in the order of the configuration's seed; of a built-in one, the first `count`."""
    if name in BUILT_IN:
        return drawn(name, config.size, config.seed, count, grey=channels == 1)
    manifest, folder = find_dataset(name, config.size)
    images = open_images(folder, manifest)
    if config.seed == manifest.seed:
        return images, manifest
    return _reordered(folder, images, config.seed, min(count, len(images))), manifest


def _reordered(folder: Path, images: NDArray[np.uint8], seed: int, count: int) -> NDArray[np.uint8]:
    """The first `count` images in the order of another seed than the stored one: gathered once into a file beside."""
    path = folder / f"order-seed{seed}-{count}.npy"
    if not path.is_file():
        names = json.loads((folder / NAMES).read_text(encoding="utf-8"))
        order = sorted(range(len(names)), key=lambda row: order_key(seed, names[row]))[:count]
        aside = folder / f".partial-{path.name}"
        with locked(folder):
            gathered = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=(count, *images.shape[1:]))
            for place, row in enumerate(order):
                gathered[place] = images[row]
            gathered.flush()
            aside.rename(path)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _fingerprint(config: DataConfig, manifest: Manifest, outside: Manifest | None, ood_count: int) -> str:
    parts = [manifest.fingerprint, config.seed, config.test, config.val, config.train]
    parts += [outside.fingerprint if outside is not None else None, ood_count]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
