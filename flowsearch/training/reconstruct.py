"""Pictures of any size through a network of one size.

Where A acts alike in every place but for its boundary, the whole picture is measured once. Where it is local besides
(denoising; super-resolution of block means), the network sees the measurement in half-overlapping windows, which are
blended. A window of a blurred picture is no blurred window: there, data steps are those of the whole picture, and only
the learned maps see windows, blended in each fold. Everywhere else a measurement belongs to an image of the network's
size: the picture is cut into tiles, each measured by itself. Tiles do not overlap, as each pixel would be measured
several times and the result look better than the task allows.

Shapes: x_CHW is a picture in [-0.5, 0.5], C channels as the network's; S is the network's size.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from flowsearch.models import Feedforward, ProximalMap, Unrolled
from flowsearch.operators import Task
from flowsearch.training.evaluate import BATCH
from flowsearch.training.saved import Saved
from flowsearch.training.windows import Windowed, corners, cut, fitted, in_batches

Progress = Callable[[int, int], None]
"""Is told how many windows (or tiles) of a picture are done, in all folds, and how many there are."""


@dataclass(frozen=True)
class Pictured:
    """A picture's measurement, as a picture, and its reconstruction, both as large as the picture."""

    measurement_CHW: Tensor
    reconstruction_CHW: Tensor


@torch.no_grad()
def reconstruct(saved: Saved, x_CHW: Tensor, generator: torch.Generator, progress: Progress | None = None) -> Pictured:
    """Measure a picture by the network's task, with noise from `generator`, and reconstruct it."""
    height, width = x_CHW.shape[1:]
    period = saved.task.operator.shift_period
    if period is None:
        seen_CHW, found_CHW = _tiled(saved, fitted(x_CHW, saved.size, saved.size), generator, progress)
    else:
        x_CHW = fitted(x_CHW, saved.size, period)
        task, network = _whole(saved, x_CHW.shape[1], x_CHW.shape[2], progress)
        y = task.measure(x_CHW[None], generator)
        seen_CHW, found_CHW = _shown(task, y)[0], network(y)[0]
    return Pictured(seen_CHW[:, :height, :width], found_CHW[:, :height, :width])


@torch.no_grad()
def reconstruct_measured(saved: Saved, y_CHW: Tensor, progress: Progress | None = None) -> Pictured:
    """Reconstruct a picture that is itself a measurement.

    Raises ValueError where the task's measurements are no images of the same size, or the picture has another size than
    the network's images and the task does not act alike in every place.
    """
    height, width = y_CHW.shape[1:]
    shape = (1, saved.channels, saved.size, saved.size)
    y = saved.task.operator(torch.zeros(shape, device=saved.device))
    if y.shape != shape or y.is_complex():
        raise ValueError(
            f"a measurement of task {saved.task.name} is no image of the same size, so a picture cannot be one; "
            "load_saved(MODEL).model takes it in Python"
        )
    period = saved.task.operator.shift_period
    if period is None and (height, width) != (saved.size, saved.size):
        raise ValueError(
            f"a measurement of task {saved.task.name} has the network's {saved.size}x{saved.size} pixels, not "
            f"{width}x{height}; only denoising and deblurring take any size"
        )
    y = fitted(y_CHW, saved.size, period or 1)[None]
    _, network = _whole(saved, y.shape[2], y.shape[3], progress)
    found_CHW = network(y)[0]
    return Pictured(y_CHW, found_CHW[:, :height, :width])


def _whole(saved: Saved, height: int, width: int, progress: Progress | None) -> tuple[Task, nn.Module]:
    """The task for one picture, and its network, which takes a batch of one. For a picture of S x S they are as they
    are."""
    model, size = saved.model, saved.size
    period = saved.task.operator.shift_period
    if (height, width) == (size, size) or period is None:
        return saved.task, model
    # In whole periods, so that a window sees the grid of a measurement where the network's images have it.
    places = corners(height, width, size, max(1, size // 2 // period) * period)
    if saved.task.operator.local:
        return saved.task, Windowed(model, (height, width), size, places, _counter(len(places), progress), period)
    operator = saved.task.operator.resized(height, width).to(saved.device)
    calls = model.mapped_folds if isinstance(model, Unrolled) else 1
    done = _counter(len(places) * calls, progress)

    def windowed(prox: ProximalMap) -> ProximalMap:
        # What is wrong near a window's border is seen by the next folds: with sin^2 a ResNet's leaves a faint lattice.
        return Windowed(prox, (height, width), size, places, done, power=4)

    other: Unrolled | Feedforward
    if isinstance(model, Unrolled):
        proxes = [windowed(model.prox(k)) for k in range(len(model.proxes))]
        other = Unrolled(operator, proxes, model.folds, model.start, model.end, model.precision)
        other.share_K, other.raw_lambda_K = model.share_K, model.raw_lambda_K
    else:
        other = Feedforward(operator, windowed(model.network), model.precision)
    return replace(saved.task, operator=operator), other.eval()


def _tiled(saved: Saved, x_CHW: Tensor, generator: torch.Generator, progress: Progress | None) -> tuple[Tensor, Tensor]:
    size = saved.size
    seen_CHW, found_CHW = torch.empty_like(x_CHW), torch.empty_like(x_CHW)
    tiles = corners(x_CHW.shape[1], x_CHW.shape[2], size, size)
    done = _counter(len(tiles), progress)
    for places in in_batches(tiles, BATCH):
        y = saved.task.measure(cut(x_CHW, places, size), generator)
        for (top, left), one, other in zip(places, _shown(saved.task, y), saved.model(y), strict=True):
            seen_CHW[:, top : top + size, left : left + size] = one
            found_CHW[:, top : top + size, left : left + size] = other
        done(len(places))
    return seen_CHW, found_CHW


def _counter(total: int, progress: Progress | None) -> Callable[[int], None]:
    """Adds up what is done, and tells `progress` of it."""
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    return add


def _shown(task: Task, y: Tensor) -> Tensor:
    """Measurements as images: y where it is one, A^T y / |A|^2 elsewhere, as `evaluate` shows them."""
    operator = task.operator
    back_BCHW = operator.adjoint(y)
    return y if y.shape == back_BCHW.shape and not y.is_complex() else back_BCHW / operator.norm**2
