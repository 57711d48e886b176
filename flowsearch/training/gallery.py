"""A photograph, its measurement and its reconstruction, as pictures and numbers."""

import io
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from flowsearch.data.picture import side_by_side
from flowsearch.training.evaluate import to_png
from flowsearch.training.loop import seeded, to_images
from flowsearch.training.metrics import clip, psnr, ssim
from flowsearch.training.reconstruct import Progress, reconstruct, reconstruct_measured
from flowsearch.training.saved import Saved

_SMALLEST = 11
"""Pixels of SSIM's window."""


@dataclass(frozen=True)
class PictureRow:
    """`pictures` by kind (measurement, reconstruction, and truth where it is known), and how good they are."""

    pictures: dict[str, Image.Image]
    psnr: float | None = None
    measurement_psnr: float | None = None
    ssim: float | None = None
    """None for a picture smaller than its window."""

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.pictures["reconstruction"].width

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.pictures["reconstruction"].height

    def side_by_side(self) -> Image.Image:
        """All pictures in a row, with their PSNR."""
        known = {"measurement": self.measurement_psnr, "reconstruction": self.psnr}
        numbers = {kind: "" if known.get(kind) is None else f"  {known[kind]:.2f} dB" for kind in self.pictures}
        return side_by_side([(kind + numbers[kind], picture) for kind, picture in self.pictures.items()])


def picture_row(
    saved: Saved,
    pixels_CHW: NDArray[np.uint8] | NDArray[np.float32],
    seed: int,
    *,
    measured: bool = False,
    progress: Progress | None = None,
) -> PictureRow:
    """Reconstruct a photograph, as `read_picture` gives it, from its simulated measurement, or with `measured` from
    itself. The pictures of a grey one of more than 8 bits have 16.

    The noise, and what a map of one's own draws, depend on the seed and the picture's shape only. `progress` is told of
    the windows that are done. Raises ValueError where a picture cannot be a measurement (see `reconstruct_measured`).
    """
    x_CHW = to_images(pixels_CHW, saved.device)
    with seeded(seed, 0, 1, saved.device):
        if measured:
            found = reconstruct_measured(saved, x_CHW, progress)
        else:
            found = reconstruct(saved, x_CHW, torch.Generator().manual_seed(seed), progress)
    shown = {"measurement": found.measurement_CHW, "reconstruction": found.reconstruction_CHW}
    if not measured:
        shown["truth"] = x_CHW
    wide = pixels_CHW.dtype != np.uint8 and len(pixels_CHW) == 1
    pictures = {kind: _sixteen_bits(one) if wide else _eight_bits(one) for kind, one in shown.items()}
    if measured:
        return PictureRow(pictures)
    large = min(x_CHW.shape[1:]) >= _SMALLEST
    return PictureRow(
        pictures,
        psnr=float(psnr(found.reconstruction_CHW[None], x_CHW[None])),
        measurement_psnr=float(psnr(found.measurement_CHW[None], x_CHW[None])),
        ssim=float(ssim(found.reconstruction_CHW[None], x_CHW[None])) if large else None,
    )


def _eight_bits(x_CHW: Tensor) -> Image.Image:
    return Image.open(io.BytesIO(to_png(x_CHW)))


def _sixteen_bits(x_1HW: Tensor) -> Image.Image:
    return Image.fromarray(((clip(x_1HW[0]) + 0.5) * 65535).round().cpu().numpy().astype(np.uint16))
