"""Likelihoods of images: standard normal base, dequantization, bits per dimension. Shapes as in `layers`."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

LEVELS = 256
"""Values of an 8-bit image."""


def normal_log_prob(latents: Sequence[Tensor]) -> Tensor:
    """`log N(z; 0, I) = -(|z|^2 + D log(2 pi)) / 2` over all latents together, in nats, shape (B,)."""
    squares_B = torch.stack([latent.flatten(1).square().sum(dim=1) for latent in latents]).sum(dim=0)
    dimensions = sum(latent[0].numel() for latent in latents)
    return -0.5 * (squares_B + dimensions * math.log(2 * math.pi))


def dequantize(x_BCHW: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Spread 8-bit values uniformly over their bins, `x' = (255 (x + 1/2) + u) / 256 - 1/2` with u uniform on [0, 1).

    `x_BCHW` holds k / 255 - 1/2 for k = 0 to 255. A bin is 1/256 wide, so the probability of an 8-bit image is at least
    exp(E[log p(x')]) / 256^D: the log 256 of `bits_per_dim`.
    """
    device = x_BCHW.device if generator is None else generator.device
    noise = torch.rand(x_BCHW.shape, dtype=x_BCHW.dtype, device=device, generator=generator).to(x_BCHW.device)
    return ((LEVELS - 1) * (x_BCHW + 0.5) + noise) / LEVELS - 0.5


def bits_per_dim(log_prob_B: Tensor, dimensions: int) -> Tensor:
    """`(log 256 - log p(x) / D) / log 2`, shape (B,), of densities of dequantized images in nats; D = `dimensions`."""
    return (math.log(LEVELS) - log_prob_B / dimensions) / math.log(2)
