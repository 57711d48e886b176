"""The gradient of a loss: computed as it is, or on a GPU replayed as a CUDA graph."""

import gc
import logging
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

_log = logging.getLogger(__name__)

_EAGER = 2
"""Steps of each shape that are computed as they are before one is captured: libraries choose their kernels in them, and
data-dependent starts are over."""

Shapes = tuple[torch.Size, ...]


class Gradient:
    """`loss(*part)` and its gradient, which is left in the parameters' `grad`.

    A step of an unrolled flow is tens of thousands of small kernels, and launching them from Python takes a GPU's time
    several times over. With `graphs` the third step of each shape is captured as a CUDA graph, and that and later ones
    are replayed: the same kernels, launched at once. A loss that waits for the device cannot be captured; its steps
    are computed as they are, with a warning.

    Args:
        loss: takes the tensors of a part, and must not depend on anything else that changes from step to step but the
            values of the parameters and buffers of the network.
        parameters: what it is differentiated by.
        graphs: replay, where the parameters are on a CUDA device.
    """

    def __init__(self, loss: Callable[..., Tensor], parameters: Sequence[nn.Parameter], *, graphs: bool) -> None:
        self.loss, self.parameters = loss, parameters
        self.graphs = graphs and any(parameter.is_cuda for parameter in parameters)
        self.seen: Counter[Shapes] = Counter()
        self.captured: dict[Shapes, _Captured] = {}

    def __call__(self, part: Sequence[Tensor]) -> Tensor:
        """The loss of a whole batch, a scalar; the gradient takes the place of an earlier one."""
        for parameter in self.parameters:
            parameter.grad = None
        shapes = tuple(tensor.shape for tensor in part)
        if self.graphs and shapes not in self.captured and self.seen[shapes] >= _EAGER:
            self._capture(shapes, part)
        if shapes in self.captured:
            return self.captured[shapes].replay(part)
        self.seen[shapes] += 1
        return self.add(part, 1.0)

    def add(self, part: Sequence[Tensor], share: float) -> Tensor:
        """`share` times the loss of one part of a batch, its gradient added to what there is; never replayed."""
        value = share * self.loss(*part)
        value.backward()
        return value.detach()

    def _capture(self, shapes: Shapes, part: Sequence[Tensor]) -> None:
        first = next(iter(self.captured.values()), None)
        try:
            self.captured[shapes] = _Captured(self.loss, part, self.parameters, first)
        except RuntimeError as error:
            self.graphs = False
            for parameter in self.parameters:
                parameter.grad = None
            _log.warning("steps are not replayed as a CUDA graph: %s", error)


class _Captured:
    """The graph of a loss and its gradient for parts of one shape. All graphs of a loss leave their gradients in the
    same place, that of the `first`."""

    def __init__(
        self,
        loss: Callable[..., Tensor],
        part: Sequence[Tensor],
        parameters: Sequence[nn.Parameter],
        first: "_Captured | None",
    ) -> None:
        self.part = [tensor.clone() for tensor in part]
        self.graph = torch.cuda.CUDAGraph()
        pool = None if first is None else first.graph.pool()
        # What is left of earlier steps, in cycles, would be tied to the stream that those ran on.
        gc.collect()
        # Other threads of the process (a trial's reports) may call CUDA meanwhile.
        with torch.cuda.graph(self.graph, pool=pool, capture_error_mode="thread_local"):
            if first is not None:
                first.place()
                torch._foreach_zero_([gradient for _, gradient in first.gradients])
            value = loss(*self.part)
            value.backward()
            self.value = value.detach()
        self.gradients: list[tuple[nn.Parameter, Tensor]] = [
            (parameter, parameter.grad) for parameter in parameters if parameter.grad is not None
        ]

    def replay(self, part: Sequence[Tensor]) -> Tensor:
        """The loss of `part`."""
        for held, tensor in zip(self.part, part, strict=True):
            held.copy_(tensor)
        self.graph.replay()
        self.place()
        return self.value

    def place(self) -> None:
        """Give the parameters the gradients that the graph writes."""
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
