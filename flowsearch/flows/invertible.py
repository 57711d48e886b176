"""Glow with a backward pass of constant memory: it rebuilds every activation from the flow's own inverse.

The paper's section VI-A, after Putzky and Welling (2019). f keeps its latents, g and the whole proximal map
`g(f(x) / (1 + lambda))` keep their image; nothing else is stored, whatever the depth. A flow that keeps its networks'
evaluations too need not repeat them, a quarter of all products, for memory that grows with the depth.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from flowsearch.flows.network import Networks
from flowsearch.flows.steps import Level
from flowsearch.flows.walk import Evaluation, LevelWalk, Maps, unwalk_down, unwalk_up, walk_down, walk_up, zeros_like


def left_alone(function: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.compiler.disable`, which loads the compiler (two seconds) as it decorates, only where one compiles."""

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(function)(*arguments, **named)
        return function(*arguments, **named)

    return call


class ReadyFlow:
    """A flow's weights made ready once, for any number of f, g and proximal maps until an optimizer changes them.

    Autograd sees a token in the place of the weights. The gradients of weights and maps are added up beside the graph,
    over all uses, and handed to the parameters when the last use has been walked back (`_Weights`). Under autocast the
    networks run in autocast's type; what is invertible is in float64 (see `walk`). `torch.compile` leaves it alone.

    Args:
        levels: the flow's levels.
        latent_shapes: (C, H, W) of each latent, finest first.
        keep: hold what is made of the weights from the first use to the last, for flows that are used again; otherwise
            it is made anew for each pass, so that folds with flows of their own take no memory.
        networks: hold what the coupling networks computed until the backward pass.
    """

    def __init__(
        self, levels: Sequence[Level], latent_shapes: Sequence[tuple[int, int, int]], *, keep: bool, networks: bool
    ) -> None:
        device, dtype = levels[0].device, levels[0].dtype
        if dtype == torch.float32 and torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        self.levels, self.latent_shapes, self.keep, self.keep_networks = levels, latent_shapes, keep, networks
        self.networks = [Networks([step.coupling.net for step in level.steps], level.bounds, dtype) for level in levels]
        self.map_parameters = [parameter for level in levels for parameter in level.map_parameters()]
        self.maps: list[Maps] | None = None
        self.graph: list[Maps] | None = None
        self.sums: list[Maps] = []
        self.task: int | None = None
        parameters = [parameter for networks in self.networks for parameter in networks.parameters()]
        self.token = _Weights.apply(self, *self.map_parameters, *parameters)

    @left_alone
    def __call__(self, x_BCHW: Tensor) -> tuple[list[Tensor], Tensor]:
        """The latents `f(x)`, finest first, and `log |det Df(x)|`, shape (B,)."""
        *latents, logdet_B = _Up.apply(self, self.token, x_BCHW)
        return latents, logdet_B

    @left_alone
    def inverse(self, latents: Sequence[Tensor]) -> Tensor:
        """The images `g(z)`."""
        return _Down.apply(self, self.token, *latents)

    def mode(self, batch: int) -> Tensor:
        """`g(0)`, (batch, channels, size, size): computed once, seen `batch` times."""
        zeros = [self.token.new_zeros(1, *shape) for shape in self.latent_shapes]
        return self.inverse(zeros).expand(batch, -1, -1, -1)

    @left_alone
    def prox(self, x_BCHW: Tensor, shrinkage: Tensor) -> Tensor:
        """`g(f(x) / (1 + shrinkage))`."""
        return _Prox.apply(self, self.token, x_BCHW, shrinkage)

    @contextmanager
    def forward(self) -> Iterator[list[LevelWalk]]:
        """Around every walk forward: the flow as `walk` takes it."""
        with torch.autocast(self.token.device.type, enabled=False), torch.no_grad():
            self.maps = self.maps or [level.maps() for level in self.levels]
            yield self._walks(self.maps)
        if not self.keep:
            self.maps = None
            self._release()

    @contextmanager
    def backward(self, ctx: Any) -> Iterator[tuple[list[LevelWalk], list[Maps], list[Evaluation]]]:
        """Around every walk backward, which must not be differentiated itself: the flow, its maps' sums, and what the
        walk forward kept, once."""
        if torch.is_grad_enabled():
            raise RuntimeError(
                "memory: invertible and networks have first derivatives only (create_graph=True asks for more); "
                "use memory: autograd"
            )
        task = torch._C._current_graph_task_id()
        with torch.autocast(self.token.device.type, enabled=False):
            if self.graph is None or task != self.task:
                self._begin()
            self.task = task
            assert self.graph is not None
            kept, ctx.kept = ctx.kept, []
            yield self._walks([Maps(*(value.detach() for value in maps)) for maps in self.graph]), self.sums, kept
        if not self.keep:
            self._release()

    def kept(self, ctx: Any) -> list[Evaluation] | None:
        """Where a walk forward leaves its networks' evaluations for the backward pass of `ctx`, if it is to."""
        ctx.kept = []
        return ctx.kept if self.keep_networks and any(ctx.needs_input_grad) else None

    def gradients(self) -> list[Tensor | None]:
        """Gradients of the maps' parameters and the networks', from the sums, which are used up."""
        assert self.graph is not None
        made = [value for maps in self.graph for value in maps]
        sums = [value for maps in self.sums for value in maps]
        self.graph, self.sums = None, []
        learned = [parameter for parameter in self.map_parameters if parameter.requires_grad]
        found = iter(torch.autograd.grad(made, learned, sums)) if learned else iter(())
        of_maps = [next(found) if parameter.requires_grad else None for parameter in self.map_parameters]
        return of_maps + [grad for networks in self.networks for grad in networks.gradients()]

    def _begin(self) -> None:
        """Begin a backward pass; another one may not have come to its end, or wanted no weights."""
        for networks in self.networks:
            networks.forget()
        with torch.enable_grad():
            self.graph = [level.maps() for level in self.levels]
        self.sums = [zeros_like(maps) for maps in self.graph]

    def _walks(self, maps: Sequence[Maps]) -> list[LevelWalk]:
        entries = zip(maps, self.networks, self.levels, strict=True)
        return [LevelWalk(made, networks.steps, level.bounds) for made, networks, level in entries]

    def _release(self) -> None:
        for networks in self.networks:
            networks.release()


