"""Operators from elsewhere: any object with `A` and `A_adjoint`, and the check that every foreign operator passes."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from flowsearch.operators.linear import LinearOperator
from flowsearch.parts import blamed, told


@runtime_checkable
class Physics(Protocol):
    """What `wrap` takes: a linear map and its adjoint, under the names that deepinv gives them."""

    A: Callable[[Tensor], Tensor]
    A_adjoint: Callable[[Tensor], Tensor]


class Wrapped(LinearOperator):
    """A x = physics.A(x), A^T y = physics.A_adjoint(y). A module moves to a device with it and is not trained."""

    def __init__(self, physics: Physics, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.physics = physics.requires_grad_(False) if isinstance(physics, nn.Module) else physics
        self.image_shape = image_shape

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y: Tensor = self.physics.A(x_BCHW)
        return y

    def adjoint(self, y: Tensor) -> Tensor:
        x_BCHW: Tensor = self.physics.A_adjoint(y)
        return x_BCHW


def wrap(physics: Any, channels: int, size: int, tolerance: float = 1e-4) -> LinearOperator:
    """An operator of an object with `A` and `A_adjoint` (a linear physics of deepinv, say), for images of that shape.

    Raises ValueError where it has not both, or they are not a linear map and its adjoint (see `check_operator`).
    """
    if not (callable(getattr(physics, "A", None)) and callable(getattr(physics, "A_adjoint", None))):
        raise ValueError(
            "an operator is a flowsearch.operators.LinearOperator, with forward and adjoint, or has the methods A and "
            f"A_adjoint; {type(physics).__name__} is none and has not both"
        )
    operator = Wrapped(physics, (channels, size, size))
    check_operator(operator, type(physics).__name__, channels, size, tolerance)
    return operator


@torch.no_grad()
def check_operator(operator: LinearOperator, name: str, channels: int, size: int, tolerance: float = 1e-4) -> None:
    """Refuse an operator that is not linear, or whose adjoint is not its own, on random float32 images.

    Checked are shapes, A(x + 2x') = A x + 2A x', and Re<A x, y> = <x, A^T y> for y random and for y = A x, each to
    `tolerance` times the product of the norms; a batch has to be measured image by image, and the same each time. What
    torch differentiates each map to has to be the other one: where it does not see all that a map does (numpy, detach),
    a network would train on without a word, by gradients that lack the folds before.
    """
    if "_parameters" not in vars(operator):
        raise ValueError(f"{name} begins its __init__ by super().__init__(), as every torch.nn.Module does")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels, size, size, generator=generator).to(device_of(operator))
    where = f"{name}, for images of shape {tuple(x.shape[1:])},"
    y = _call(operator, x, f"{where} A x")
    if not (y.is_floating_point() or y.is_complex()) or y.shape[:1] != x.shape[:1]:
        raise ValueError(
            f"{where} gives a measurement for each image of a batch; A x of two images has shape {tuple(y.shape)} and "
            f"type {y.dtype}"
        )
    again = _call(operator, x, f"{where} A x")
    alone = _call(operator, x[:1], f"{where} A x")
    both = _call(operator, x[:1] + 2 * x[1:], f"{where} A x")
    if not (torch.isfinite(y).all() and torch.isfinite(both).all()):
        raise ValueError(f"{where} gives measurements that are not finite")
    if not y.abs().max() > 0:
        raise ValueError(f"{where} measures nothing: A x = 0 for a random image")
    if again.shape != y.shape or _far(again, y, tolerance):
        raise ValueError(
            f"{where} is no linear map: A x of the same images differs from call to call; noise belongs in the "
            "task, as its parameter noise"
        )
    if alone.shape != y[:1].shape or _far(alone, y[:1], tolerance):
        raise ValueError(f"{where} measures each image of a batch by itself; alone the first one's measurement differs")
    if _far(both, y[:1] + 2 * y[1:], tolerance):
        raise ValueError(f"{where} is no linear map: A(x + 2x') differs from A x + 2A x'")
    noise = torch.randn(y.shape, generator=generator, dtype=y.dtype).to(y.device)
    for dual, what in ((noise, "for a random y"), (y, "for y = A x")):
        back = _call(operator.adjoint, dual, f"{where} A^T y")
        if back.shape != x.shape or back.dtype != x.dtype:
            raise ValueError(
                f"{where} has an adjoint that gives real images of that shape, float32 as they came; A^T y has shape "
                f"{tuple(back.shape[1:])} and type {back.dtype}"
                + ("; what numpy made needs .float()" if back.dtype == torch.float64 else "")
            )
        left, right = _inner(y, dual), _inner(x, back)
        off = abs(left - right) / (_norm(y) * _norm(dual))
        if not off <= tolerance:
            raise ValueError(
                f"{where} has an adjoint with Re<A x, y> = <x, A^T y>; {what} these are {left:.6g} and {right:.6g}, "
                f"{off:.1e} of |A x| |y| apart (allowed: {tolerance:g})"
            )
    for apply, given, dual, other, what in (
        (operator, x, noise, operator.adjoint(noise), "<A x, y> is A^T y"),
        (operator.adjoint, noise, x, y, "<x, A^T y> is A x"),
    ):
        off = _norm(_gradient(apply, given, dual, where) - other) / _norm(other)
        if not off <= tolerance:
            raise ValueError(
                f"{where} is differentiable by torch: the gradient of {what}, and differs by {off:.1e} of it (allowed: "
                f"{tolerance:g}); what goes through numpy, detach or torch.autograd.grad is not seen by torch, what "
                "goes through torch.func.vjp is"
            )


@torch.no_grad()
def probe(operator: LinearOperator, channels: int, size: int) -> tuple[float, float]:
    """|A x| and <A x, w> / |w| for an image x and a w that are drawn at random, the same ones each time: by them an
    operator is known again, whatever it is made of."""
    generator = torch.Generator().manual_seed(0)
    y = operator(torch.randn(1, channels, size, size, generator=generator).to(device_of(operator)))
    w = torch.randn(y.shape, generator=generator, dtype=y.dtype).to(y.device)
    return _norm(y), _inner(y, w) / _norm(w)


def device_of(operator: LinearOperator) -> torch.device:
    """Where its numbers are, and so where it takes images."""
    return next((held.device for held in (*operator.buffers(), *operator.parameters())), torch.device("cpu"))


def _call(apply: Callable[[Tensor], Any], given: Tensor, what: str) -> Tensor:
    with blamed(what):
        made = apply(given)
    if not isinstance(made, Tensor):
        raise ValueError(f"{what} is a tensor, not {type(made).__name__}")
    return made


def _gradient(apply: Callable[[Tensor], Tensor], given: Tensor, dual: Tensor, where: str) -> Tensor:
    """The gradient of <apply(given), dual>; zero where torch sees no way from one to the other."""
    with torch.enable_grad():
        given = given.detach().clone().requires_grad_()
        made = _call(apply, given, f"{where} differentiated by torch,")
        if not made.requires_grad:
            return torch.zeros_like(given)
        try:
            (found,) = torch.autograd.grad(made, given, dual, allow_unused=True)
        except RuntimeError as error:
            raise ValueError(f"{where} has no backward pass: {told(error)}") from error
    return torch.zeros_like(given) if found is None else found


def _far(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return not _norm(a - b) <= tolerance * _norm(b)


def _inner(a: Tensor, b: Tensor) -> float:
    a, b = (torch.view_as_real(one) if one.is_complex() else one for one in (a.resolve_conj(), b.resolve_conj()))
    return float((a.double() * b.double()).sum())


def _norm(a: Tensor) -> float:
    return _inner(a, a) ** 0.5
