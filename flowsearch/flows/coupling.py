"""The affine coupling layer of Glow and the small network inside it. Shapes as in `layers`."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowsearch.checks import check_int
from flowsearch.flows.layers import mix_channels


class Bounds(NamedTuple):
    """a and b of a coupling: it stretches or shrinks by at most exp(a), in either direction, and shifts by at most b,
    where actnorm keeps what it shifts near unit variance.

    The network would otherwise extrapolate in a line outside its training data, where unrolled iterates are, and a deep
    flow compounds that until its inverse explodes.
    """

    scale: float = 0.8
    shift: float = 2.0


def bounds_in(steps: int) -> Bounds:
    """The bounds of each coupling in a level of so many steps: from the fifth on all together do no more than four,
    so that a deep level is no less stable than a shallow one, and trains at the same rates."""
    share = min(1.0, 4 / steps)
    return Bounds(share * Bounds().scale, share * Bounds().shift)


class ScaledConv(nn.Module):
    """Convolution with an affine map of each output channel, `y = exp(g) (weight * x + bias) + shift`.

    Scale and shift are folded into the weights, which costs nothing per pixel. Parameters: weight, bias, g
    (`log_scale`) and, with `shift`, one more per channel. The weights start at random (He) or, with `zero`, at 0.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        *,
        shift: bool = True,
        zero: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels_out, channels_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        self.log_scale = nn.Parameter(torch.zeros(channels_out))
        self.shift = nn.Parameter(torch.zeros(channels_out)) if shift else None
        if not zero:
            nn.init.kaiming_normal_(self.weight, nonlinearity="relu", generator=generator)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """`y`, of the same height and width."""
        scale = self.log_scale.exp()
        weight = self.weight * scale[:, None, None, None]
        bias = self.bias * scale if self.shift is None else torch.addcmul(self.shift, self.bias, scale)
        kernel = weight.shape[-1]
        if kernel == 1:
            return mix_channels(x_BCHW, weight[:, :, 0, 0].to(x_BCHW.dtype), bias.to(x_BCHW.dtype))
        return F.conv2d(x_BCHW, weight, bias, padding=kernel // 2)


class CouplingNet(nn.Module):
    """3x3 convolution, ReLU, 1x1 convolution, ReLU, 3x3 convolution from zero: the NN of section V; not invertible."""

    def __init__(
        self, channels_in: int, channels_out: int, hidden: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        check_int("hidden", hidden, 1)
        self.first = ScaledConv(channels_in, hidden, 3, generator=generator)
        self.middle = ScaledConv(hidden, hidden, 1, generator=generator)
        self.last = ScaledConv(hidden, channels_out, 3, shift=False, zero=True)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, channels_out, H, W); zeros at the start of training."""
        hidden = F.relu(self.first(x_BCHW), inplace=True)
        hidden = F.relu(self.middle(hidden), inplace=True)
        return self.last(hidden)


class AffineCoupling(nn.Module):
    """Affine coupling of the channels' halves, `y_a = exp(a tanh(s)) x_a + b tanh(t / b)`, `y_b = x_b`, where
    `(s, t) = NN(x_b)`, and a and b are the `bounds`.

    The paper (section V) writes exp(s) and t, which lets flow and inverse explode; here both are bounded on both
    sides. Starts as the identity.
    """

    def __init__(
        self, channels: int, hidden: int, generator: torch.Generator | None = None, bounds: Bounds | None = None
    ) -> None:
        super().__init__()
        check_int("channels", channels, 2)
        if channels % 2:
            raise ValueError(f"a coupling takes an even number of channels, not {channels}")
        self.bounds = bounds or Bounds()
        self.net = CouplingNet(channels // 2, channels, hidden, generator)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """`y` and logdet = sum(a tanh(s))."""
        x_a, x_b = x_BCHW.chunk(2, dim=1)
        log_scale, shift = self._scale_and_shift(x_b)
        y_a = torch.addcmul(shift, log_scale.exp(), x_a)
        return torch.cat((y_a, x_b), dim=1), log_scale.sum(dim=(1, 2, 3))

    def inverse(self, y_BCHW: Tensor) -> Tensor:
        """`x_a = exp(-a tanh(s)) (y_a - b tanh(t / b))`, `x_b = y_b`."""
        y_a, y_b = y_BCHW.chunk(2, dim=1)
        log_scale, shift = self._scale_and_shift(y_b)
        return torch.cat(((y_a - shift) * (-log_scale).exp(), y_b), dim=1)

    def _scale_and_shift(self, x_b: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.net(x_b).to(x_b.dtype).chunk(2, dim=1)
        return self.bounds.scale * s.tanh(), self.bounds.shift * (t / self.bounds.shift).tanh()
