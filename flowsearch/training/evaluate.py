"""How good reconstructions are, whatever made them: numbers of each image, the time, and pictures to look at."""

import io
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from flowsearch.models import Measurement, Unrolled
from flowsearch.operators import LinearOperator, Task
from flowsearch.training.loop import to_images, to_pixels
from flowsearch.training.metrics import psnr, residual, ssim

_log = logging.getLogger(__name__)

SPLITS = ("val", "test", "ood")
BATCH = 50
PANELS = 8
"""Images of each test set that are kept as pictures."""
FOLD_PANELS = 2
"""Images of each test set that are kept as pictures after each fold, too."""


@dataclass(frozen=True)
class Measured:
    """An image set and its measurements. The noise of an image depends on the seed, the split and its place only, so
    every trial of a study sees the same measurements and can be compared image by image."""

    truth_BCHW: Tensor
    y: Tensor

    @classmethod
    def of(cls, images_NCHW: np.ndarray, task: Task, split: str, seed: int, device: torch.device) -> "Measured":
        """Measure the images of a split: `val`, `test` or `ood`."""
        truth_BCHW = to_images(images_NCHW, device)
        base = (seed * len(SPLITS) + SPLITS.index(split)) * 10_000_000
        parts = [
            task.measure(x_CHW[None], torch.Generator().manual_seed((base + place) % 2**63))
            for place, x_CHW in enumerate(truth_BCHW)
        ]
        return cls(truth_BCHW, torch.cat(parts))

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and measurements in batches of `BATCH`."""
        yield from zip(self.truth_BCHW.split(BATCH), self.y.split(BATCH), strict=True)


@torch.no_grad()
def validate(model: nn.Module, measured: Measured) -> tuple[float, list[float]]:
    """Mean squared error of the reconstructions, and mean PSNR in dB after each fold (of a single one elsewhere)."""
    model.eval()
    squares, psnrs = 0.0, []
    for truth_BCHW, y in measured.batches():
        images = model.iterates(y) if isinstance(model, Unrolled) else [model(y)]
        squares += float((images[-1] - truth_BCHW).double().square().mean()) * len(y)
        psnrs.append(torch.stack([psnr(x_BCHW, truth_BCHW) for x_BCHW in images]))
    return squares / len(measured.y), torch.cat(psnrs, dim=1).mean(dim=1).tolist()


@dataclass(frozen=True)
class Evaluation:
    """`rows`, one an image (`psnr`, `ssim`, `residual`, `measurement_psnr`), the first images as `panels`, and the
    `seconds` that reconstructing them all took, in batches of `BATCH`."""

    rows: list[dict[str, Any]]
    panels: list[dict[str, Any]]
    seconds: float

    def mean(self, name: str) -> float | None:
        """Mean of a column over the images that have a value; None where there is none, or one is not finite: the mean
        over the others would flatter a network that fails on the hardest images."""
        values = [row[name] for row in self.rows if row.get(name) is not None]
        return float(np.mean(values)) if values and np.isfinite(values).all() else None


@torch.no_grad()
def evaluate(model: nn.Module, operator: LinearOperator, measured: Measured, split: str) -> Evaluation:
    """Reconstruct and judge the images of a split; log it where a reconstruction has no finite numbers.

    What is shown and counted as the measurement is y where it is an image like the truth, A^T y / norm^2 otherwise: a
    full gradient step from zero, which for super-resolution, say, is as bright as the truth.
    """
    model.eval()
    seen = Measurement(operator)
    rows: list[dict[str, Any]] = []
    panels: list[dict[str, Any]] = []
    seconds = 0.0
    for truth_BCHW, y in measured.batches():
        began = _now(y.device)
        estimate_BCHW = model(y)
        seconds += _now(y.device) - began
        seen_BCHW = seen(y)
        quality = zip(
            psnr(estimate_BCHW, truth_BCHW).tolist(),
            ssim(estimate_BCHW, truth_BCHW).tolist(),
            residual(operator(estimate_BCHW), y).tolist(),
            psnr(seen_BCHW, truth_BCHW).tolist(),
            strict=True,
        )
        for offset, (db, similarity, misfit, seen_db) in enumerate(quality):
            place = len(rows)
            row = {"split": split, "image": place, "psnr": db, "ssim": similarity, "residual": misfit}
            rows.append(row | {"measurement_psnr": seen_db})
            if place < PANELS:
                shown = {
                    "measurement": (seen_BCHW[offset], seen_db),
                    "reconstruction": (estimate_BCHW[offset], db),
                    "truth": (truth_BCHW[offset], None),
                }
                panels += [
                    {"split": split, "image": place, "kind": kind, "psnr": value, "png": to_png(x_CHW)}
                    for kind, (x_CHW, value) in shown.items()
                ]
    if failed := non_finite(rows):
        _log.warning("%d of %d reconstructions (%s) are not finite; their means are unknown", failed, len(rows), split)
    if isinstance(model, Unrolled):
        panels += _after_each_fold(model, measured, split)
    return Evaluation(rows, panels, seconds)


def non_finite(rows: list[dict[str, Any]]) -> int:
    """The number of images whose reconstruction has a PSNR, an SSIM or a residual that is not finite."""
    return sum(not all(math.isfinite(row[name]) for name in ("psnr", "ssim", "residual")) for row in rows)


def _after_each_fold(model: Unrolled, measured: Measured, split: str) -> list[dict[str, Any]]:
    """The first images as each fold leaves them, fold 0 being what the first one starts from."""
    truth_BCHW, y = measured.truth_BCHW[:FOLD_PANELS], measured.y[:FOLD_PANELS]
    return [
        {"split": split, "image": place, "kind": "fold", "fold": fold, "psnr": db, "png": to_png(x_CHW)}
        for fold, x_BCHW in enumerate([model.first(y).float(), *model.iterates(y)])
        for place, (x_CHW, db) in enumerate(zip(x_BCHW, psnr(x_BCHW, truth_BCHW).tolist(), strict=True))
    ]


def _now(device: torch.device) -> float:
    """The clock, once the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def to_png(x_CHW: Tensor) -> bytes:
    """An image in [-0.5, 0.5] as the bytes of a PNG file."""
    pixels = to_pixels(x_CHW)
    out = io.BytesIO()
    Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)).save(out, format="PNG")
    return out.getvalue()
