"""An operator in other units."""

from torch import Tensor

from flowsearch.operators import LinearOperator, Task


class Scaled(LinearOperator):
    """s A, of the A of a task for images of 16 x 16 pixels."""

    def __init__(self, task: str, scale: float) -> None:
        super().__init__()
        self.plain, self.scale = Task.named(task, 16).operator, scale

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.scale * self.plain(x_BCHW)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.scale * self.plain.adjoint(y)

    @property
    def norm(self) -> float:
        return self.scale * self.plain.norm
