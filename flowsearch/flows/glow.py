"""Glow: a multi-scale normalizing flow of images (paper section V; Kingma and Dhariwal, 2018)."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from flowsearch.checks import MEMORIES, check_choice, check_float, check_int, check_levels
from flowsearch.flows.invertible import ReadyFlow, left_alone
from flowsearch.flows.layers import Split
from flowsearch.flows.likelihood import bits_per_dim, dequantize, normal_log_prob
from flowsearch.flows.steps import Level


class Glow(nn.Module):
    """`z = f(x)` and `x = g(z)` between images (B, channels, size, size) and `levels` latents (eqs. (4), (5)).

    Each level squeezes, takes its steps of flow and splits off half of its channels as a latent; the last level does
    not split. Every latent is standard normal, so z = 0 is the mode. The defaults are the paper's. Other than there,
    the 1x1 convolutions are orthogonal and the couplings bounded, in a deep level more tightly (`InvertibleConv1x1`,
    `bounds_in`): otherwise an unrolled flow's gradients explode, the sooner the deeper it is.

    In training mode the first `forward` sets the actnorms from its batch (`start`); a `mode` or `inverse` before
    that is of the flow as it was, so a computation that begins with one calls `start` first.

    `memory` says what the backward pass keeps; the gradients are the same. `invertible`: the latents of f, the image of
    g; `networks`: those and what the coupling networks computed (the fastest); `checkpoint`: what enters each level,
    which is then computed again; `autograd`: all.

    Args:
        channels: image channels.
        size: height and width, divisible by 2^levels.
        levels: levels of the multi-scale architecture.
        depth: steps of flow in each level but the last.
        hidden: hidden channels of the coupling networks.
        last_depth: steps of flow in the last level.
        memory: one of `checks.MEMORIES`.
        generator: source of the initial weights; the global one by default.

    Raises:
        ValueError: for a number out of its range, or a size that 2^levels does not divide.
    """

    def __init__(
        self,
        channels: int = 3,
        size: int = 64,
        levels: int = 4,
        depth: int = 18,
        hidden: int = 512,
        last_depth: int = 1,
        memory: str = "invertible",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        numbers = {"channels": channels, "size": size, "levels": levels, "depth": depth, "hidden": hidden}
        for name, value in {**numbers, "last_depth": last_depth}.items():
            check_int(name, value, 1)
        check_levels(levels, size)
        check_choice("memory", memory, MEMORIES)
        self.channels, self.size, self.memory = channels, size, memory
        depths = [depth] * (levels - 1) + [last_depth]
        modules = [Level(channels * 2**index, steps, hidden, generator) for index, steps in enumerate(depths)]
        self.levels = cast("Sequence[Level]", nn.ModuleList(modules))
        self.split = Split()

    @property
    def dimensions(self) -> int:
        """D, the number of values of an image and of its latents together."""
        return self.channels * self.size**2

    @property
    def is_rebuilt(self) -> bool:
        """Whether the backward pass rebuilds activations by the flow's inverse, as `ReadyFlow` does."""
        return self.memory in ("invertible", "networks")

    @property
    def latent_shapes(self) -> list[tuple[int, int, int]]:
        """(C, H, W) of each latent, finest first."""
        last = len(self.levels)
        shapes = [(self.channels * 2**level, self.size >> level, self.size >> level) for level in range(1, last)]
        return [*shapes, (self.channels * 2 ** (last + 1), self.size >> last, self.size >> last)]

    def forward(self, x_BCHW: Tensor) -> tuple[list[Tensor], Tensor]:
        """The latents `z = f(x)`, finest first, and `log |det Df(x)|` in nats, shape (B,)."""
        if x_BCHW.dim() != 4 or x_BCHW.shape[1:] != (self.channels, self.size, self.size):
            expected = f"(B, {self.channels}, {self.size}, {self.size})"
            raise ValueError(f"this flow takes images of shape {expected}, not {tuple(x_BCHW.shape)}")
        if self.training and self.needs_start:
            self.start(x_BCHW)
        if self.is_rebuilt:
            return self.ready()(x_BCHW)
        latents, logdets_B = [], []
        y_BCHW = x_BCHW
        for index, level in enumerate(self.levels, start=1):
            y_BCHW, logdet_B = self._stored(level, y_BCHW)
            logdets_B.append(logdet_B)
            if index < len(self.levels):
                (y_BCHW, latent), _ = self.split(y_BCHW)
                latents.append(latent)
        return [*latents, y_BCHW], torch.stack(logdets_B).sum(dim=0)

    def inverse(self, latents: Sequence[Tensor]) -> Tensor:
        """The images `x = g(z)` of latents of `latent_shapes`, (B, channels, size, size)."""
        shapes = [tuple(latent.shape[1:]) for latent in latents]
        if shapes != self.latent_shapes:
            raise ValueError(
                f"this flow takes latents of shapes (B, C, H, W) with C, H, W = {self.latent_shapes}, not {shapes}"
            )
        if self.is_rebuilt:
            return self.ready().inverse(latents)
        x_BCHW = self._stored(self.levels[-1].inverse, latents[-1])
        for level, latent in zip(reversed(self.levels[:-1]), reversed(latents[:-1]), strict=True):
            x_BCHW = self._stored(level.inverse, self.split.inverse((x_BCHW, latent)))
        return x_BCHW

    @left_alone
    def ready(self, *, keep: bool = True) -> ReadyFlow:
        """The flow with its weights made ready once, for any number of uses before they change; see `ReadyFlow`."""
        return ReadyFlow(self.levels, self.latent_shapes, keep=keep, networks=self.memory == "networks")

    def log_prob(self, x_BCHW: Tensor) -> Tensor:
        """`log p(x) = log N(f(x); 0, I) + log |det Df(x)|` in nats, shape (B,) (eq. (6))."""
        latents, logdet_B = self(x_BCHW)
        return normal_log_prob(latents) + logdet_B

    def bits_per_dim(self, x_BCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Bits per dimension of 8-bit images k / 255 - 1/2, shape (B,): `dequantize`, `log_prob`, the log 256 term."""
        return bits_per_dim(self.log_prob(dequantize(x_BCHW, generator)), self.dimensions)

    def mode(self, batch: int = 1) -> Tensor:
        """`g(0)`, the most likely latent's image, (batch, channels, size, size): computed once, seen `batch` times."""
        check_int("batch", batch, 1)
        reference = next(self.parameters())
        x_1CHW = self.inverse([reference.new_zeros(1, *shape) for shape in self.latent_shapes])
        return x_1CHW.expand(batch, -1, -1, -1)

    def sample(self, batch: int, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """`g(temperature z)` with z drawn from N(0, I), (batch, channels, size, size); temperature 0 gives the mode."""
        check_int("batch", batch, 1)
        check_float("temperature", temperature, 0)
        reference = next(self.parameters())
        device = reference.device if generator is None else generator.device
        latents = [
            temperature * torch.randn(batch, *shape, dtype=reference.dtype, device=device, generator=generator)
            for shape in self.latent_shapes
        ]
        return self.inverse([latent.to(reference.device) for latent in latents])

    @property
    def needs_start(self) -> bool:
        """Whether an actnorm still waits for its data-dependent start."""
        return any(level.needs_start for level in self.levels)

    @torch.no_grad()
    def start(self, x_BCHW: Tensor) -> None:
        """Give every actnorm that waits for it its data-dependent start, from the images `x_BCHW`."""
        for level in self.levels:
            (x_BCHW, _), _ = self.split(level.start(x_BCHW))

    def _stored(self, function: Callable[[Tensor], Any], x_BCHW: Tensor) -> Any:
        """`function(x_BCHW)`, storing for the backward pass what `memory` says."""
        return checkpoint(function, x_BCHW, use_reentrant=False) if self.memory == "checkpoint" else function(x_BCHW)
