"""Linear measurement operators: y = A x (paper eq. (1)), each with its exact adjoint.

Shapes: x_BCHW is a batch of images; a measurement keeps that shape in every operator here.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class LinearOperator(nn.Module, ABC):
    """A linear map A on images: `forward` is A, `adjoint` is A^T, so that <A x, y> = <x, A^T y>."""

    @abstractmethod
    def forward(self, x_BCHW: Tensor) -> Tensor:
        """A x."""

    @abstractmethod
    def adjoint(self, y_BCHW: Tensor) -> Tensor:
        """A^T y."""

    @property
    def norm(self) -> float:
        """The largest singular value of A; a gradient step of at most 1 / norm^2 cannot overshoot."""
        return 1.0


class Identity(LinearOperator):
    """A x = x: denoising (paper section VI-C)."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW

    def adjoint(self, y_BCHW: Tensor) -> Tensor:
        return y_BCHW


class Mask(LinearOperator):
    """A x = m * x with a mask m of zeros and ones: inpainting (paper section VI-D). A is its own adjoint."""

    mask_HW: Tensor

    def __init__(self, mask_HW: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask_HW", mask_HW, persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW * self.mask_HW.to(x_BCHW.dtype)

    def adjoint(self, y_BCHW: Tensor) -> Tensor:
        return self(y_BCHW)


class CircularBlur(LinearOperator):
    """A x = k * x, the convolution with a kernel under periodic boundaries: deblurring (paper section VI-E).

    Computed by FFT, A = F^-1 diag(F k) F, so that A^T multiplies by the conjugate. The paper leaves the boundary open.
    """

    spectrum_HW: Tensor

    def __init__(self, kernel_HW: Tensor) -> None:
        """`kernel_HW` has the image's size, its centre at [0, 0]; float64 keeps the transfer function exact."""
        super().__init__()
        self.size = tuple(kernel_HW.shape)
        self.register_buffer("spectrum_HW", torch.fft.rfft2(kernel_HW.double()), persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self._filter(x_BCHW, self.spectrum_HW)

    def adjoint(self, y_BCHW: Tensor) -> Tensor:
        return self._filter(y_BCHW, self.spectrum_HW.conj())

    @property
    def norm(self) -> float:
        return float(self.spectrum_HW.abs().max())

    def _filter(self, x_BCHW: Tensor, spectrum_HW: Tensor) -> Tensor:
        if tuple(x_BCHW.shape[-2:]) != self.size:
            raise ValueError(f"this blur is for images of {self.size}, not {tuple(x_BCHW.shape[-2:])}")
        spectrum = spectrum_HW.to(torch.complex128 if x_BCHW.dtype == torch.float64 else torch.complex64)
        return torch.fft.irfft2(torch.fft.rfft2(x_BCHW) * spectrum, s=self.size)


def centre_mask(size: int, width: int) -> Tensor:
    """Ones with a `width` x `width` square of zeros in the middle, as a `size` x `size` tensor."""
    mask_HW = torch.ones(size, size)
    low = (size - width) // 2
    mask_HW[low : low + width, low : low + width] = 0
    return mask_HW


def gaussian_kernel(size: int, sigma: float) -> Tensor:
    """A `size` x `size` periodic Gaussian of standard deviation `sigma` pixels, centred at [0, 0], with sum 1.

    The Gaussian is wrapped around the period until its tails vanish.
    """
    offsets = torch.arange(size, dtype=torch.float64)
    wraps = torch.arange(-4, 5, dtype=torch.float64) * size
    profile = torch.exp(-0.5 * ((offsets[:, None] + wraps) / sigma) ** 2).sum(dim=1)
    profile = profile / profile.sum()
    return profile[:, None] * profile[None, :]
