"""Maximum a posteriori in the latent space of a flow (paper eq. (7); Asim et al., 2020).

Shapes: y_B... is a batch of measurements, x_BCHW of images, z_BD of latents, all of an image's in one row.
"""

import torch
from torch import Tensor, nn

from flowsearch.checks import check_float, check_int
from flowsearch.flows import Glow
from flowsearch.models.lbfgs import minimize
from flowsearch.operators import LinearOperator


class LatentMap(nn.Module):
    """x = g(argmin_z |A g(z) - y|^2 + gamma |z|^2), from z = 0, by L-BFGS image by image (paper eq. (7)).

    The flow is the pre-trained prior and stays as it is. With Gaussian noise of standard deviation sigma, gamma =
    sigma^2 is the maximum a posteriori by the book; the best one is usually another.
    """

    def __init__(self, operator: LinearOperator, flow: Glow, gamma: float, iterations: int = 100) -> None:
        check_float("gamma", gamma, 0)
        check_int("iterations", iterations, 1)
        super().__init__()
        self.operator, self.flow = operator, flow.eval().requires_grad_(False)
        self.gamma, self.iterations = gamma, iterations

    def forward(self, y: Tensor) -> Tensor:
        """The reconstruction of the measurements `y`."""
        z_BD, _ = self.solve(y)
        with torch.no_grad():
            return self.images(z_BD)

    def solve(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The latents, and the value of the objective there, (B,)."""
        reference = next(self.flow.parameters())
        start_BD = reference.new_zeros(len(y), self.flow.dimensions)
        return minimize(lambda z, rows: self._value_and_gradient(z, y[rows]), start_BD, self.iterations)

    def images(self, z_BD: Tensor) -> Tensor:
        """g(z), (B, C, H, W)."""
        sizes = [c * h * w for c, h, w in self.flow.latent_shapes]
        parts = z_BD.split(sizes, dim=1)
        return self.flow.inverse([z.view(-1, *shape) for z, shape in zip(parts, self.flow.latent_shapes, strict=True)])

    def objective(self, z_BD: Tensor, y: Tensor) -> Tensor:
        """|A g(z) - y|^2 + gamma |z|^2 of each image, (B,)."""
        residual = self.operator(self.images(z_BD)) - y
        return residual.abs().square().flatten(1).sum(dim=1) + self.gamma * z_BD.square().sum(dim=1)

    def _value_and_gradient(self, z_BD: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            z_BD, y = (one.clone() if one.is_inference() else one for one in (z_BD, y))
            z_BD = z_BD.detach().requires_grad_()
            value_B = self.objective(z_BD, y)
            (grad_BD,) = torch.autograd.grad(value_B.sum(), z_BD)
        return value_B.detach(), grad_BD
