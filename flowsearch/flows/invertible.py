"""Glow with a backward pass of constant memory: it rebuilds every activation from the flow's own inverse.

The paper's section VI-A, after Putzky and Welling (2019). f keeps its latents, g and the whole proximal map
`g(f(x) / (1 + lambda))` keep their image; nothing else is stored, whatever the depth.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from flowsearch.flows.network import Network
from flowsearch.flows.steps import Level
from flowsearch.flows.walk import LevelWalk, Maps, unwalk_down, unwalk_up, walk_down, walk_up, zeros_like


class ReadyFlow:
    """A flow's weights made ready once, for any number of f, g and proximal maps until an optimizer changes them.

    The maps of channels are folded from the parameters by autograd. The gradients of the coupling networks are added
    up beside the graph and handed to the parameters when the last use has been walked back (`_Weights`). Under
    autocast the networks run in autocast's type; what is invertible stays in the parameters' type.

    Args:
        levels: the flow's levels.
        latent_shapes: (C, H, W) of each latent, finest first.
        keep: hold the networks' weights in autocast's type from the first use to the last, for flows that are used
            again; otherwise they are made anew for each pass, so that folds with flows of their own take no memory.
    """

    def __init__(self, levels: Sequence[Level], latent_shapes: Sequence[tuple[int, int, int]], *, keep: bool) -> None:
        device, dtype = levels[0].device, levels[0].dtype
        if dtype == torch.float32 and torch.is_autocast_enabled(device.type):
            dtype = torch.get_autocast_dtype(device.type)
        self.latent_shapes, self.keep = latent_shapes, keep
        self.networks = [[Network(step.coupling.net, dtype) for step in level.steps] for level in levels]
        self.maps: list[Tensor] = []
        self.logdets: list[Tensor] = []
        with torch.autocast(device.type, enabled=False):
            for level in levels:
                weight_NCC, bias_NC, logdet = level.fold()
                self.maps += [weight_NCC, bias_NC, *level.fold_inverse()]
                self.logdets.append(logdet)
        self.task: int | None = None
        parameters = [parameter for network in self.all_networks() for parameter in network.parameters()]
        self.token = _Weights.apply(self, *parameters)

    def all_networks(self) -> Iterator[Network]:
        """The coupling networks of all levels."""
        for networks in self.networks:
            yield from networks

    def walks(self, maps: Sequence[Tensor]) -> list[LevelWalk]:
        """The flow as `walk` takes it, with these maps."""
        levels = (Maps(*maps[4 * index : 4 * index + 4]) for index in range(len(self.networks)))
        return [LevelWalk(level, networks) for level, networks in zip(levels, self.networks, strict=True)]

    def __call__(self, x_BCHW: Tensor) -> tuple[list[Tensor], Tensor]:
        """The latents `f(x)`, finest first, and `log |det Df(x)|`, shape (B,)."""
        *latents, logdet_B = _Up.apply(self, self.token, x_BCHW, *self.maps)
        pixels = [latent.shape[-2] * latent.shape[-1] for latent in latents]
        fixed = sum(count * logdet for count, logdet in zip(pixels, self.logdets, strict=True))
        return latents, logdet_B + fixed

    def inverse(self, latents: Sequence[Tensor]) -> Tensor:
        """The images `g(z)`."""
        return _Down.apply(self, self.token, *latents, *self.maps)

    def mode(self, batch: int) -> Tensor:
        """`g(0)`, (batch, channels, size, size): computed once, seen `batch` times."""
        zeros = [self.token.new_zeros(1, *shape) for shape in self.latent_shapes]
        return self.inverse(zeros).expand(batch, -1, -1, -1)

    def prox(self, x_BCHW: Tensor, shrinkage: Tensor) -> Tensor:
        """`g(f(x) / (1 + shrinkage))`."""
        return _Prox.apply(self, self.token, x_BCHW, shrinkage, *self.maps)

    @contextmanager
    def use(self) -> Iterator[None]:
        """Around every walk: autocast is off (the networks have their type), and weights go afterwards."""
        with torch.autocast(self.token.device.type, enabled=False):
            yield
        if not self.keep:
            for network in self.all_networks():
                network.release()

    @contextmanager
    def back(self) -> Iterator[None]:
        """Around every walk backward, which must not be differentiated itself."""
        if torch.is_grad_enabled():
            raise RuntimeError(
                "memory: invertible has first derivatives only (create_graph=True asks for more); use memory: autograd"
            )
        task = torch._C._current_graph_task_id()
        if task != self.task:  # a backward pass that did not come to its end, or that wanted no weights
            for network in self.all_networks():
                network.forget()
        self.task = task
        with self.use():
            yield


class _Weights(Function):
    """Ties the parameters of the coupling networks to a token; its backward runs after that of every use."""

    @staticmethod
    def forward(ctx: Any, ready: ReadyFlow, *parameters: Tensor) -> Tensor:
        ctx.ready = ready
        ctx.save_for_backward(*parameters)  # for autograd's check that nobody has changed them since
        return parameters[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors
        return None, *(grad for network in ctx.ready.all_networks() for grad in network.gradients())


class _Up(Function):
    """f, and the couplings' log-determinant."""

    @staticmethod
    def forward(ctx: Any, ready: ReadyFlow, token: Tensor, x_BCHW: Tensor, *maps: Tensor) -> tuple[Tensor, ...]:
        with ready.use():
            latents, logdet_B = walk_up(ready.walks(maps), x_BCHW)
        ctx.ready = ready
        ctx.save_for_backward(*latents, *maps)
        return *latents, logdet_B

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        count = len(grads) - 1
        latents, maps = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        with ctx.ready.back():
            levels = ctx.ready.walks(maps)
            sums = [zeros_like(level.maps) for level in levels]
            grad_BCHW = unwalk_up(levels, sums, latents, grads[:count], grads[count])
        return None, grads[-1].new_zeros(()), grad_BCHW, *_flat(sums)


