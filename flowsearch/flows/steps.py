"""Steps and levels of Glow, with each step's actnorm folded into its 1x1 convolution. Shapes as in `layers`."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from flowsearch.checks import check_int
from flowsearch.flows.coupling import AffineCoupling, Bounds, bounds_in
from flowsearch.flows.layers import (
    ActNorm,
    InvertibleConv1x1,
    Squeeze,
    bounded,
    mix_channels,
    reflections,
)


class Maps(NamedTuple):
    """The maps of channels of a level's steps, there and back, and their summed log-determinant for one pixel, all in
    float64."""

    weight_NCC: Tensor
    bias_NC: Tensor
    inverse_NCC: Tensor
    inverse_bias_NC: Tensor
    logdet: Tensor


class FlowStep(nn.Module):
    """One step of flow: actnorm, invertible 1x1 convolution, affine coupling (section V)."""

    def __init__(
        self, channels: int, hidden: int, generator: torch.Generator | None = None, bounds: Bounds | None = None
    ) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels)
        self.conv = InvertibleConv1x1(channels, generator)
        self.coupling = AffineCoupling(channels, hidden, generator, bounds)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """`y` and logdet_B, one layer after the other."""
        y_BCHW, logdet_B = x_BCHW, x_BCHW.new_zeros(x_BCHW.shape[0])
        for layer in (self.actnorm, self.conv, self.coupling):
            y_BCHW, more_B = layer(y_BCHW)
            logdet_B = logdet_B + more_B
        return y_BCHW, logdet_B

    def inverse(self, y_BCHW: Tensor) -> Tensor:
        """`x`, layer by layer."""
        return self.actnorm.inverse(self.conv.inverse(self.coupling.inverse(y_BCHW)))


class Level(nn.Module):
    """Squeeze, then `depth` steps of flow: (B, C, H, W) to (B, 4 C, H/2, W/2).

    Actnorm and 1x1 convolution of a step are one affine map of channels, `y = W exp(s) (x + b)`. The maps of all steps
    are computed together, in float64, from the parameters alone; `maps` gives them, stacked, for any number of uses.
    """

    def __init__(self, channels_in: int, depth: int, hidden: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        check_int("depth", depth, 1)
        self.squeeze = Squeeze()
        self.bounds = bounds_in(depth)
        steps = nn.ModuleList(FlowStep(4 * channels_in, hidden, generator, self.bounds) for _ in range(depth))
        self.steps = cast("Sequence[FlowStep]", steps)

    def maps(self) -> Maps:
        """The affine maps of the steps and their inverses."""
        log_scale_NC = bounded(_stack(step.actnorm.raw_scale for step in self.steps))
        bias_NC = _stack(step.actnorm.bias for step in self.steps)
        turn_NCC = reflections(_stack(step.conv.vectors for step in self.steps))
        weight_NCC = turn_NCC * log_scale_NC.exp()[:, None, :]
        shift_NC = (weight_NCC @ bias_NC[:, :, None])[:, :, 0]
        inverse_NCC = turn_NCC.mT * (-log_scale_NC).exp()[:, :, None]
        return Maps(weight_NCC, shift_NC, inverse_NCC, -bias_NC, log_scale_NC.sum())

    def map_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that `maps` depends on."""
        for step in self.steps:
            yield from step.actnorm.parameters()
            yield from step.conv.parameters()

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """`y` and logdet_B."""
        if self.training and self.needs_start:
            self.start(x_BCHW)
        y_BCHW, logdet_B = self.squeeze(x_BCHW)
        maps = self._held_maps()
        logdets_B = [logdet_B + maps.logdet * (y_BCHW.shape[-2] * y_BCHW.shape[-1])]
        for step, weight_CC, bias_C in zip(self.steps, maps.weight_NCC, maps.bias_NC, strict=True):
            y_BCHW, logdet_B = step.coupling(mix_channels(y_BCHW, weight_CC, bias_C))
            logdets_B.append(logdet_B)
        return y_BCHW, torch.stack(logdets_B).sum(dim=0)

    def inverse(self, y_BCHW: Tensor) -> Tensor:
        """`x`."""
        x_BCHW = y_BCHW
        maps = self._held_maps()
        steps = list(zip(self.steps, maps.inverse_NCC, maps.inverse_bias_NC, strict=True))
        for step, weight_CC, bias_C in reversed(steps):
            x_BCHW = mix_channels(step.coupling.inverse(x_BCHW), weight_CC, bias_C)
        return self.squeeze.inverse(x_BCHW)

    @property
    def needs_start(self) -> bool:
        """Whether an actnorm still waits for its data-dependent start."""
        return any(step.actnorm.needs_start for step in self.steps)

    @torch.no_grad()
    def start(self, x_BCHW: Tensor) -> Tensor:
        """Give every actnorm that waits for it its data-dependent start; returns `y`."""
        y_BCHW, _ = self.squeeze(x_BCHW)
        for step in self.steps:
            if step.actnorm.needs_start:
                step.actnorm.start(y_BCHW)
            y_BCHW, _ = step(y_BCHW)
        return y_BCHW

    @property
    def dtype(self) -> torch.dtype:
        """Type of the parameters."""
        return self.steps[0].actnorm.bias.dtype

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.steps[0].actnorm.bias.device

    def _held_maps(self) -> Maps:
        """`maps` in the type of the parameters, for the layers as autograd takes them."""
        return Maps(*(value.to(self.dtype) for value in self.maps()))


def _stack(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(tensors)).double()
