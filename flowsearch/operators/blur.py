"""Blurs: a convolution under one of three boundaries, and the kernels of a Gaussian and of a straight motion.

Shapes: kernels are _RR (odd, centre in the middle) or, laid around the period of a canvas, _HW (centre at [0, 0]).
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad

from flowsearch.operators.linear import LinearOperator

Kernel = Callable[[int, int], Tensor]
"""Lays a kernel around the period of a canvas, of a height and a width, its centre at [0, 0]."""


class Blur(LinearOperator):
    """A x = k * x, the convolution with a kernel: deblurring (paper section VI-E, which leaves the boundary open).

    `circular` continues the image periodically, `zero` with zeros, `reflect` mirrors it at its outermost pixels (which
    are not repeated). Computed by FFT on the image with a margin as wide as the kernel's arm, A = C F^-1 diag(F k) F P
    with the padding P and the crop C, so that A^T = P^T F^-1 diag(conj F k) F C^T.
    """

    shift_period = 1
    transfer_HWP: Tensor

    def __init__(self, kernel: Kernel, height: int, width: int, margin: int = 0, padding: str = "circular") -> None:
        super().__init__()
        self.kernel, self.margin, self.padding = kernel, margin, padding
        self.size, self.canvas = (height, width), (height + 2 * margin, width + 2 * margin)
        self.image_shape = (1, height, width)
        # Kept as pairs of real numbers, which survive a module's change of precision.
        transfer_HW = torch.fft.rfft2(kernel(*self.canvas).double())
        self.register_buffer("transfer_HWP", torch.view_as_real(transfer_HW).contiguous(), persistent=False)
        self._peak = float(transfer_HW.abs().max())

    def forward(self, x_BCHW: Tensor) -> Tensor:
        self._check(x_BCHW)
        return self._crop(self._filter(self._pad(x_BCHW)))

    def adjoint(self, y_BCHW: Tensor) -> Tensor:
        self._check(y_BCHW)
        return self._fold(self._filter(_framed(y_BCHW, self.margin), transposed=True))

    def resized(self, height: int, width: int) -> "Blur":
        other = Blur(self.kernel, height, width, self.margin, self.padding)
        other.__dict__["_norm"] = self.norm
        return other

    @property
    def norm(self) -> float:
        if self.padding == "circular":
            return self._peak
        return super().norm if self.padding == "reflect" else min(self._peak, super().norm)

    def _filter(self, x_BCHW: Tensor, transposed: bool = False) -> Tensor:
        transfer_HW = torch.view_as_complex(self.transfer_HWP.to(x_BCHW.dtype))
        transfer_HW = transfer_HW.conj() if transposed else transfer_HW
        return torch.fft.irfft2(torch.fft.rfft2(x_BCHW) * transfer_HW, s=self.canvas)

    def _crop(self, x_BCHW: Tensor) -> Tensor:
        rows, columns = (slice(self.margin, self.margin + length) for length in self.size)
        return x_BCHW[..., rows, columns]

    def _pad(self, x_BCHW: Tensor) -> Tensor:
        return _framed(x_BCHW, self.margin, "reflect" if self.padding == "reflect" else "constant")

    def _fold(self, x_BCHW: Tensor) -> Tensor:
        """The adjoint of `_pad`: what lies in the margin goes back to the pixels that it was made of."""
        if self.padding == "reflect" and self.margin:
            return _fold_rows(_fold_rows(x_BCHW, self.margin).mT, self.margin).mT
        return self._crop(x_BCHW)

    def _check(self, x_BCHW: Tensor) -> None:
        if tuple(x_BCHW.shape[-2:]) != self.size:
            raise ValueError(f"this blur is for images of {self.size}, not {tuple(x_BCHW.shape[-2:])}")


def _framed(x_BCHW: Tensor, margin: int, mode: str = "constant") -> Tensor:
    """The images with a margin all around; themselves where there is none, so that autograd keeps no copy."""
    return pad(x_BCHW, [margin] * 4, mode=mode) if margin else x_BCHW


def _fold_rows(x_BCHW: Tensor, margin: int) -> Tensor:
    low, inside, high = x_BCHW.split([margin, x_BCHW.shape[-2] - 2 * margin, margin], dim=-2)
    rest = inside.shape[-2] - margin - 1
    return inside + pad(low.flip(-2), [0, 0, 1, rest]) + pad(high.flip(-2), [0, 0, rest, 1])


def gaussian_blur(size: int, sigma: float, padding: str) -> Blur:
    """The blur by a Gaussian of standard deviation `sigma` pixels; under `zero` and `reflect` it is cut at 4 sigma."""
    if padding == "circular":
        return Blur(partial(gaussian_kernel, sigma=sigma), size, size)
    arm = min(int(4 * sigma + 0.5), size - 1)
    offsets = torch.arange(-arm, arm + 1, dtype=torch.float64)
    profile_R = torch.exp(-0.5 * (offsets / sigma) ** 2)
    profile_R = profile_R / profile_R.sum()
    return blur(profile_R[:, None] * profile_R[None, :], size, padding)


def blur(kernel_RR: Tensor, size: int, padding: str) -> Blur:
    """The convolution with a kernel of odd width on images of `size` x `size`."""
    margin = 0 if padding == "circular" else len(kernel_RR) // 2
    return Blur(partial(periodic, kernel_RR), size, size, margin, padding)


def periodic(kernel_RR: Tensor, height: int, width: int) -> Tensor:
    """The kernel laid around a period of `height` x `width` pixels, its centre at [0, 0]; what overlaps is added."""
    places_R = torch.arange(len(kernel_RR)) - len(kernel_RR) // 2
    out_HW = torch.zeros(height, width, dtype=torch.float64)
    places = (places_R[:, None] % height, places_R[None, :] % width)
    return out_HW.index_put_(places, kernel_RR.double(), accumulate=True)


def gaussian_kernel(height: int, width: int, sigma: float, shift: float = 0.0) -> Tensor:
    """A periodic Gaussian of standard deviation `sigma` pixels, (height, width), centred at [shift, shift], of sum 1.

    The Gaussian is wrapped around the period until its tails vanish. One that is much narrower than a pixel becomes
    the pixel nearest to its centre, or those that are equally near.
    """
    return _profile(height, sigma, shift)[:, None] * _profile(width, sigma, shift)[None, :]


def _profile(length: int, sigma: float, shift: float) -> Tensor:
    offsets = torch.arange(length, dtype=torch.float64) - shift
    wraps = torch.arange(-4, 5, dtype=torch.float64) * length
    squares = (offsets[:, None] + wraps).square()
    # Of the nearest pixel exp is 1, however narrow the Gaussian; sigma^2 itself could be 0 in floating point.
    profile = torch.exp(-0.5 * (squares - squares.min()) / sigma / sigma).sum(dim=1)
    return profile / profile.sum()


def motion_kernel(length: int, angle: float) -> Tensor:
    """A straight motion over `length` pixels, `angle` degrees counter-clockwise from the rows; its sum is 1.

    `length` points in steps of a pixel, each shared among the four pixels around it (bilinearly).
    """
    steps = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    turn = math.radians(angle)
    # Rounded, so that a whole pixel is one in spite of cos(90 degrees) = 6e-17.
    rows, columns = (-steps * math.sin(turn)).round(decimals=9), (steps * math.cos(turn)).round(decimals=9)
    arm = length // 2
    kernel_RR = torch.zeros(2 * arm + 1, 2 * arm + 1, dtype=torch.float64)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        top, left = math.floor(row), math.floor(column)
        for below in (0, 1):
            for right in (0, 1):
                share = (1 - abs(row - top - below)) * (1 - abs(column - left - right)) / length
                if share > 0:
                    kernel_RR[arm + top + below, arm + left + right] += share
    return kernel_RR