class _Down(Function):
    """g."""

    @staticmethod
    def forward(ctx: Any, ready: ReadyFlow, token: Tensor, *latents_and_maps: Tensor) -> Tensor:
        count = len(ready.networks)
        latents, maps = latents_and_maps[:count], latents_and_maps[count:]
        with ready.use():
            x_BCHW = walk_down(ready.walks(maps), latents)
        ctx.ready = ready
        ctx.save_for_backward(x_BCHW, *maps)
        return x_BCHW

    @staticmethod
    def backward(ctx: Any, grad_BCHW: Tensor) -> tuple[Tensor | None, ...]:
        x_BCHW, *maps = ctx.saved_tensors
        with ctx.ready.back():
            levels = ctx.ready.walks(maps)
            sums = [zeros_like(level.maps) for level in levels]
            _, grad_latents = unwalk_down(levels, sums, x_BCHW, grad_BCHW)
        return None, grad_BCHW.new_zeros(()), *grad_latents, *_flat(sums)


class _Prox(Function):
    """`g(f(x) / (1 + lambda))`, which keeps its result only."""

    @staticmethod
    def forward(ctx: Any, ready: ReadyFlow, token: Tensor, x_BCHW: Tensor, shrinkage: Tensor, *maps: Tensor) -> Tensor:
        with ready.use():
            levels = ready.walks(maps)
            latents, _ = walk_up(levels, x_BCHW)
            x_BCHW = walk_down(levels, [latent.div_(1 + shrinkage) for latent in latents])
        ctx.ready = ready
        ctx.save_for_backward(x_BCHW, shrinkage, *maps)
        return x_BCHW

    @staticmethod
    def backward(ctx: Any, grad_BCHW: Tensor) -> tuple[Tensor | None, ...]:
        x_BCHW, shrinkage, *maps = ctx.saved_tensors
        with ctx.ready.back():
            levels = ctx.ready.walks(maps)
            sums = [zeros_like(level.maps) for level in levels]
            latents, grads = unwalk_down(levels, sums, x_BCHW, grad_BCHW)
            grads = [grad.div_(1 + shrinkage) for grad in grads]
            products = [(grad * z).sum() for grad, z in zip(grads, latents, strict=True)]
            grad_shrinkage = -torch.stack(products).sum()
            latents = [latent.mul_(1 + shrinkage) for latent in latents]
            grad_BCHW = unwalk_up(levels, sums, latents, grads, None)
        return None, grad_BCHW.new_zeros(()), grad_BCHW, grad_shrinkage, *_flat(sums)


def _flat(sums: Sequence[Maps]) -> list[Tensor]:
    return [value for level in sums for value in level]
