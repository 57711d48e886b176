"""A picture of any size in windows of one size, and back. Shapes: x_CHW is a picture, x_BCSS are its windows."""

from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from flowsearch.models import ProximalMap
from flowsearch.models.prox import FlowProx
from flowsearch.training.evaluate import BATCH

Corners = list[tuple[int, int]]
"""Row and column of each window's upper left pixel."""


def fitted(x_CHW: Tensor, size: int, unit: int) -> Tensor:
    """The picture, mirrored below and to the right until its sides are at least `size` and multiples of `unit`."""
    return _mirrored(_mirrored(x_CHW, 1, size, unit), 2, size, unit)


def _mirrored(x_CHW: Tensor, side: int, size: int, unit: int) -> Tensor:
    length = x_CHW.shape[side]
    wanted = max(-(-length // unit) * unit, size)
    places = np.pad(np.arange(length), (0, wanted - length), mode="symmetric")
    return x_CHW.index_select(side, torch.from_numpy(places).to(x_CHW.device))


def corners(height: int, width: int, size: int, step: int) -> Corners:
    """Corners of windows of `size` that cover a picture, `step` apart; the last ones end at its border."""
    tops, lefts = ([*range(0, length - size, step), length - size] for length in (height, width))
    return [(top, left) for top in tops for left in lefts]


def cut(x_CHW: Tensor, places: Corners, size: int, block: int = 1) -> Tensor:
    """The windows of `size` at these corners, a batch; each number of x is one of `block` x `block` pixels."""
    side, corners = size // block, [(top // block, left // block) for top, left in places]
    return torch.stack([x_CHW[:, top : top + side, left : left + side] for top, left in corners])


def in_batches(places: Corners, count: int) -> Iterator[Corners]:
    """The corners, `count` at a time."""
    for start in range(0, len(places), count):
        yield places[start : start + count]


class Blend:
    """The weighted mean of overlapping windows: sum of w x over sum of w, with w = sin^p of the place in the window.

    A window's border, where the network sees least, has next to no weight, and half-overlapping windows fade into
    each other.
    """

    def __init__(self, height: int, width: int, size: int, device: torch.device, power: int = 2) -> None:
        ramp_S = torch.sin(torch.pi * (torch.arange(size, device=device) + 0.5) / size) ** power
        self._weight_SS = ramp_S[:, None] * ramp_S
        self._sum_CHW: Tensor | None = None
        self._weight_HW = torch.zeros(height, width, device=device)
        self._size = size

    def add(self, places: Corners, x_BCSS: Tensor) -> None:
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


class Windowed(ProximalMap):
    """A network of images of one size on one picture: the blend of what it makes of windows.

    It is a proximal map, or one that takes measurements of which each number is of `block` x `block` pixels. `places`
    are the windows' corners in the picture; `done` is told how many more windows have been mapped; `power` is the
    blend's.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, int],
        size: int,
        places: Corners,
        done: Callable[[int], None],
        block: int = 1,
        power: int = 2,
    ) -> None:
        """`shape` is the picture's height and width, `size` that of the network's images."""
        super().__init__()
        self.network, self.places, self.done = network, places, done
        self.shape, self.size, self.block, self.power = shape, size, block, power
        if isinstance(network, ProximalMap):
            self.shrinks, self.raw_lambda = network.shrinks, network.raw_lambda

    def forward(self, x_BCHW: Tensor, shrinkage: Tensor | None = None) -> Tensor:
        assert len(x_BCHW) == 1
        given = (shrinkage,) if isinstance(self.network, ProximalMap) else ()
        blend = Blend(*self.shape, self.size, x_BCHW.device, self.power)
        for places in in_batches(self.places, BATCH):
            seen = cut(x_BCHW[0], places, self.size, self.block)
            blend.add(places, self.network(seen, *given).to(x_BCHW.dtype))
            self.done(len(places))
        return blend.mean()[None]

    def mode(self, count: int) -> Tensor:
        """The blend of a flow's modes, one in each window."""
        assert count == 1
        x_BCHW = cast(FlowProx, self.network).mode(1).float()
        blend = Blend(*self.shape, self.size, x_BCHW.device, self.power)
        blend.add(self.places, x_BCHW.expand(len(self.places), -1, -1, -1))
        return blend.mean()[None]
