"""Where a network's numbers stop being finite: the fold and, in a flow, the level."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn

from flowsearch.flows import Glow
from flowsearch.models.prox import FlowProx, GlowProx
from flowsearch.models.unrolled import Unrolled, in_precision


@torch.no_grad()
def in_network(model: Unrolled, y: Tensor) -> str | None:
    """The first part whose result for the measurements `y` is not finite, or None: `fold 2, level 3 of g`."""
    images = [model.first(y), *model.iterates(y)]
    for k, (before_BCHW, after_BCHW) in enumerate(pairwise(images)):
        if not _finite(before_BCHW):
            return "the image before the first fold"
        if _finite(after_BCHW):
            continue
        moved_BCHW = model.data_step(k, before_BCHW, y)
        if not _finite(moved_BCHW):
            return f"the data step of fold {k + 1}"
        prox, lambda_K = model.prox(k), model.lambda_K
        if not isinstance(prox, FlowProx) or lambda_K is None:
            return f"the proximal map of fold {k + 1}"
        with in_precision(model.precision, y.device):
            if isinstance(prox, GlowProx):
                parts = _parts_of_prox(prox.flow, moved_BCHW, lambda_K[k])
                level = next((name for name, value in parts if not _finite(value)), None)
            else:
                level = in_flow(prox.flow, moved_BCHW)
        return f"fold {k + 1}, {level}" if level else f"fold {k + 1}"
    return None


@torch.no_grad()
def in_flow(flow: Glow, x_BCHW: Tensor) -> str | None:
    """The first level of f whose result for the images is not finite, or None: `level 2 of f`."""
    return next((name for name, value in _parts_of_f(flow, x_BCHW, []) if not _finite(value)), None)


def in_gradient(model: nn.Module) -> str | None:
    """The fold (the last one: a backward pass meets it first) and the levels whose gradients are not finite; of a tied
    network the map, whose gradient is the sum over the folds and does not tell them apart."""
    bad = [
        name.split(".")
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not _finite(parameter.grad)
    ]
    folds = [int(after) for name in bad for part, after in pairwise(name) if part == "proxes"]
    if folds:
        bad = [name for name in bad if name[:2] == ["proxes", str(max(folds))]]
    levels = sorted({int(after) + 1 for name in bad for part, after in pairwise(name) if part == "levels"})
    shared = isinstance(model, Unrolled) and model.is_tied
    words = ["the map that all folds share" if shared else f"fold {max(folds) + 1}"] if folds else []
    if levels:
        words.append(f"level {', '.join(map(str, levels))}")
    return ", ".join(words) or None


def _parts_of_prox(flow: Glow, x_BCHW: Tensor, shrinkage: Tensor) -> Iterator[tuple[str, Tensor]]:
    latents: list[Tensor] = []
    yield from _parts_of_f(flow, x_BCHW, latents)
    latents = [latent / (1 + shrinkage) for latent in latents]
    last = len(flow.levels)
    x_BCHW = latents.pop()
    for number, level in zip(range(last, 0, -1), reversed(flow.levels), strict=True):
        x_BCHW = level.inverse(x_BCHW if number == last else flow.split.inverse((x_BCHW, latents.pop())))
        yield f"level {number} of g", x_BCHW


def _parts_of_f(flow: Glow, x_BCHW: Tensor, latents: list[Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The result of each level; the latents are added to the list."""
    for number, level in enumerate(flow.levels, start=1):
        x_BCHW, logdet_B = level(x_BCHW)
        yield f"level {number} of f", x_BCHW + logdet_B[:, None, None, None]
        if number < len(flow.levels):
            (x_BCHW, latent), _ = flow.split(x_BCHW)
            latents.append(latent)
    latents.append(x_BCHW)


def _finite(value: Tensor) -> bool:
    """Whether the values are finite, and the mean of their squares too, which a loss or a norm takes."""
    return bool(value.square().mean().isfinite())
