"""Proximal maps: image to image, the learned part of a fold (paper sections IV-B and VI-B).

Shapes: x_BCHW is a batch of images, lambda is a scalar tensor.
"""

import math
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from flowsearch.flows import Glow
from flowsearch.flows.likelihood import LEVELS

COMPUTED_AGAIN = ("invertible", "checkpoint")
"""Of a flow's memories those by which a step along its score is computed again; the others keep all of it."""


class ProximalMap(nn.Module, ABC):
    """Pushes an image towards the prior. `shrinks` says whether it uses the fold's lambda."""

    shrinks = False

    raw_lambda: float = -2.0
    """lambda starts at softplus(-2) = 0.127. A proximal map by a flow's latents differs from the identity by about
    lambda times the flow's stretching: with a tenth of it the flow has to stretch ten times as much, and its gradients
    explode at rates at which this one trains; with three times of it images are dimmed, which later folds have to learn
    to undo (docs/paper.md)."""

    @abstractmethod
    def forward(self, x_BCHW: Tensor, shrinkage: Tensor | None = None) -> Tensor:
        """The mapped images, of the same shape; `shrinkage` is lambda of the fold, where `shrinks` is true."""

    def ready(self, *, keep: bool) -> "Self | ReadyGlowProx":
        """The map with its weights made ready for several calls before they change, at least what the folds share.

        `keep` says whether what is made may stay in memory until the backward pass.
        """
        return self


class FlowProx(ProximalMap):
    """A proximal map by a Glow's density."""

    shrinks = True

    def __init__(self, flow: Glow) -> None:
        super().__init__()
        self.flow = flow

    def mode(self, count: int) -> Tensor:
        """g(0), the image of highest density in the latent space, `count` times (paper section IV-C)."""
        return self.flow.mode(count)


class GlowProx(FlowProx):
    """x = g(f(x~) / (1 + lambda)): shrinkage in the latent space of a Glow (paper eqs. (9) to (11))."""

    def forward(self, x_BCHW: Tensor, shrinkage: Tensor | None = None) -> Tensor:
        shrinkage = _given(shrinkage)
        if self.flow.is_rebuilt:
            return self.ready(keep=True)(x_BCHW, shrinkage)
        latents, _ = self.flow(x_BCHW)
        return self.flow.inverse([z / (1 + shrinkage) for z in latents])

    def ready(self, *, keep: bool) -> "Self | ReadyGlowProx":
        return ReadyGlowProx(self.flow, keep) if self.flow.is_rebuilt else self


class ScoreProx(FlowProx):
    """x = x~ + lambda grad log p(x~): a step along the score of a Glow's density p (eq. (6)).

    The proximal map of -lambda log p solves x = x~ + lambda grad log p(x); this is its explicit step, with the gradient
    where the fold is. Where p is the density of images with Gaussian noise of standard deviation sigma, and lambda is
    sigma^2, it gives the mean of the images that x~ may be a noisy one of (Tweedie's formula: Robbins 1956, Miyasawa
    1961), so that a prior with `prior.noise` is a denoiser as it is. lambda starts at the variance of that `noise` (of
    dequantization's at least): a density that has seen less than lambda has steeper scores, and its steps overshoot.

    A loss is differentiated through this gradient, which the flow's constant-memory pass does not offer: the flow is
    set to plain autograd. Where its memory was one of `COMPUTED_AGAIN`, each call is computed again in the backward
    pass, so that memory is flat in the number of folds, for a third more time (`backward` then differentiates,
    `torch.autograd.grad` does not).
    """

    def __init__(self, flow: Glow, noise: float = 0.1) -> None:
        super().__init__(flow)
        variance = max(noise**2, 1 / LEVELS**2 / 12)  # that of a uniform number of a bin's width
        self.raw_lambda = math.log(math.expm1(variance))  # the inverse of softplus
        self.computed_again = flow.memory in COMPUTED_AGAIN
        flow.memory = "autograd"

    def forward(self, x_BCHW: Tensor, shrinkage: Tensor | None = None) -> Tensor:
        shrinkage = _given(shrinkage)
        if self.flow.training and self.flow.needs_start:
            self.flow.start(x_BCHW)
        if self.computed_again and torch.is_grad_enabled() and (x_BCHW.requires_grad or shrinkage.requires_grad):
            moved: Tensor = checkpoint(self._moved, x_BCHW, shrinkage, use_reentrant=True, preserve_rng_state=False)
            return moved
        return self._moved(x_BCHW, shrinkage)

    def _moved(self, x_BCHW: Tensor, shrinkage: Tensor) -> Tensor:
        differentiated = torch.is_grad_enabled()
        # Under torch.inference_mode nothing is differentiated, so the score leaves it, with a copy of the images.
        with torch.inference_mode(False), torch.enable_grad():
            x_BCHW = x_BCHW.clone() if x_BCHW.is_inference() else x_BCHW
            at_BCHW = x_BCHW if x_BCHW.requires_grad else x_BCHW.detach().requires_grad_()
            log_prob = self.flow.log_prob(at_BCHW).sum()
            (score_BCHW,) = torch.autograd.grad(log_prob, at_BCHW, create_graph=differentiated)
        return torch.addcmul(x_BCHW, shrinkage, score_BCHW)


