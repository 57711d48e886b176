"""A trained network on a data set, as numbers."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from flowsearch.checks import check_choice
from flowsearch.data import load
from flowsearch.training.evaluate import SPLITS, Measured, evaluate
from flowsearch.training.saved import Saved

_METRICS = ("psnr", "ssim", "measurement_psnr")


def judge(saved: Saved, split: str = "test", *, source: str | None = None, count: int | None = None) -> dict[str, Any]:
    """PSNR and SSIM (mean, std, min, max and image by image) of a network's reconstructions of a split.

    On the trial's own data these are the images and the noise of the trial, and so its numbers. Of another `source`
    they are its first ones by the trial's data seed; `count` asks for more or fewer.

    Raises ValueError for a split or source that is not there, or images of another number of channels.
    """
    check_choice("split", split, SPLITS)
    data = replace(saved.config.data, prior=None, prior_images=None)  # nothing is pre-trained here
    if source is not None:
        data = replace(data, source=source, ood=None)
    if split == "ood" and data.ood is None:
        raise ValueError("there is no ood split without a source of its own; name that one by --source, --split test")
    used = data
    if source is not None:
        used = replace(used, train=1, val=used.val if split == "val" else 1)  # a small source may have no more
    if count is not None:
        used = replace(used, val=count) if split == "val" else replace(used, test=count)
    images_NCHW = getattr(load(used), split)
    if images_NCHW.shape[1] != saved.channels:
        raise ValueError(
            f"{used.ood if split == 'ood' else used.source} has {images_NCHW.shape[1]} channels and the network is for "
            f"{saved.channels}; prepare the images {'with' if saved.channels == 1 else 'without'} --grey"
        )
    measured = Measured.of(images_NCHW, saved.task, split, data.seed, saved.device)
    rows = evaluate(saved.model, saved.task.operator, measured, split).rows
    return {
        "model": str(saved.path),
        "prox": saved.config.prox,
        "task": saved.task.name,
        "source": used.ood if split == "ood" else used.source,
        "split": split,
        "images": len(rows),
        **{name: _spread([row[name] for row in rows]) for name in _METRICS},
        "per_image": [{name: _finite(row[name]) for name in ("image", *_METRICS)} for row in rows],
    }


def _spread(values: list[float]) -> dict[str, float] | None:
    """Mean, sample standard deviation and range of the finite values; None for none."""
    found = np.array([value for value in values if math.isfinite(value)])
    if not len(found):
        return None
    std = float(found.std(ddof=1)) if len(found) > 1 else 0.0
    return {"mean": float(found.mean()), "std": std, "min": float(found.min()), "max": float(found.max())}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
