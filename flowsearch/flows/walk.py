"""A flow walked step by step without autograd, in either direction, alone or with gradients going along.

The backward pass of a walk is a walk the other way, which rebuilds each activation just before its gradient needs it.
What is walked, and its gradient, are in float64: an image is small beside the networks' channels, and what is rebuilt
then differs by less than the networks' float32 (or bfloat16) input can tell, so that they give the same bits again,
however deep and however stiff the flow. Scales and shifts stay in the networks' output type.

Shapes: as in `network`; levels and steps keep the order of the flow.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from flowsearch.flows.coupling import Bounds
from flowsearch.flows.network import Network, Tape
from flowsearch.flows.steps import Maps


class LevelWalk(NamedTuple):
    """A level's maps, and the networks of its couplings with their bounds."""

    maps: Maps
    networks: Sequence[Network]
    bounds: Bounds


Evaluation = tuple[Tensor, Tape]
"""What a coupling's network gave, (2 C, B, H, W) after tanh, and its tape."""


def zeros_like(maps: Maps) -> Maps:
    """Where the gradients of a level's maps are added up."""
    return Maps(*(torch.zeros_like(value) for value in maps))


def walk_up(
    levels: Sequence[LevelWalk],
    x_BCHW: Tensor,
    kept: list[Evaluation] | None = None,
    logdet_B: Tensor | None = None,
) -> list[Tensor]:
    """The latents `z = f(x)`, finest first; where there are such, the log-determinant is added to `logdet_B`, (B,), and
    evaluations to `kept`."""
    latents = []
    x_CBHW = x_BCHW.transpose(0, 1)
    for level in levels:
        x_CBHW = _squeeze(x_CBHW)
        if logdet_B is not None:
            logdet_B += _pixels(x_CBHW) * level.maps.logdet
        for step, network in enumerate(level.networks):
            x_CBHW = _mix(level.maps.weight_NCC[step], level.maps.bias_NC[step], x_CBHW)
            y_a, y_b = x_CBHW.chunk(2)
            s, t = _evaluate(network, y_b, kept).chunk(2)
            if logdet_B is not None:
                logdet_B += level.bounds.scale * s.sum(dim=(2, 3)).sum(dim=0)
            y_a.mul_((level.bounds.scale * s).exp_()).add_(t, alpha=level.bounds.shift)
        x_CBHW, latent = _split(x_CBHW, level is levels[-1])
        latents.append(latent)
    return latents


def walk_down(levels: Sequence[LevelWalk], latents: Sequence[Tensor], kept: list[Evaluation] | None = None) -> Tensor:
    """The images `x = g(z)`; evaluations are added to `kept`."""
    x_CBHW = None
    for level, latent in zip(reversed(levels), reversed(latents), strict=True):
        x_CBHW = _join(x_CBHW, latent)
        for step, network in _backwards(level.networks):
            y_a, y_b = x_CBHW.chunk(2)
            s, t = _evaluate(network, y_b, kept).chunk(2)
            y_a.sub_(t, alpha=level.bounds.shift).div_((level.bounds.scale * s).exp_())
            x_CBHW = _mix(level.maps.inverse_NCC[step], level.maps.inverse_bias_NC[step], x_CBHW)
        x_CBHW = _unsqueeze(x_CBHW)
    assert x_CBHW is not None
    return x_CBHW.transpose(0, 1).contiguous()


def unwalk_up(
    levels: Sequence[LevelWalk],
    sums: Sequence[Maps],
    latents: Sequence[Tensor],
    grad_latents: Sequence[Tensor],
    grad_logdet_B: Tensor | None,
    kept: list[Evaluation],
) -> Tensor:
    """The gradient of x under `walk_up`, from its results; those of the maps are added to `sums`.

    What the walk kept is used up, last first; where there is nothing, the networks are evaluated again.
    """
    x_CBHW, grad_CBHW = None, None
    entries = zip(reversed(levels), reversed(sums), reversed(latents), reversed(grad_latents), strict=True)
    for level, total, latent, grad_latent in entries:
        x_CBHW, grad_CBHW = _join(x_CBHW, latent), _join(grad_CBHW, grad_latent)
        if grad_logdet_B is not None:
            total.logdet.add_(grad_logdet_B.sum(), alpha=_pixels(x_CBHW))
        for step, network in _backwards(level.networks):
            (y_a, y_b), (grad_a, grad_b) = x_CBHW.chunk(2), grad_CBHW.chunk(2)
            out, tape = kept.pop() if kept else _evaluated(network, y_b)
            s, t = out.chunk(2)
            y_a.sub_(t, alpha=level.bounds.shift)
            grad_s = grad_a * y_a
            if grad_logdet_B is not None:
                grad_s += grad_logdet_B[:, None, None]
            grad_out = _through_tanh(level.bounds, out, grad_s, grad_a)
            scale = (level.bounds.scale * s).exp_()
            y_a.div_(scale)
            grad_a.mul_(scale)
            grad_b += network.vjp(tape, grad_out)
            x_CBHW = _mix(level.maps.inverse_NCC[step], level.maps.inverse_bias_NC[step], x_CBHW)
            weight_CC = level.maps.weight_NCC[step]
            grad_CBHW = _unmix(weight_CC, grad_CBHW, x_CBHW, total.weight_NCC[step], total.bias_NC[step])
        x_CBHW, grad_CBHW = _unsqueeze(x_CBHW), _unsqueeze(grad_CBHW)
    assert grad_CBHW is not None
    return grad_CBHW.transpose(0, 1).contiguous()


