"""A picture of any size in windows of one size, and back. Shapes: x_CHW is a picture, x_BCSS are its windows."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


def fitted(x_CHW: Tensor, size: int, unit: int) -> Tensor:
    """The picture, mirrored below and to the right until its sides are at least `size` and multiples of `unit`."""
    return _mirrored(_mirrored(x_CHW, 1, size, unit), 2, size, unit)


def _mirrored(x_CHW: Tensor, side: int, size: int, unit: int) -> Tensor:
    length = x_CHW.shape[side]
    wanted = max(-(-length // unit) * unit, size)
    places = np.pad(np.arange(length), (0, wanted - length), mode="symmetric")
    return x_CHW.index_select(side, torch.from_numpy(places).to(x_CHW.device))


def corners(height: int, width: int, size: int, step: int) -> list[tuple[int, int]]:
    """Upper left corners of windows of `size` that cover a picture, `step` apart; the last ones end at its border."""
    tops, lefts = ([*range(0, length - size, step), length - size] for length in (height, width))
    return [(top, left) for top in tops for left in lefts]


def in_batches(places: list[tuple[int, int]], count: int) -> Iterator[list[tuple[int, int]]]:
    """The corners, `count` at a time."""
    for start in range(0, len(places), count):
        yield places[start : start + count]


class Blend:
    """The weighted mean of overlapping windows: sum of w x over sum of w, with w = sin^2 of the place in the window.

    A window's border, where the network sees least, has next to no weight, and half-overlapping windows fade into
    each other.
    """

    def __init__(self, height: int, width: int, size: int, device: torch.device) -> None:
        ramp_S = torch.sin(torch.pi * (torch.arange(size, device=device) + 0.5) / size) ** 2
        self._weight_SS = ramp_S[:, None] * ramp_S
        self._sum_CHW: Tensor | None = None
        self._weight_HW = torch.zeros(height, width, device=device)
        self._size = size

    def add(self, places: list[tuple[int, int]], x_BCSS: Tensor) -> None:
        """Lay windows at their places."""
        if self._sum_CHW is None:
            self._sum_CHW = x_BCSS.new_zeros(x_BCSS.shape[1], *self._weight_HW.shape)
        for (top, left), x_CSS in zip(places, x_BCSS, strict=True):
            rows, columns = slice(top, top + self._size), slice(left, left + self._size)
            self._sum_CHW[:, rows, columns] += self._weight_SS * x_CSS
            self._weight_HW[rows, columns] += self._weight_SS

    def mean(self) -> Tensor:
        """The picture, (C, H, W)."""
        assert self._sum_CHW is not None
        return self._sum_CHW / self._weight_HW
