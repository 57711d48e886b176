"""A proximal map of a researcher's own, `module:name`, and the check that it is one.

Shapes: x_BCHW is a batch of images.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from flowsearch.models.prox import ProximalMap
from flowsearch.parts import blamed, load_part, told


class OwnProx(ProximalMap):
    """x = N(x~) with a module N of a researcher's own, which is not told of lambda."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_BCHW: Tensor, shrinkage: Tensor | None = None) -> Tensor:
        mapped_BCHW: Tensor = self.network(x_BCHW)
        return mapped_BCHW


def own_prox(path: str, parameters: Mapping[str, Any], channels: int, size: int) -> ProximalMap:
    """The map that the callable `module:name` makes of channels, size and its parameters.

    It returns a `ProximalMap`, which is taken as it is (with lambda, where it `shrinks`), or any module from images to
    images. Raises ValueError where there is no such callable, it fails, or what it makes is no map (`check_prox`).
    """
    factory = load_part(path)
    with blamed(
        f"prox {path} is called with channels {channels}, size {size} and its parameters {dict(parameters)}, and"
    ):
        made = factory(channels, size, **parameters)
    if not isinstance(made, nn.Module):
        raise ValueError(f"prox {path} makes a torch.nn.Module, not {type(made).__name__}")
    if "_parameters" not in vars(made):
        raise ValueError(f"prox {path} begins its __init__ by super().__init__(), as every torch.nn.Module does")
    prox = made if isinstance(made, ProximalMap) else OwnProx(made)
    check_prox(prox, path, channels, size)
    return prox


def check_prox(prox: ProximalMap, name: str, channels: int, size: int) -> None:
    """Refuse a map that a fold cannot use, on random float32 images; the map itself is left as it is.

    Checked are: it can be copied (each fold of an untied network has one); images of the same shape, float32 and
    finite come out, for two images in training and for one in evaluation, the same ones where torch's global generators
    are at the same place; nothing is added to its parameters and buffers on the way, which no optimizer would know; a
    gradient that is finite reaches the images, lambda where the map `shrinks`, and every parameter that is trained.
    """
    where = f"prox {name}, for images of shape {(channels, size, size)},"
    lazy = next((own for own, parameter in prox.named_parameters() if is_lazy(parameter)), None)
    if lazy is not None:
        raise ValueError(f"{where} has a parameter without a shape, {lazy}; say all sizes when a layer is made")
    try:
        tried, again = copy.deepcopy(prox), copy.deepcopy(prox)
    except Exception as error:
        raise ValueError(f"{where} cannot be copied for each fold: {told(error)}") from error
    generator = torch.Generator().manual_seed(0)
    x_BCHW = (torch.rand(2, channels, size, size, generator=generator) - 0.5).requires_grad_()
    shrinkage = torch.tensor(0.1, requires_grad=True) if prox.shrinks else None
    with torch.no_grad():
        alone_BCHW = _called(tried.eval(), x_BCHW[:1].detach(), shrinkage, f"{where} in evaluation")
        _check_alike(_called(again.eval(), x_BCHW[:1].detach(), shrinkage, where), alone_BCHW, where)
        both_BCHW = _called(again.train(), x_BCHW, shrinkage, where)
    mapped_BCHW = _called(tried.train(), x_BCHW, shrinkage, where)
    _check_alike(both_BCHW, mapped_BCHW.detach(), where)
    made = next((own for own in tried.state_dict() if own not in prox.state_dict()), None)
    if made is not None:
        raise ValueError(
            f"{where} has all its parameters and buffers once it is made; {made} came when it was called, and would "
            "never be trained"
        )
    weights = torch.randn(mapped_BCHW.shape, generator=generator)
    if not mapped_BCHW.requires_grad:
        raise ValueError(f"{where} is not differentiable: no gradient goes through it (torch.no_grad, detach, numpy?)")
    try:
        (mapped_BCHW * weights).sum().backward()
    except RuntimeError as error:
        raise ValueError(f"{where} has no backward pass: {told(error)}") from error
    reached = {"the images": x_BCHW} | ({} if shrinkage is None else {"lambda": shrinkage})
    trained = {f"its parameter {own}": one for own, one in tried.named_parameters() if one.requires_grad}
    for what, tensor in {**reached, **trained}.items():
        if tensor.grad is None:
            raise ValueError(f"{where} lets no gradient reach {what}; use it, or set requires_grad to false")
        if not torch.isfinite(tensor.grad).all():
            raise ValueError(f"{where} has a gradient at {what} that is not finite")


def _check_alike(a_BCHW: Tensor, b_BCHW: Tensor, where: str) -> None:
    """Refuse what two equal maps made of the same images where it differs by more than rounding."""
    if not (a_BCHW - b_BCHW).norm() <= 1e-4 * b_BCHW.norm():
        raise ValueError(
            f"{where} gives the same images for the same images and the same torch.manual_seed; they differ from call "
            "to call: draw by torch's global generators, not by numpy or random, and keep nothing outside of the map"
        )


def _called(prox: ProximalMap, x_BCHW: Tensor, shrinkage: Tensor | None, where: str) -> Tensor:
    """The images that the map makes, with torch's global generators at the same place in each call."""
    with blamed(where), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mapped: Any = prox(x_BCHW, shrinkage)
    if not isinstance(mapped, Tensor):
        raise ValueError(f"{where} gives a tensor, not {type(mapped).__name__}")
    if mapped.shape != x_BCHW.shape or mapped.dtype != x_BCHW.dtype:
        raise ValueError(
            f"{where} gives images of the same shape and type; {tuple(x_BCHW.shape)} {x_BCHW.dtype} became "
            f"{tuple(mapped.shape)} {mapped.dtype}"
        )
    if not torch.isfinite(mapped).all():
        raise ValueError(f"{where} gives images that are not finite")
    return mapped
