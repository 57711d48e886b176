"""Super-resolution: an image averaged and decimated."""

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from flowsearch.operators.blur import Blur, gaussian_kernel
from flowsearch.operators.linear import LinearOperator


class BoxDecimation(LinearOperator):
    """A x = the mean of each `scale` x `scale` block; A^T spreads each mean over its block. A A^T = I / scale^2."""

    local = True

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = self.shift_period = scale

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return avg_pool2d(x_BCHW, self.scale)

    def adjoint(self, y_BCHW: Tensor) -> Tensor:
        height, width, scale = *y_BCHW.shape[-2:], self.scale
        blocks = y_BCHW[..., :, None, :, None].expand(*y_BCHW.shape[:-2], height, scale, width, scale)
        return blocks.reshape(*y_BCHW.shape[:-2], height * scale, width * scale) / scale**2

    @property
    def norm(self) -> float:
        return 1.0 / self.scale


class GaussianDecimation(LinearOperator):
    """A x = D G x: a Gaussian blur of standard deviation `sigma` pixels under periodic boundaries, then every
    `scale`-th pixel, A^T = G^T D^T. The Gaussian is centred in each block, so that A^T y lies where x does.

    A A^T is a convolution on the small grid: its eigenvalues are sums of |F k|^2 over the frequencies that fall
    together there, divided by scale^2.
    """

    def __init__(self, height: int, width: int, scale: int, sigma: float) -> None:
        super().__init__()
        self.scale = self.shift_period = scale
        self.sigma = sigma
        kernel = partial(gaussian_kernel, sigma=sigma, shift=-(scale - 1) / 2)
        self.blur = Blur(kernel, height, width)
        power_HW = torch.fft.fft2(kernel(height, width)).abs().square()
        folded = power_HW.reshape(scale, height // scale, scale, width // scale).sum(dim=(0, 2))
        self._largest = float((folded / scale**2).max())

    def resized(self, height: int, width: int) -> "GaussianDecimation":
        return GaussianDecimation(height, width, self.scale, self.sigma)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.blur(x_BCHW)[..., :: self.scale, :: self.scale]

    def adjoint(self, y_BCHW: Tensor) -> Tensor:
        height, width = (self.scale * length for length in y_BCHW.shape[-2:])
        wide_BCHW = y_BCHW.new_zeros(*y_BCHW.shape[:-2], height, width)
        wide_BCHW[..., :: self.scale, :: self.scale] = y_BCHW
        return self.blur.adjoint(wide_BCHW)

    @property
    def norm(self) -> float:
        return self._largest**0.5
