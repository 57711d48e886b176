"""Super-resolution: an image averaged and decimated."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from flowsearch.operators.blur import Blur, gaussian_kernel
from flowsearch.operators.linear import LinearOperator


class BoxDecimation(LinearOperator):
    """A x = the mean of each `scale` x `scale` block; A^T spreads each mean over its block. A A^T = I / scale^2."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale

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

    def __init__(self, size: int, scale: int, sigma: float) -> None:
        super().__init__()
        self.scale = scale
        kernel_HW = gaussian_kernel(size, sigma, shift=-(scale - 1) / 2)
        self.blur = Blur(kernel_HW)
        power_HW = torch.fft.fft2(kernel_HW).abs().square()
        small = size // scale
        self._largest = float((power_HW.reshape(scale, small, scale, small).sum(dim=(0, 2)) / scale**2).max())

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.blur(x_BCHW)[..., :: self.scale, :: self.scale]

    def adjoint(self, y_BCHW: Tensor) -> Tensor:
        size = self.scale * y_BCHW.shape[-1]
        wide_BCHW = y_BCHW.new_zeros(*y_BCHW.shape[:-2], size, size)
        wide_BCHW[..., :: self.scale, :: self.scale] = y_BCHW
        return self.blur.adjoint(wide_BCHW)

    @property
    def norm(self) -> float:
        return self._largest**0.5
