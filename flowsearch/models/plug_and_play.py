"""Plug-and-play proximal gradient descent: a denoiser in the place of the proximal map (Venkatakrishnan et al., 2013).

Shapes: y_B... is a batch of measurements, x_BCHW of images, noise_B one standard deviation an image.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from flowsearch.checks import PRECISIONS, check_choice, check_float, check_int
from flowsearch.models.prox import ProximalMap
from flowsearch.models.unrolled import in_precision
from flowsearch.operators import LinearOperator


class Denoiser(nn.Module):
    """D(x, s): removes Gaussian noise of standard deviation s (Zhang et al., 2018).

    The network is told s as one more channel. Knowing it, one network serves every noise level, so that the strength
    can be tuned without training again.
    """

    def __init__(self, network: ProximalMap, precision: str = "fp32") -> None:
        """`network` takes and gives one channel more than the images have."""
        super().__init__()
        check_choice("precision", precision, PRECISIONS)
        self.network, self.precision = network, precision

    def forward(self, x_BCHW: Tensor, noise_B: Tensor) -> Tensor:
        """The images without the noise."""
        batch, channels, height, width = x_BCHW.shape
        level_B1HW = noise_B.to(x_BCHW.dtype)[:, None, None, None].expand(batch, 1, height, width)
        with in_precision(self.precision, x_BCHW.device):
            return self.network(torch.cat([x_BCHW, level_B1HW], dim=1))[:, :channels].to(x_BCHW.dtype)


class PlugAndPlay(nn.Module):
    """x <- D(x - step / |A|^2 A^T (A x - y), s) from x = A^T y / |A|^2, until x stays or `iterations` are done.

    An image stays when an iteration moves it by less than `tolerance` of its length; the others go on. A network is
    not known to be the proximal map of anything, so nothing promises that this converges: the number of iterations is
    a stopping time, to be chosen on validation images.
    """

    def __init__(
        self,
        operator: LinearOperator,
        denoiser: Denoiser,
        strength: float,
        step: float = 1.0,
        iterations: int = 100,
        tolerance: float = 1e-4,
    ) -> None:
        check_float("strength", strength, 0, positive=True)
        check_float("step", step, 0, 2, positive=True)
        check_int("iterations", iterations, 1)
        super().__init__()
        self.operator, self.denoiser = operator, denoiser
        self.strength, self.step, self.iterations, self.tolerance = strength, step, iterations, tolerance

    def forward(self, y: Tensor) -> Tensor:
        """The reconstruction of the measurements `y`."""
        *_, x_BCHW = self.iterates(y)
        return x_BCHW

    @torch.no_grad()
    def iterates(self, y: Tensor) -> Iterator[Tensor]:
        """The images after each iteration, as far as one of them moves."""
        x_BCHW = self.operator.adjoint(y) / self.operator.norm**2
        moving = torch.arange(len(y), device=y.device)
        for _ in range(self.iterations):
            old_BCHW = x_BCHW[moving]
            descent_BCHW = self.operator.adjoint(self.operator(old_BCHW) - y[moving])
            descended_BCHW = old_BCHW - self.step / self.operator.norm**2 * descent_BCHW
            new_BCHW = self.denoiser(descended_BCHW, old_BCHW.new_full((len(moving),), self.strength))
            x_BCHW = x_BCHW.index_copy(0, moving, new_BCHW)
            yield x_BCHW
            moves_B = (new_BCHW - old_BCHW).flatten(1).norm(dim=1)
            moving = moving[moves_B > self.tolerance * old_BCHW.flatten(1).norm(dim=1)]
            if not len(moving):
                return
