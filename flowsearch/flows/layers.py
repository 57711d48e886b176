"""The linear layers of Glow: activation normalization, invertible 1x1 convolution, squeeze and split.

Shapes: B images, C channels, H x W pixels, N steps of flow. Every layer has `forward(x) -> (y, logdet_B)`, with
logdet = log |det dy/dx| in nats, and `inverse(y) -> x`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flowsearch.checks import check_int

LOG_BOUND = 4.0
"""Scales of actnorm stay within exp(-4) to exp(4), whatever training does."""


def bounded(raw: Tensor) -> Tensor:
    """`4 tanh(raw / 4)`: near the identity around 0, never beyond `LOG_BOUND`."""
    return LOG_BOUND * torch.tanh(raw / LOG_BOUND)


def unbounded(value: Tensor) -> Tensor:
    """The `raw` whose `bounded(raw)` is `value`; values near or beyond the bound are first drawn in to 0.95 of it."""
    return LOG_BOUND * torch.atanh((value / LOG_BOUND).clamp(-0.95, 0.95))


def mix_channels(x_BCHW: Tensor, weight_DC: Tensor, bias_D: Tensor) -> Tensor:
    """`y = weight x + bias` at every pixel, in the type of x and the weight, under autocast too.

    A 1x1 convolution, written as the matrix product that CPUs do faster.
    """
    batch, _, height, width = x_BCHW.shape
    weight_BDC = weight_DC.expand(batch, -1, -1)
    with torch.autocast(x_BCHW.device.type, enabled=False):
        return torch.baddbmm(bias_D[:, None], weight_BDC, x_BCHW.flatten(2)).unflatten(2, (height, width))


class ActNorm(nn.Module):
    """Activation normalization, `y = exp(s) (x + b)` with s = 4 tanh(raw_scale / 4), per channel (eq. (13)).

    The first batch that it meets in training mode sets s and b so that y has zero mean and unit variance in each
    channel. A channel without variance keeps scale 1. The buffer `initialized` travels with the state.
    """

    initialized: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        check_int("channels", channels, 1)
        self.raw_scale = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialized", torch.tensor(False))
        self._known_initialized = False  # spares a GPU the wait for the buffer in every call

    def log_scale(self) -> Tensor:
        """s, shape (C,)."""
        return bounded(self.raw_scale)

    @property
    def needs_start(self) -> bool:
        """Whether the data-dependent start is still to come."""
        if not self._known_initialized:
            self._known_initialized = bool(self.initialized)
        return not self._known_initialized

    @torch.no_grad()
    def start(self, x_BCHW: Tensor) -> None:
        """Set s and b from the statistics of `x_BCHW`, and `initialized`."""
        variance_C, mean_C = torch.var_mean(x_BCHW, dim=(0, 2, 3), correction=0)
        deviation_C = variance_C.sqrt()
        deviation_C = torch.where(deviation_C > 1e-5, deviation_C, torch.ones_like(deviation_C))
        self.raw_scale.copy_(unbounded(-deviation_C.log()))
        self.bias.copy_(-mean_C)
        self.initialized.fill_(True)
        self._known_initialized = True

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """`y` and logdet = H W sum(s)."""
        if self.training and self.needs_start:
            self.start(x_BCHW)
        batch, _, height, width = x_BCHW.shape
        s_C = self.log_scale()
        y_BCHW = (x_BCHW + self.bias[:, None, None]) * s_C.exp()[:, None, None]
        return y_BCHW, (height * width * s_C.sum()).expand(batch)

    def inverse(self, y_BCHW: Tensor) -> Tensor:
        """`x = exp(-s) y - b`."""
        return y_BCHW * (-self.log_scale()).exp()[:, None, None] - self.bias[:, None, None]

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._known_initialized = False


class InvertibleConv1x1(nn.Module):
    """Invertible 1x1 convolution, `y = W x` at every pixel, W of C Householder reflections (`reflections`).

    W is orthogonal whatever its vectors: its inverse is its transpose, log |det W| = 0, and the flow is no worse
    conditioned for it. (A triangular factorization is as cheap, but training lets its condition grow, over the steps of
    a flow without bound.) The scales that an orthogonal W lacks are actnorm's. The parameter `vectors`, C x C, has one
    vector in each column; it starts at random, and W with it.
    """

    def __init__(self, channels: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        check_int("channels", channels, 1)
        self.vectors = nn.Parameter(torch.randn(channels, channels, generator=generator))

    def weight(self) -> Tensor:
        """W, shape (C, C)."""
        return reflections(self.vectors)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """`y` and zeros, the logdet."""
        batch, channels, _, _ = x_BCHW.shape
        return mix_channels(x_BCHW, self.weight(), x_BCHW.new_zeros(channels)), x_BCHW.new_zeros(batch)

    def inverse(self, y_BCHW: Tensor) -> Tensor:
        """`x = W^T y`."""
        return mix_channels(y_BCHW, self.weight().mT, y_BCHW.new_zeros(y_BCHW.shape[1]))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        if f"{prefix}packed" in state_dict:
            raise ValueError(
                "this flow is of an earlier version, whose 1x1 convolutions were not orthogonal, and cannot be read "
                "any more; train it again, or use that version"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


def reflections(vectors: Tensor) -> Tensor:
    """The product of the Householder reflections `1 - 2 v v^T / |v|^2` of the columns v of V, shape (..., C, C).

    All at once it is `1 - V S^-1 V^T`, where S is the upper triangle of V^T V with its diagonal halved (the compact WY
    form; Joffrain et al. 2006): one triangular solve, stable for any vectors but 0. In full precision always.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        products = vectors.mT @ vectors
        upper = products.triu() - products.diagonal(dim1=-2, dim2=-1).diag_embed() / 2
        eye = torch.eye(vectors.shape[-1], dtype=vectors.dtype, device=vectors.device)
        return eye - vectors @ torch.linalg.solve_triangular(upper, vectors.mT, upper=True)


class Squeeze(nn.Module):
    """Turns each 2 x 2 block of pixels into channels: (B, C, H, W) to (B, 4 C, H/2, W/2); H and W even. logdet = 0."""

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """`y` and zeros; `ValueError` for an odd height or width."""
        if x_BCHW.shape[-2] % 2 or x_BCHW.shape[-1] % 2:
            raise ValueError(f"squeeze takes an even height and width, not {tuple(x_BCHW.shape[-2:])}")
        return F.pixel_unshuffle(x_BCHW, 2), x_BCHW.new_zeros(x_BCHW.shape[0])

    def inverse(self, y_BCHW: Tensor) -> Tensor:
        """The pixels back in their place."""
        return F.pixel_shuffle(y_BCHW, 2)


class Split(nn.Module):
    """Sends half of the channels on and the other half out as a latent: `x = (y, z)`. logdet = 0.

    The latent is standard normal, without a learned prior, so that z = 0 is its mode.
    """

    def forward(self, x_BCHW: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """`(y, z)`, each of half the channels, and zeros; `ValueError` for an odd number of channels."""
        if x_BCHW.shape[1] % 2:
            raise ValueError(f"split takes an even number of channels, not {x_BCHW.shape[1]}")
        y, z = x_BCHW.chunk(2, dim=1)
        return (y, z), x_BCHW.new_zeros(x_BCHW.shape[0])

    def inverse(self, parts: tuple[Tensor, Tensor]) -> Tensor:
        """`x` of `(y, z)`."""
        return torch.cat(parts, dim=1)
