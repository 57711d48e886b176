"""Parts of one's own for studies/own_parts.yaml: a proximal map and an operator, in plain PyTorch."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from flowsearch.operators import LinearOperator


class Residual(nn.Module):
    """x + w R(x): `layers` 3x3 convolutions of `width` feature maps, weighed by one learned number that starts at 0.1.

    flowsearch calls it with the images' channels and size, and with the study's parameters.
    """

    def __init__(self, channels: int, size: int, layers: int = 3, width: int = 16) -> None:
        super().__init__()
        widths = [channels, *[width] * (layers - 1), channels]
        parts: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            parts += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.SiLU()]
        self.body = nn.Sequential(*parts[:-1])
        self.weight = nn.Parameter(torch.tensor(0.1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.weight * self.body(x_BCHW)


class Stripes(LinearOperator):
    """A x: of every `period` columns of pixels the last one is lost. A is a mask, and its own adjoint."""

    def __init__(self, channels: int, size: int, period: int = 3) -> None:
        super().__init__()
        kept_W = (torch.arange(size) % period < period - 1).float()
        self.register_buffer("kept_W", kept_W, persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW * self.kept_W

    def adjoint(self, y_BCHW: Tensor) -> Tensor:
        return y_BCHW * self.kept_W