def unwalk_down(
    levels: Sequence[LevelWalk], sums: Sequence[Maps], x_BCHW: Tensor, grad_BCHW: Tensor, kept: list[Evaluation]
) -> tuple[list[Tensor], list[Tensor]]:
    """The latents of `walk_down` and their gradients, from its result; `sums` and `kept` as in `unwalk_up`."""
    latents, grad_latents = [], []
    x_CBHW, grad_CBHW = x_BCHW.transpose(0, 1), grad_BCHW.transpose(0, 1)
    for level, total in zip(levels, sums, strict=True):
        x_CBHW, grad_CBHW = _squeeze(x_CBHW), _squeeze(grad_CBHW)
        for step, network in enumerate(level.networks):
            x_CBHW = _mix(level.maps.weight_NCC[step], level.maps.bias_NC[step], x_CBHW)
            inverse_CC = level.maps.inverse_NCC[step]
            grad_CBHW = _unmix(inverse_CC, grad_CBHW, x_CBHW, total.inverse_NCC[step], total.inverse_bias_NC[step])
            (x_a, x_b), (grad_a, grad_b) = x_CBHW.chunk(2), grad_CBHW.chunk(2)
            out, tape = kept.pop() if kept else _evaluated(network, x_b)
            s, t = out.chunk(2)
            scale = (level.bounds.scale * s).exp_()
            grad_s = -grad_a * x_a
            grad_a.div_(scale)
            grad_out = _through_tanh(level.bounds, out, grad_s, -grad_a)
            x_a.mul_(scale).add_(t, alpha=level.bounds.shift)
            grad_b += network.vjp(tape, grad_out)
        x_CBHW, latent = _split(x_CBHW, level is levels[-1])
        grad_CBHW, grad_latent = _split(grad_CBHW, level is levels[-1])
        latents.append(latent)
        grad_latents.append(grad_latent)
    return latents, grad_latents


def _evaluate(network: Network, x_CBHW: Tensor, kept: list[Evaluation] | None) -> Tensor:
    """What the network gives, after tanh."""
    out_CBHW, tape = _evaluated(network, x_CBHW)
    if kept is not None:
        kept.append((out_CBHW, tape._replace(weights=None)))
    return out_CBHW


def _evaluated(network: Network, x_CBHW: Tensor) -> Evaluation:
    out_CBHW, tape = network(x_CBHW)
    return out_CBHW.tanh_(), tape


def _through_tanh(bounds: Bounds, out_CBHW: Tensor, grad_scale: Tensor, grad_shift: Tensor) -> Tensor:
    """Gradient of the arguments of `a tanh(s)` and `b tanh(t / b)`, where `out_CBHW` holds both tanh."""
    grad = torch.cat((bounds.scale * grad_scale, bounds.shift * grad_shift)).to(out_CBHW.dtype)
    return grad.addcmul_(grad, out_CBHW.square(), value=-1)


def _pixels(x_CBHW: Tensor) -> int:
    return x_CBHW.shape[-2] * x_CBHW.shape[-1]


def _mix(weight_CC: Tensor, bias_C: Tensor, x_CBHW: Tensor) -> Tensor:
    """`y = weight x + bias` at every pixel."""
    return torch.addmm(bias_C[:, None], weight_CC, x_CBHW.flatten(1)).view(x_CBHW.shape)


def _unmix(weight_CC: Tensor, grad_CBHW: Tensor, x_CBHW: Tensor, sum_CC: Tensor, sum_C: Tensor) -> Tensor:
    """The gradient of x under `_mix`, from that of y; those of weight and bias are added to the sums."""
    grad_CP = grad_CBHW.flatten(1)
    sum_CC.addmm_(grad_CP, x_CBHW.flatten(1).t())
    sum_C += grad_CP.sum(dim=1)
    return (weight_CC.t() @ grad_CP).view(grad_CBHW.shape)


def _squeeze(x_CBHW: Tensor) -> Tensor:
    """Each 2 x 2 block of pixels into channels, in the order of `Squeeze`; a copy."""
    c, b, h, w = x_CBHW.shape
    blocks = x_CBHW.reshape(c, b, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(4 * c, b, h // 2, w // 2)


def _unsqueeze(x_CBHW: Tensor) -> Tensor:
    """The pixels back in their place; a copy."""
    c, b, h, w = x_CBHW.shape
    return x_CBHW.view(c // 4, 2, 2, b, h, w).permute(0, 3, 4, 1, 5, 2).reshape(c // 4, b, 2 * h, 2 * w)


def _split(x_CBHW: Tensor, last: bool) -> tuple[Tensor, Tensor]:
    """What goes on and the level's latent (B, C, H, W): halves, but in the last level all is latent."""
    onward, latent = (x_CBHW, x_CBHW) if last else x_CBHW.chunk(2)
    return onward, latent.transpose(0, 1).contiguous()


def _join(onward_CBHW: Tensor | None, latent_BCHW: Tensor) -> Tensor:
    """The inverse of `_split`; a copy."""
    latent_CBHW = latent_BCHW.transpose(0, 1)
    if onward_CBHW is None:
        return latent_CBHW.clone(memory_format=torch.contiguous_format)
    return torch.cat((onward_CBHW, latent_CBHW))


def _backwards(networks: Sequence[Network]) -> Iterable[tuple[int, Network]]:
    return zip(range(len(networks) - 1, -1, -1), reversed(networks), strict=True)
