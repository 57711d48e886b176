"""A network that is applied once: what is left of an unrolled network without its data steps."""

from torch import Tensor, nn

from flowsearch.checks import PRECISIONS, check_choice
from flowsearch.models.prox import ProximalMap
from flowsearch.models.unrolled import in_precision
from flowsearch.operators import LinearOperator


class Feedforward(nn.Module):
    """x = N(A^T y / |A|^2) with a plain network N: it sees the measurements once, and nothing holds it to them."""

    def __init__(self, operator: LinearOperator, network: ProximalMap, precision: str = "fp32") -> None:
        super().__init__()
        check_choice("precision", precision, PRECISIONS)
        self.operator, self.network, self.precision = operator, network, precision

    def forward(self, y: Tensor) -> Tensor:
        """The reconstruction of the measurements `y`, unclipped."""
        x_BCHW = self.operator.adjoint(y) / self.operator.norm**2
        with in_precision(self.precision, y.device):
            return self.network(x_BCHW).to(x_BCHW.dtype)