class ReadyGlowProx:
    """`GlowProx` by the constant-memory pass, with the flow's weights made ready once."""

    def __init__(self, flow: Glow, keep: bool) -> None:
        self.flow, self.keep = flow, keep
        self.prepared = flow.ready(keep=keep)

    def __call__(self, x_BCHW: Tensor, shrinkage: Tensor | None = None) -> Tensor:
        """`g(f(x) / (1 + shrinkage))`."""
        shrinkage = _given(shrinkage)
        if self.flow.training and self.flow.needs_start:
            self.flow.start(x_BCHW)
            self.prepared = self.flow.ready(keep=self.keep)
        return self.prepared.prox(x_BCHW, shrinkage)

    def mode(self, count: int) -> Tensor:
        """`g(0)`, `count` times."""
        return self.prepared.mode(count)


class ResNetProx(ProximalMap):
    """x = x~ + R(x~): residual blocks of two 3x3 convolutions, then three 1x1 convolutions (paper section VI-B).

    Each 3x3 convolution is followed by batch normalization and ReLU, after Mardani et al. (2018). The last convolution
    starts at zero, so that the map starts as the identity. The paper counts 0.16M parameters and names 128 feature
    maps; two full blocks of 128 have 0.63M, and 64 feature maps have 0.16M: it leaves open which was meant.
    """

    def __init__(self, channels: int = 3, features: int = 128, blocks: int = 2) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels, features, 3, padding=1)
        self.blocks = nn.ModuleList(_ResidualBlock(features) for _ in range(blocks))
        self.tail = nn.Sequential(
            nn.Conv2d(features, features, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(features, features, 1),
            nn.ReLU(inplace=True),
            _zero(nn.Conv2d(features, channels, 1)),
        )

    def forward(self, x_BCHW: Tensor, shrinkage: Tensor | None = None) -> Tensor:
        h = self.head(x_BCHW)
        for block in self.blocks:
            h = block(h)
        return x_BCHW + self.tail(h)


class UNetProx(ProximalMap):
    """x = x~ + U(x~) with the standard U-Net of four halvings (Ronneberger et al. 2015; paper section VI-B).

    Up-sampling is by transposed convolution. With 64 channels at the first level it has 31.04M parameters. The last
    convolution starts at zero, so that the map starts as the identity.
    """

    def __init__(self, channels: int = 3, base_channels: int = 64) -> None:
        super().__init__()
        widths = [base_channels * 2**level for level in range(5)]
        self.inlet = _double_conv(channels, widths[0])
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2), _double_conv(above, below)) for above, below in pairwise(widths)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(below, above, 2, stride=2) for above, below in pairwise(widths))
        self.merge = nn.ModuleList(_double_conv(2 * width, width) for width in widths[:-1])
        self.outlet = _zero(nn.Conv2d(widths[0], channels, 1))

    def forward(self, x_BCHW: Tensor, shrinkage: Tensor | None = None) -> Tensor:
        skips = [self.inlet(x_BCHW)]
        for down in self.down:
            skips.append(down(skips[-1]))
        h = skips.pop()
        for up, merge, skip in zip(reversed(self.up), reversed(self.merge), reversed(skips), strict=True):
            h = merge(torch.cat([skip, up(h)], dim=1))
        return x_BCHW + self.outlet(h)


class _ResidualBlock(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*(part for _ in range(2) for part in _conv_norm_relu(features, features)))

    def forward(self, h: Tensor) -> Tensor:
        return h + self.body(h)


def _given(shrinkage: Tensor | None) -> Tensor:
    if shrinkage is None:
        raise ValueError(
            "a proximal map by a flow shrinks: call it with lambda of its fold, as prox(x, torch.tensor(0.1))"
        )
    return shrinkage


def _double_conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_conv_norm_relu(inputs, outputs), *_conv_norm_relu(outputs, outputs))


def _conv_norm_relu(inputs: int, outputs: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
