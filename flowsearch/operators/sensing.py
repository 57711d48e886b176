"""Compressed sensing: m random measurements of each channel of n = H W pixels.

Shapes: x_BCN is an image with its pixels in a row, y_BCM what is measured of it.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from flowsearch.operators.linear import LinearOperator


class GaussianSensing(LinearOperator):
    """A x = G x with independent normal entries of variance 1 / n, so that a measurement is about as large as a pixel.

    There is no way around the dense matrix here: it takes 4 m n bytes (16 MiB for a quarter of 64 x 64 pixels, 4 GiB
    for a quarter of 256 x 256). `SubsampledTransform` needs none.
    """

    matrix_MN: Tensor

    def __init__(self, size: int, measured: int, seed: int) -> None:
        super().__init__()
        self.size = size
        self.image_shape = (1, size, size)
        generator = torch.Generator().manual_seed(seed)
        matrix_MN = torch.randn(measured, size * size, generator=generator).div_(size)
        self.register_buffer("matrix_MN", matrix_MN, persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW.flatten(-2) @ self.matrix_MN.T.to(x_BCHW.dtype)

    def adjoint(self, y_BCM: Tensor) -> Tensor:
        return (y_BCM @ self.matrix_MN.to(y_BCM.dtype)).unflatten(-1, (self.size, self.size))


class SubsampledTransform(LinearOperator):
    """A x = S T D x: random signs D, a fast orthonormal transform T, and m of its n numbers, drawn at random.

    The rows of A are orthonormal (A A^T = I), so A^T = D T^T S^T and the norm is 1. T is the cosine transform DCT-II
    (`dct`, any n) or Hadamard's (`hadamard`, n a power of 2), in O(n log n).
    """

    signs_N: Tensor
    rows_M: Tensor

    def __init__(self, size: int, measured: int, transform: str, seed: int) -> None:
        super().__init__()
        self.size = size
        self._ahead, self._back = _TRANSFORMS[transform]
        n = size * size
        generator = torch.Generator().manual_seed(seed)
        signs_N = 1.0 - 2.0 * torch.randint(2, (n,), generator=generator)
        self.register_buffer("signs_N", signs_N, persistent=False)
        rows_M = torch.randperm(n, generator=generator)[:measured].sort().values
        self.register_buffer("rows_M", rows_M, persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self._ahead(x_BCHW.flatten(-2) * self.signs_N.to(x_BCHW.dtype))[..., self.rows_M]

    def adjoint(self, y_BCM: Tensor) -> Tensor:
        whole_BCN = y_BCM.new_zeros(*y_BCM.shape[:-1], self.size**2).index_copy(-1, self.rows_M, y_BCM)
        x_BCN = self._back(whole_BCN) * self.signs_N.to(y_BCM.dtype)
        return x_BCN.unflatten(-1, (self.size, self.size))

    @property
    def norm(self) -> float:
        return 1.0


def dct(x_BCN: Tensor) -> Tensor:
    """The orthonormal DCT-II of the last axis, X_k = s_k sum_j x_j cos(pi (2j + 1) k / 2n), by one FFT of length n.

    Source: Makhoul, A fast cosine transform in one and two dimensions, IEEE Trans. ASSP 28 (1980).
    """
    n = x_BCN.shape[-1]
    folded = torch.cat([x_BCN[..., ::2], x_BCN[..., 1::2].flip(-1)], dim=-1)
    turned = torch.fft.fft(folded) * _turn(n, x_BCN)
    return turned.real * _scale(n, x_BCN)


def inverse_dct(y_BCN: Tensor) -> Tensor:
    """The inverse of `dct`, which is its transpose."""
    n = y_BCN.shape[-1]
    plain = y_BCN / _scale(n, y_BCN)
    other = torch.cat([torch.zeros_like(plain[..., :1]), plain[..., 1:].flip(-1)], dim=-1)
    folded = torch.fft.ifft(torch.complex(plain, -other) * _turn(n, y_BCN).conj()).real
    half = (n + 1) // 2
    out = torch.empty_like(folded)
    out[..., ::2] = folded[..., :half]
    out[..., 1::2] = folded[..., half:].flip(-1)
    return out


def hadamard(x_BCN: Tensor) -> Tensor:
    """The orthonormal Walsh-Hadamard transform of the last axis (a power of 2), its own inverse and transpose."""
    shape, n = x_BCN.shape, x_BCN.shape[-1]
    width = 1
    while width < n:
        a, b = x_BCN.reshape(*shape[:-1], n // (2 * width), 2, width).unbind(-2)
        x_BCN = torch.stack([a + b, a - b], dim=-2).reshape(shape)
        width *= 2
    return x_BCN / math.sqrt(n)


def _turn(n: int, like: Tensor) -> Tensor:
    """exp(-i pi k / 2n), as precise as `like`."""
    angles = -math.pi / (2 * n) * torch.arange(n, dtype=torch.float64, device=like.device)
    return torch.polar(torch.ones_like(angles), angles).to(like.dtype.to_complex())


def _scale(n: int, like: Tensor) -> Tensor:
    scale = torch.full((n,), math.sqrt(2 / n), dtype=like.dtype, device=like.device)
    scale[0] = math.sqrt(1 / n)
    return scale


_TRANSFORMS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "dct": (dct, inverse_dct),
    "hadamard": (hadamard, hadamard),
}
