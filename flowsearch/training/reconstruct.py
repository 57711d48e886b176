"""Pictures of any size through a network of one size.

Where A acts alike in every place (denoising; super-resolution of block means), the whole picture is measured once, and
the network sees it in half-overlapping windows, which are blended. Everywhere else a measurement belongs to an image of
the network's size: the picture is cut into tiles, each measured by itself. Tiles do not overlap, as each pixel would be
measured several times and the result look better than the task allows.

Shapes: x_CHW is a picture in [-0.5, 0.5], C channels as the network's; S is the network's size.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from flowsearch.operators import BoxDecimation, Identity, LinearOperator
from flowsearch.training.evaluate import BATCH
from flowsearch.training.saved import Saved
from flowsearch.training.windows import Blend, corners, fitted, in_batches

Progress = Callable[[int, int], None]
"""Is told how many windows (or tiles) of a picture are done, and how many there are."""


@dataclass(frozen=True)
class Pictured:
    """A picture's measurement, as a picture, and its reconstruction, both as large as the picture."""

    measurement_CHW: Tensor
    reconstruction_CHW: Tensor


def block_of(operator: LinearOperator) -> int | None:
    """How many pixels a side one measured number stands for, where A acts alike in every place; None elsewhere."""
    if isinstance(operator, Identity):
        return 1
    return operator.scale if isinstance(operator, BoxDecimation) else None


@torch.no_grad()
def reconstruct(saved: Saved, x_CHW: Tensor, generator: torch.Generator, progress: Progress | None = None) -> Pictured:
    """Measure a picture by the network's task, with noise from `generator`, and reconstruct it."""
    height, width = x_CHW.shape[1:]
    block = block_of(saved.task.operator)
    if block is None:
        seen_CHW, found_CHW = _tiled(saved, fitted(x_CHW, saved.size, saved.size), generator, progress)
    else:
        y = saved.task.measure(fitted(x_CHW, saved.size, block)[None], generator)
        seen_CHW, found_CHW = _shown(saved, y)[0], _blended(saved, y[0], block, progress)
    return Pictured(seen_CHW[:, :height, :width], found_CHW[:, :height, :width])


@torch.no_grad()
def reconstruct_measured(saved: Saved, y_CHW: Tensor, progress: Progress | None = None) -> Pictured:
    """Reconstruct a picture that is itself a measurement.

    Raises ValueError where the task's measurements are no images of the same size, or the picture is larger than the
    network's images and the task does not act alike in every place.
    """
    height, width = y_CHW.shape[1:]
    shape = (1, saved.channels, saved.size, saved.size)
    y = saved.task.operator(torch.zeros(shape, device=saved.device))
    if y.shape != shape or y.is_complex():
        raise ValueError(
            f"a measurement of task {saved.task.name} is no image of the same size, so a picture cannot be one; "
            "load_saved(MODEL).model takes it in Python"
        )
    block = block_of(saved.task.operator)
    if block is None and (height, width) != (saved.size, saved.size):
        raise ValueError(
            f"a measurement of task {saved.task.name} has the network's {saved.size}x{saved.size} pixels, not "
            f"{width}x{height}; only denoising takes any size"
        )
    if block is None:
        return Pictured(y_CHW, saved.model(y_CHW[None])[0])
    found_CHW = _blended(saved, fitted(y_CHW, saved.size, 1), 1, progress)
    return Pictured(y_CHW, found_CHW[:, :height, :width])


def _blended(saved: Saved, y_CHW: Tensor, block: int, progress: Progress | None) -> Tensor:
    size = saved.size
    height, width = y_CHW.shape[1] * block, y_CHW.shape[2] * block
    blend = Blend(height, width, size, y_CHW.device)
    step = max(block, size // 2 // block * block)
    for places in _told(corners(height, width, size, step), progress):
        corner = [(top // block, left // block) for top, left in places]
        side = size // block
        seen = [y_CHW[:, top : top + side, left : left + side] for top, left in corner]
        blend.add(places, saved.model(torch.stack(seen)))
    return blend.mean()


def _tiled(saved: Saved, x_CHW: Tensor, generator: torch.Generator, progress: Progress | None) -> tuple[Tensor, Tensor]:
    size = saved.size
    seen_CHW, found_CHW = torch.empty_like(x_CHW), torch.empty_like(x_CHW)
    for places in _told(corners(x_CHW.shape[1], x_CHW.shape[2], size, size), progress):
        tiles_BCSS = torch.stack([x_CHW[:, top : top + size, left : left + size] for top, left in places])
        y = saved.task.measure(tiles_BCSS, generator)
        for (top, left), one, other in zip(places, _shown(saved, y), saved.model(y), strict=True):
            seen_CHW[:, top : top + size, left : left + size] = one
            found_CHW[:, top : top + size, left : left + size] = other
    return seen_CHW, found_CHW


def _told(places: list[tuple[int, int]], progress: Progress | None) -> Iterator[list[tuple[int, int]]]:
    """The corners, a batch at a time; `progress` is told of each batch once it is done."""
    done = 0
    for some in in_batches(places, BATCH):
        yield some
        done += len(some)
        if progress is not None:
            progress(done, len(places))


def _shown(saved: Saved, y: Tensor) -> Tensor:
    """Measurements as images: y where it is one, A^T y / |A|^2 elsewhere, as `evaluate` shows them."""
    operator = saved.task.operator
    back_BCHW = operator.adjoint(y)
    return y if y.shape == back_BCHW.shape and not y.is_complex() else back_BCHW / operator.norm**2
