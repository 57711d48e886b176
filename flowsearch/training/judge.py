"""A trained network on a data set, as numbers."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowsearch.checks import check_choice
from flowsearch.data import BUILT_IN, DataConfig, Datasets, fingerprint_images, load, without_copies
from flowsearch.data.arrays import in_words
from flowsearch.data.config import way_back
from flowsearch.training.evaluate import SPLITS, Measured, evaluate, non_finite
from flowsearch.training.loop import seeded
from flowsearch.training.saved import Saved

_METRICS = ("psnr", "ssim", "measurement_psnr")


def judge(saved: Saved, split: str = "test", *, source: str | None = None, count: int | None = None) -> dict[str, Any]:
    """PSNR and SSIM (mean, std, min, max and image by image) of a network's reconstructions of a split.

    Where a reconstruction is not finite (`non_finite` counts them) the numbers over all are unknown: None.

    On the trial's own data, named or not, these are the images and the noise of the trial, and so its numbers; `count`
    asks for fewer of them, or for more of a part of a published partition: elsewhere the next images were trained on.
    Of another `source` they are its first ones by the trial's data seed, `count` of them, in the network's channels
    where the source can choose; so they are of a set that was made anew under the name of the trial's own, if it is
    named. Those that the network or its prior was trained on are left out (`left_out` counts them).

    Raises ValueError for a split or source that is not there, images that are no longer the trial's though no source
    is named, more images of the trial's own than its split has, images of another number of channels, or none but such
    as were trained on.
    """
    check_choice("split", split, SPLITS)
    data = saved.config.data
    if split == "ood" and (data.ood is None or source is not None):
        raise ValueError("there is no ood split without a source of its own; name that one by --source, --split test")
    images_NCHW = _own(saved, split, source is not None, count) if source in (None, data.source) else None
    left_out = 0
    if images_NCHW is None:
        assert source is not None
        others = _others(data, split, source, count, saved.channels)
        others_NCHW = getattr(others, split)
        images_NCHW = without_copies(others_NCHW, _trained_on(saved, source, others.parted))
        left_out = len(others_NCHW) - len(images_NCHW)
        if not len(images_NCHW):
            raise ValueError(
                f"the network or its prior was trained on all of the first {left_out} {split} images of {source}, and "
                "is evaluated on images that it has not seen; ask for more by --count, or name another set by --source"
            )
    used = data.ood if split == "ood" else source or data.source
    if images_NCHW.shape[1] != saved.channels:
        raise ValueError(
            f"{used} is {in_words(images_NCHW.shape[1])} and the network's images are {in_words(saved.channels)}; "
            f"prepare {used} {'with' if saved.channels == 1 else 'without'} --grey"
        )
    measured = Measured.of(images_NCHW, saved.task, split, data.seed, saved.device)
    with seeded(saved.config.seed, 0, 1, saved.device):  # as in the trial: a map of one's own may draw here too
        rows = evaluate(saved.model, saved.task.operator, measured, split).rows
    return {
        "model": str(saved.path),
        "prox": saved.config.prox,
        "task": saved.task.name,
        "source": used,
        "split": split,
        "images": len(rows),
        "left_out": left_out,
        "non_finite": non_finite(rows),
        **{name: _spread([row[name] for row in rows]) for name in _METRICS},
        "per_image": [{name: _finite(row[name]) for name in ("image", *_METRICS)} for row in rows],
    }


def _own(saved: Saved, split: str, named: bool, count: int | None) -> NDArray[np.uint8] | None:
    """The trial's images of a split: `count` of them, or as many as there are; None where its source, which was
    `named`, holds other images by now."""
    data = _without_prior(saved.config.data)
    if named:
        data = _without_ood(data)
    try:
        datasets = load(data)
    except ValueError:
        if named:
            return None
        raise
    images_NCHW = getattr(datasets, split)
    then, now = saved.images.get(split), fingerprint_images(images_NCHW)
    if then not in (None, now):
        if named:
            return None
        source = data.ood if split == "ood" and data.ood is not None else data.source
        raise ValueError(
            f"the {split} images of {source} are not those of the trial (fingerprint {now}, then {then}); "
            f"{way_back(source)}, or name the set by --source"
        )
    if count is None or count <= len(images_NCHW):
        return images_NCHW[:count]
    if split == "ood" or not datasets.parted:
        raise ValueError(
            f"the trial has {len(images_NCHW)} {split} images, and may have been trained on the next ones of their "
            f"source: count is at most {len(images_NCHW)}, not {count}; ask for fewer, or name another set by --source"
        )
    more: dict[str, Any] = {split: count}
    return getattr(load(replace(data, **more)), split)


def _others(data: DataConfig, split: str, source: str, count: int | None, channels: int) -> Datasets:
    """Another source, of whose split are taken the first `count` images, or as many as the trial's has; in the
    network's channels where the source can choose."""
    counts = {"train": 1, "val": 1, split: count or getattr(data, split)}  # a small source may have no more
    return load(replace(data, source=source, ood=None, prior=None, prior_images=None, **counts), channels)


def _trained_on(saved: Saved, source: str, parted: bool) -> list[NDArray[np.uint8]]:
    """The images that the network and its prior were trained on, of those sets that can hold images of `source`.

    A drawn image is in no other set, and training images are not known where their set is gone or was made anew. Where
    those for the prior are from `source` itself and not known, it is refused, unless they are of another part of its
    partition (`parted`).
    """
    data = saved.config.data
    parts = {"train": data.source} | ({"prior": data.prior} if saved.config.pretrain and data.prior else {})
    shared = {part for part, name in parts.items() if name == source or not {name, source} & set(BUILT_IN)}
    if not shared:
        return []
    if "prior" not in parts:
        data = _without_prior(data)
    try:
        datasets = load(_without_ood(data))
    except ValueError as error:
        if parts.get("prior") == source and not parted:
            raise ValueError(
                f"the network's prior was trained on images of {source}, and which ones cannot be told ({error}); "
                "name another set by --source"
            ) from None
        return []
    now = {"val": fingerprint_images(datasets.val), "test": fingerprint_images(datasets.test)}
    if any(saved.images.get(split) not in (None, digest) for split, digest in now.items()):
        shared.discard("train")
    return [getattr(datasets, part) for part in shared]


def _without_prior(data: DataConfig) -> DataConfig:
    """The same without the images for priors alone, whose set may be gone; `source` stays: it might give other images
    without."""
    return data if data.prior == data.source else replace(data, prior=None, prior_images=None)


def _without_ood(data: DataConfig) -> DataConfig:
    """The same without the set out of distribution; one that is also `source` or `prior` stays."""
    return data if data.ood in (data.source, data.prior) else replace(data, ood=None)


def _spread(values: list[float]) -> dict[str, float] | None:
    """Mean, sample standard deviation and range; None where a value is not finite, as all of them would be too."""
    found = np.array(values)
    if not np.isfinite(found).all():
        return None
    std = float(found.std(ddof=1)) if len(found) > 1 else 0.0
    return {"mean": float(found.mean()), "std": std, "min": float(found.min()), "max": float(found.max())}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
