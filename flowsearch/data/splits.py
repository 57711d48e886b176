"""From a configuration to the images of each part."""

import hashlib
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowsearch.built_in import BUILT_IN
from flowsearch.data.arrays import in_words
from flowsearch.data.config import DataConfig, is_own
from flowsearch.data.drawn import drawn
from flowsearch.data.partition import PARTS
from flowsearch.data.store import (
    NAMES,
    Manifest,
    find_dataset,
    fingerprint_images,
    locked,
    open_images,
    order_key,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Datasets:
    """The images of a study, each part uint8 (N, C, H, W): views of read-only memory maps, or a copy in memory of `ood`
    and `prior` where images of another part were left out of them."""

    train: NDArray[np.uint8]
    val: NDArray[np.uint8]
    test: NDArray[np.uint8]
    ood: NDArray[np.uint8] | None
    prior: NDArray[np.uint8] | None = None
    """Further images for pre-training priors."""
    fingerprint: str
    """sha256 over the pixels of the sources and the split."""
    parted: bool = False
    """Whether the source has a published partition, so that no part can grow into another."""

    def digests(self) -> dict[str, str]:
        """sha256 over the pixels of what is looked at: the `val`, `test` and `ood` images."""
        shown = {"val": self.val, "test": self.test, "ood": self.ood}
        return {split: fingerprint_images(images) for split, images in shown.items() if images is not None}

    @property
    def pretraining(self) -> NDArray[np.uint8]:
        """What priors are pre-trained on: the training images, and those of `prior` (both copied into memory)."""
        return self.train if self.prior is None else np.concatenate((self.train, self.prior))


def load(config: DataConfig, channels: int | None = None) -> Datasets:
    """The parts of a data set: test, then val, then train, in the order that `config.seed` gives its images.

    Test and validation images come first, so that they stay the same whatever the number of training images (of a
    callable that takes `count`: where it takes `seed` too, and gives the same first images whatever the count). Of a
    set prepared with a partition, each part comes from that part of the partition alone. A built-in source is drawn,
    one of a researcher's own is called, and what they give is kept. The out-of-distribution part is the first `test`
    images of its own source (of its test part, where it has a partition), or all where there are fewer; further images
    for priors are those that no other part holds (of the train part). Sets of other names may hold the same images: of
    those, what another part has is left out of `ood`, and then of the images for priors.

    `channels` (1 for grey, 3 for colour) is what `source` is to give where it can choose, None what it gives by itself;
    a prepared set cannot.

    Raises:
        ValueError: an unknown data set, a size that is not prepared, or too few images; says what to do.
    """
    pieces: dict[str, NDArray[np.uint8]] = {}
    manifests: dict[str, Manifest] = {}
    """By what the images are for: `source`, `ood` or `prior`; a set may be called by any name."""
    for name, counts in _wanted(config).items():
        found = _found(name, config, sum(counts.values()), channels)
        if not manifests:
            _check_counts(found.manifest, config)
            manifests["source"] = found.manifest
            channels = found.manifest.channels
        for purpose in (one for one in counts if one not in PARTS):
            _check_channels(config, purpose, manifests["source"].channels, found.manifest.channels)
            manifests[purpose] = found.manifest
        pieces |= found.pieces(counts, config.seed)
    _leave_out_copies(config, pieces)
    for purpose, images in pieces.items():
        if not len(images):
            raise ValueError(
                f"all images of {getattr(config, purpose)} that {purpose} could have are in use by other parts; "
                f"name another data set, ask for fewer images, or set {purpose} to null"
            )
    return Datasets(
        train=pieces["train"],
        val=pieces["val"],
        test=pieces["test"],
        ood=pieces.get("ood"),
        prior=pieces.get("prior"),
        fingerprint=_fingerprint(config, manifests, pieces),
        parted=manifests["source"].parts is not None,
    )


@dataclass(frozen=True)
class Counted:
    """What is known of a study's images before any is opened."""

    channels: int
    pretraining: int
    """Images that priors are pre-trained on; those that `load` leaves out as copies are still among them."""


def counted(config: DataConfig) -> Counted:
    """Channels and images of `load`, from the manifests of prepared sets; built-in images are not drawn.

    Raises ValueError for an unknown data set or a size that is not prepared.
    """
    channels, pretraining = None, config.train
    for name, counts in _wanted(config).items():
        total, parts, given = sum(counts.values()), None, 3
        if name not in BUILT_IN:
            manifest = _manifest(name, config, total, channels)[0]  # asked as `load` asks: one's own is made once
            total, parts, given = manifest.count, manifest.parts, manifest.channels
        channels = channels or given
        start, stop = _spans(total, parts, counts).get("prior", (0, 0))
        pretraining += stop - start
    return Counted(channels or 3, pretraining)


def lacking(config: DataConfig) -> str | None:
    """Why `load` would refuse the prepared sets that lie here, by their manifests; None where it would not.

    On the machine that a study is for they may be others. Sources of one's own are called and kept, as by `load`, and
    what is wrong with one is raised, as ValueError.
    """
    channels = None
    for name, counts in _wanted(config).items():
        if name in BUILT_IN:
            channels = channels or 3
            continue
        try:
            manifest = _manifest(name, config, sum(counts.values()), channels)[0]
            if channels is None:
                _check_counts(manifest, config)
            channels = channels or manifest.channels
            for purpose in counts:
                _check_channels(config, purpose, channels, manifest.channels)
        except ValueError as error:
            if is_own(name):
                raise
            return str(error)
    return None


_ALL = 2**40
"""Images: more than any set has."""


def _wanted(config: DataConfig) -> dict[str, dict[str, int]]:
    """How many images each source is asked for, by purpose, in the order in which they are taken."""
    wanted = {config.source: {"test": config.test, "val": config.val, "train": config.train}}
    if config.ood is not None:
        wanted.setdefault(config.ood, {})["ood"] = config.test
    if config.prior is not None:
        wanted.setdefault(config.prior, {})["prior"] = config.prior_images or _ALL
    return wanted


@dataclass(frozen=True)
class _Found:
    """The images of a source, and the folder of the set where they are not in the order of the seed asked for."""

    images: NDArray[np.uint8]
    manifest: Manifest
    folder: Path | None

    def pieces(self, counts: dict[str, int], seed: int) -> dict[str, NDArray[np.uint8]]:
        """So many images for each purpose, fewer where there are no more."""
        spans = _spans(self.manifest.count, self.manifest.parts, counts)
        if self.folder is None:
            return {purpose: self.images[start:stop] for purpose, (start, stop) in spans.items()}
        gathered = _gathered(self.folder, self.images, self.manifest, seed, list(spans.values()))
        ends = [0, *accumulate(stop - start for start, stop in spans.values())]
        return {purpose: gathered[a:b] for purpose, (a, b) in zip(spans, pairwise(ends), strict=True)}


def _found(name: str, config: DataConfig, count: int, channels: int | None) -> _Found:
    """The source `name`; of a built-in one, the first `count` images. `channels` is asked of one that can choose."""
    if name in BUILT_IN:
        return _Found(*drawn(name, config.size, config.seed, count, grey=channels == 1), None)
    manifest, folder = _manifest(name, config, count, channels)
    images = open_images(folder, manifest)
    return _Found(images, manifest, None if config.seed == manifest.seed else folder)


def _manifest(name: str, config: DataConfig, count: int, channels: int | None) -> tuple[Manifest, Path]:
    """The manifest and folder of a set that is not built in; one of a researcher's own is made where it is not yet."""
    if is_own(name):
        from flowsearch.data.own import own

        return own(name, config.size, config.seed, count, channels=channels)
    return find_dataset(name, config.size)


def _spans(total: int, parts: tuple[int, ...] | None, counts: dict[str, int]) -> dict[str, tuple[int, int]]:
    """The rows for each purpose, of `total` or of those in the `parts` of a partition.

    What several draw from is drawn from in the order of `counts`; `ood` draws from what `test` draws from, and `prior`
    from what `train` does. There are fewer where there are no more.
    """
    used: dict[int, int] = {}
    spans = {}
    for purpose, count in counts.items():
        first, last = _bounds(total, parts, purpose)
        start = used.get(first, first)
        used[first] = min(start + count, last)
        spans[purpose] = (start, used[first])
    return spans


def _bounds(total: int, parts: tuple[int, ...] | None, purpose: str) -> tuple[int, int]:
    """The rows that images for a purpose come from: all, or those of one part of a partition."""
    if parts is None:
        return 0, total
    part = PARTS.index({"ood": "test", "prior": "train"}.get(purpose, purpose))
    return sum(parts[:part]), sum(parts[: part + 1])


def _check_counts(manifest: Manifest, config: DataConfig) -> None:
    total = config.train + config.val + config.test
    if manifest.parts is None and manifest.count < total:
        raise ValueError(
            f"data set {config.source} has {manifest.count} images; train {config.train}, val {config.val} and test "
            f"{config.test} need {total}: ask for fewer, or prepare a larger set"
        )
    for part in PARTS if manifest.parts is not None else ():
        first, last = _bounds(manifest.count, manifest.parts, part)
        there, asked = last - first, getattr(config, part)
        if there < asked:
            raise ValueError(
                f"data set {config.source} has {there} {part} images by {manifest.partition}, and {part} asks for "
                f"{asked}: ask for fewer, or prepare a larger set"
            )


def _check_channels(config: DataConfig, purpose: str, channels: int, given: int) -> None:
    """Refuse a source for `purpose` of other channels than those of `config.source`."""
    if channels != given:
        raise ValueError(
            f"data set {config.source} is {in_words(channels)} and {purpose} {getattr(config, purpose)} is "
            f"{in_words(given)}; prepare both with --grey or both without, or set {purpose} to null"
        )


def _leave_out_copies(config: DataConfig, pieces: dict[str, NDArray[np.uint8]]) -> None:
    """Leave out of `ood`, then of `prior`, the images whose pixels another part has from a set of another name.

    Within a set no two images are equal, and a drawn one is equal to no other, so most studies have nothing to compare.
    """
    names = dict.fromkeys(PARTS, config.source) | {"ood": config.ood, "prior": config.prior}
    for purpose in ("ood", "prior"):
        name = names[purpose]
        if name is None or name in BUILT_IN:
            continue
        images = pieces[purpose]
        others = [pieces[part] for part in (*PARTS, "ood") if part in pieces and names[part] not in (name, *BUILT_IN)]
        kept = without_copies(images, others) if others else images
        if len(kept) < len(images):
            _log.warning(
                "%d of %d images of %s are left out of %s: other parts have the same pixels",
                len(images) - len(kept),
                len(images),
                name,
                purpose,
            )
        pieces[purpose] = kept


def without_copies(images: NDArray[np.uint8], others: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The `images` (N, C, H, W) whose pixels none of the `others` has: as they are, or a read-only copy of fewer."""
    known = {_digest(image) for part in others for image in part}
    kept = [row for row, image in enumerate(images) if _digest(image) not in known]
    if len(kept) == len(images):
        return images
    fewer = np.array(images[kept])
    fewer.flags.writeable = False
    return fewer


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.sha256(image.data).digest()


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


def _fingerprint(config: DataConfig, manifests: dict[str, Manifest], pieces: dict[str, NDArray[np.uint8]]) -> str:
    source, outside, further = manifests["source"], manifests.get("ood"), manifests.get("prior")
    parts = [source.fingerprint, config.seed, config.test, config.val, config.train]
    parts += [outside.fingerprint, len(pieces["ood"])] if outside is not None else [None, 0]
    for held in (source, outside):
        if held is not None and held.parts is not None:
            parts += list(held.parts)
    if further is not None:
        parts += ["prior", further.fingerprint, len(pieces["prior"]), *(further.parts or ())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