class _Weights(Function):
    """Ties a flow's parameters to a token; its backward runs after that of every use."""

    @staticmethod
    def forward(ctx: Any, ready: ReadyFlow, *parameters: Tensor) -> Tensor:
        ctx.ready = ready
        ctx.save_for_backward(*parameters)  # for autograd's check that nobody has changed them since
        return parameters[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors
        return None, *ctx.ready.gradients()


class _Up(Function):
    """f, and its log-determinant."""

    @staticmethod
    def forward(ctx: Any, ready: ReadyFlow, token: Tensor, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        with ready.forward() as levels:
            logdet_B = x_BCHW.new_zeros(len(x_BCHW), dtype=torch.float64)
            latents = walk_up(levels, x_BCHW.double(), ready.kept(ctx), logdet_B)
        ctx.ready = ready
        ctx.save_for_backward(*latents)
        return *(value.to(x_BCHW.dtype) for value in latents), logdet_B.to(x_BCHW.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_latents, grad_logdet_B = [grad.double() for grad in grads[:-1]], grads[-1].double()
        with ctx.ready.backward(ctx) as (levels, sums, kept):
            grad_BCHW = unwalk_up(levels, sums, ctx.saved_tensors, grad_latents, grad_logdet_B, kept)
        return None, grads[-1].new_zeros(()), grad_BCHW.to(grads[-1].dtype)


class _Down(Function):
    """g."""

    @staticmethod
    def forward(ctx: Any, ready: ReadyFlow, token: Tensor, *latents: Tensor) -> Tensor:
        with ready.forward() as levels:
            x_BCHW = walk_down(levels, [latent.double() for latent in latents], ready.kept(ctx))
        ctx.ready = ready
        ctx.save_for_backward(x_BCHW)
        return x_BCHW.to(latents[0].dtype)

    @staticmethod
    def backward(ctx: Any, grad_BCHW: Tensor) -> tuple[Tensor | None, ...]:
        (x_BCHW,) = ctx.saved_tensors
        with ctx.ready.backward(ctx) as (levels, sums, kept):
            _, grad_latents = unwalk_down(levels, sums, x_BCHW, grad_BCHW.double(), kept)
        return None, grad_BCHW.new_zeros(()), *(grad.to(grad_BCHW.dtype) for grad in grad_latents)


class _Prox(Function):
    """`g(f(x) / (1 + lambda))`, which keeps its result only."""

    @staticmethod
    def forward(ctx: Any, ready: ReadyFlow, token: Tensor, x_BCHW: Tensor, shrinkage: Tensor) -> Tensor:
        with ready.forward() as levels:
            kept = ready.kept(ctx)
            latents = walk_up(levels, x_BCHW.double(), kept)
            image_BCHW = walk_down(levels, [latent.div_(1 + shrinkage) for latent in latents], kept)
        ctx.ready = ready
        ctx.save_for_backward(image_BCHW, shrinkage)
        return image_BCHW.to(x_BCHW.dtype)

    @staticmethod
    def backward(ctx: Any, grad_BCHW: Tensor) -> tuple[Tensor | None, ...]:
        image_BCHW, shrinkage = ctx.saved_tensors
        with ctx.ready.backward(ctx) as (levels, sums, kept):
            latents, grads = unwalk_down(levels, sums, image_BCHW, grad_BCHW.double(), kept)
            grads = [grad.div_(1 + shrinkage) for grad in grads]
            products = [(grad * z).sum() for grad, z in zip(grads, latents, strict=True)]
            grad_shrinkage = -torch.stack(products).sum()
            latents = [latent.mul_(1 + shrinkage) for latent in latents]
            grad_x_BCHW = unwalk_up(levels, sums, latents, grads, None, kept)
        zero = grad_BCHW.new_zeros(())
        return None, zero, grad_x_BCHW.to(grad_BCHW.dtype), grad_shrinkage.to(shrinkage.dtype)
