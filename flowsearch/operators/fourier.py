"""Undersampled Fourier measurements, as in magnetic resonance imaging, and two patterns of sampling.

Shapes: k_HW is the plane of spatial frequencies, its zero in the middle; y_BCM are the frequencies measured.
"""

import math

import torch
from torch import Tensor

from flowsearch.operators.linear import LinearOperator

_GOLDEN = math.pi * (math.sqrt(5) - 1) / 2
"""The golden angle: however many spokes there are, they lie about evenly."""


class UndersampledFourier(LinearOperator):
    """A x = S F x: those complex coefficients of the orthonormal Fourier transform F that the pattern S keeps.

    Images are real, so A^T y = Re F^* S^T y and Re<A x, y> = <x, A^T y>. Each channel is measured alike.
    """

    kept_M: Tensor

    def __init__(self, kept_HW: Tensor) -> None:
        """`kept_HW` says which frequencies are measured, the frequency zero, in the middle, among them."""
        super().__init__()
        self.size = tuple(kept_HW.shape)
        assert kept_HW[self.size[0] // 2, self.size[1] // 2]
        kept_M = torch.fft.ifftshift(kept_HW).flatten().nonzero().squeeze(1)
        self.register_buffer("kept_M", kept_M, persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return torch.fft.fft2(x_BCHW, norm="ortho").flatten(-2)[..., self.kept_M]

    def adjoint(self, y_BCM: Tensor) -> Tensor:
        whole = y_BCM.new_zeros(*y_BCM.shape[:-1], math.prod(self.size)).index_copy(-1, self.kept_M, y_BCM)
        return torch.fft.ifft2(whole.unflatten(-1, self.size), norm="ortho").real

    @property
    def norm(self) -> float:
        """1, which a constant image reaches: the frequency zero is always measured."""
        return 1.0


def cartesian_pattern(size: int, acceleration: float, centre: float, seed: int) -> Tensor:
    """Whole rows: `size / acceleration` of them, of which the share `centre` of all rows lies around the frequency
    zero (at least that one) and the others are drawn at random."""
    rows = max(1, round(size / acceleration))
    inner = min(rows, max(1, round(centre * size)))
    first = size // 2 - inner // 2
    outer = torch.tensor([row for row in range(size) if not first <= row < first + inner], dtype=torch.long)
    drawn = outer[torch.randperm(len(outer), generator=torch.Generator().manual_seed(seed))[: rows - inner]]
    kept_HW = torch.zeros(size, size, dtype=torch.bool)
    kept_HW[first : first + inner] = True
    kept_HW[drawn] = True
    return kept_HW


def radial_pattern(size: int, acceleration: float) -> Tensor:
    """Spokes through the frequency zero, turned by the golden angle each, on the nearest points of the grid.

    As many as it takes to measure at least one frequency in `acceleration`.
    """
    kept_HW = torch.zeros(size, size, dtype=torch.bool)
    along = torch.arange(-size, size + 1, dtype=torch.float64) / 2 * math.sqrt(2)
    spoke = 0
    while int(kept_HW.sum()) * acceleration < size**2:
        angle = spoke * _GOLDEN
        rows = (size // 2 - along * math.sin(angle)).round().long()
        columns = (size // 2 + along * math.cos(angle)).round().long()
        inside = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
        kept_HW[rows[inside], columns[inside]] = True
        spoke += 1
    return kept_HW
