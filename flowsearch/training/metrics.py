"""Image quality: PSNR and SSIM of images in [-0.5, 0.5], clipped to that range, data range 1, one number per image."""

from itertools import product

import torch
from torch import Tensor

_MARGIN = 5
"""Half of SSIM's 11 x 11 window: nearer to the border it is not whole."""

_SQUARE = 74
"""Width of the squares that SSIM is computed in, margins and all: on a CPU its convolution copies 121 values for each
pixel, which takes 58 GB for a photograph of 12 million pixels at once, and beyond some megabytes several times as long.
"""


def clip(x_BCHW: Tensor) -> Tensor:
    """Images clipped to [-0.5, 0.5]."""
    return x_BCHW.clamp(-0.5, 0.5)


def psnr(estimate_BCHW: Tensor, truth_BCHW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio 10 log10(1 / MSE) in dB of each clipped image, shape (B,)."""
    error = (clip(estimate_BCHW).double() - truth_BCHW.double()).square().flatten(1).mean(dim=1)
    return -10 * error.clamp_min(1e-12).log10()


def residual(predicted: Tensor, y: Tensor) -> Tensor:
    """|A x - y| / |y| of each measurement, shape (B,), from A x of the image as it is, not clipped.

    Of noisy measurements the true image's own residual is not 0 but |noise| / |y|: less than that fits the noise.
    """
    return (predicted - y).abs().flatten(1).norm(dim=1) / y.abs().flatten(1).norm(dim=1).clamp_min(1e-12)


def ssim(estimate_BCHW: Tensor, truth_BCHW: Tensor) -> Tensor:
    """Structural similarity of each clipped image, shape (B,), as Wang et al. (2004) define it.

    Gaussian window of standard deviation 1.5 and 11 pixels, on values in [0, 1], averaged over the pixels where the
    window is whole, and over channels. Images are at least 11 pixels wide.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure  # takes a second or two to load

    height, width = (side - 2 * _MARGIN for side in truth_BCHW.shape[-2:])
    step = _SQUARE - 2 * _MARGIN
    sums_B = torch.zeros(len(truth_BCHW), dtype=torch.float64, device=truth_BCHW.device)
    for top, left in product(range(0, height, step), range(0, width, step)):
        square = (..., slice(top, top + _SQUARE), slice(left, left + _SQUARE))
        pairs = zip(clip(estimate_BCHW[square]).split(1), truth_BCHW[square].split(1), strict=True)
        for index, (x_1CHW, y_1CHW) in enumerate(pairs):
            _, map_1CHW = structural_similarity_index_measure(
                x_1CHW.double() + 0.5, y_1CHW.double() + 0.5, data_range=1.0, reduction="none", return_full_image=True
            )
            sums_B[index] += map_1CHW[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN].sum()
    return sums_B / (truth_BCHW.shape[1] * height * width)
