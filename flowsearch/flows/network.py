"""The coupling network written out as matrix products, forward and backward, with the weights that both share.

Shapes: channels first, C x B x H x W (C channels, B images, H x W pixels; P = B H W); N hidden channels; K = 9 C values
in the 3 x 3 neighbourhood of a pixel. The small side of each 3 x 3 convolution is unfolded, so that all work is in
products with P x N matrices.
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from flowsearch.flows.bfloat16 import has_bfloat16
from flowsearch.flows.coupling import SHIFT_BOUND, CouplingNet, ScaledConv


class Weights(NamedTuple):
    """What the network multiplies by, scales included; `last` yields s and t / b, the arguments of the two tanh."""

    first_NK: Tensor
    first_bias_N: Tensor
    middle_NN: Tensor
    middle_bias_N: Tensor
    last_KN: Tensor
    last_bias_C: Tensor


class Tape(NamedTuple):
    """What the backward pass needs of one evaluation: the unfolded input and the values of both hidden layers, and the
    weights, which are made again where they are None."""

    weights: Weights | None
    columns_KP: Tensor
    first_PN: Tensor
    middle_PN: Tensor


class Sums:
    """Gradients of a network's weights, added up in `dtype` over any number of uses; the first is taken as it is."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.values: dict[str, Tensor] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Add `value`, which may become the sum itself."""
        if name in self.values:
            self.values[name] += value
        else:
            self.values[name] = value.to(self.dtype)

    def add_product(self, name: str, left: Tensor, right: Tensor) -> None:
        """Add `left @ right`."""
        self.add(name, _product(left, right))


class Network:
    """`(s, t / b) = NN(x)` of one coupling, its products in `dtype`, from any type to that of the parameters.

    `vjp` adds the gradients of the weights up, over any number of uses, if the module `learns`; `gradients` turns the
    sums into gradients of the module's parameters. Weights in another type than the module's are kept until `release`.
    """

    def __init__(self, module: CouplingNet, dtype: torch.dtype) -> None:
        self.module, self.dtype = module, dtype
        self.held = module.last.bias.dtype
        self.learns = any(parameter.requires_grad for parameter in module.parameters())
        self._weights: Weights | None = None
        self._sums: Sums | None = None
        self._halves_C = torch.ones_like(module.last.bias, requires_grad=False)
        self._halves_C[len(self._halves_C) // 2 :] /= SHIFT_BOUND

    def __call__(self, x_CBHW: Tensor) -> tuple[Tensor, Tape]:
        """The output, (2 C, B, H, W), and the tape for `vjp`."""
        weights = self._weights or self._prepare()
        columns_KP = unfold(x_CBHW, self.dtype)
        first_PN = _linear_relu(columns_KP.t(), weights.first_NK, weights.first_bias_N)
        middle_PN = _linear_relu(first_PN, weights.middle_NN, weights.middle_bias_N)
        out_CBHW = fold(_product(weights.last_KN, middle_PN.t()), x_CBHW.shape[1:], self.held, mirrored=True)
        out_CBHW += weights.last_bias_C[:, None, None, None]
        return out_CBHW, Tape(weights, columns_KP, first_PN, middle_PN)

    def vjp(self, tape: Tape, grad_CBHW: Tensor) -> Tensor:
        """The gradient of the input; uses the tape up."""
        weights = tape.weights or self._weights or self._prepare()
        _, columns_KP, first_PN, middle_PN = tape
        sums = self._sums = self._sums or Sums(self.held)
        taps_KP = unfold(grad_CBHW, self.dtype, mirrored=True)
        if self.learns:
            sums.add("last_bias_C", grad_CBHW.sum(dim=(1, 2, 3)))
            sums.add_product("last_KN", taps_KP, middle_PN)
        grad_PN = _product(taps_KP.t(), weights.last_KN)
        _mask(grad_PN, middle_PN)
        if self.learns:
            sums.add("middle_bias_N", grad_PN.sum(dim=0))
            sums.add_product("middle_NN", grad_PN.t(), first_PN)
        grad_PN = _product(grad_PN, weights.middle_NN)
        _mask(grad_PN, first_PN)
        if self.learns:
            sums.add("first_bias_N", grad_PN.sum(dim=0))
            sums.add_product("first_KN", columns_KP, grad_PN)
        return fold(_product(weights.first_NK.t(), grad_PN.t()), grad_CBHW.shape[1:], self.held)

    def parameters(self) -> list[Tensor]:
        """The module's parameters, in the order of `gradients`."""
        return list(self.module.parameters())

    def gradients(self) -> list[Tensor | None]:
        """Gradients of `parameters` from the sums that `vjp` left, which are used up."""
        sums, self._sums = self._sums, None
        if sums is None or not self.learns:
            return [None] * len(self.parameters())
        module, values = self.module, sums.values
        first = values["first_KN"].unflatten(0, (3, 3, -1)).permute(3, 2, 0, 1)
        middle = values["middle_NN"][:, :, None, None]
        last = values["last_KN"].unflatten(0, (3, 3, -1)).permute(2, 3, 0, 1)
        by_name = {
            "first": _unscaled(module.first, first, values["first_bias_N"], None),
            "middle": _unscaled(module.middle, middle, values["middle_bias_N"], None),
            "last": _unscaled(module.last, last, values["last_bias_C"], self._halves_C),
        }
        names = (name.split(".") for name, _ in module.named_parameters())
        return [by_name[layer][parameter] for layer, parameter in names]

    def release(self) -> None:
        """Let go of the weights that were kept."""
        self._weights = None

    def forget(self) -> None:
        """Drop the sums of a backward pass that did not come to its end."""
        self._sums = None

    @torch.no_grad()
    def _prepare(self) -> Weights:
        module, dtype = self.module, self.dtype
        first, first_bias_N = _scaled(module.first, None, (0, 2, 3, 1), dtype)
        middle, middle_bias_N = _scaled(module.middle, None, (0, 2, 3, 1), dtype)
        last, last_bias_C = _scaled(module.last, self._halves_C, (2, 3, 0, 1), dtype)
        weights = Weights(
            first.flatten(1),
            first_bias_N.to(dtype),
            middle.flatten(1),
            middle_bias_N.to(dtype),
            last.flatten(0, 2),
            last_bias_C,
        )
        if dtype != module.first.weight.dtype:
            self._weights = weights
        return weights


def unfold(x_CBHW: Tensor, dtype: torch.dtype, *, mirrored: bool = False) -> Tensor:
    """The 3 x 3 neighbourhood of every pixel, zeros beyond the border: (K, P), rows in the order (3, 3, C).

    `mirrored` turns each neighbourhood by half a turn, as the adjoint of a convolution wants it.
    """
    channels, batch, height, width = x_CBHW.shape
    padded = x_CBHW.new_zeros(channels, batch, height + 2, width + 2, dtype=dtype)
    padded[:, :, 1:-1, 1:-1] = x_CBHW
    c, b, h, w = padded.stride()
    windows = padded.as_strided((3, 3, channels, batch, height, width), (h, w, c, b, h, w))
    columns = windows.reshape(9, channels, batch * height * width)
    return (columns.flip(0) if mirrored else columns).flatten(0, 1)


def fold(columns_KP: Tensor, shape_BHW: torch.Size, dtype: torch.dtype, *, mirrored: bool = False) -> Tensor:
    """The adjoint of `unfold`: every neighbourhood added where it came from, (C, B, H, W)."""
    batch, height, width = shape_BHW
    windows = columns_KP.to(dtype).view(9, -1, batch, height, width)
    padded = windows.new_zeros(windows.shape[1], batch, height + 2, width + 2)
    for tap in range(9):
        i, j = divmod(8 - tap if mirrored else tap, 3)
        padded[:, :, i : i + height, j : j + width].add_(windows[tap])
    return padded[:, :, 1:-1, 1:-1]


def _scaled(
    layer: ScaledConv, factor_C: Tensor | None, order: tuple[int, ...], dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Weight, its axes in `order`, and bias of a layer with its scale, its shift and `factor_C` in them."""
    scale = layer.log_scale.exp()
    bias = layer.bias * scale if layer.shift is None else torch.addcmul(layer.shift, layer.bias, scale)
    if factor_C is not None:
        scale, bias = scale * factor_C, bias * factor_C
    weight = layer.weight.permute(order)
    result = torch.empty(weight.shape, dtype=dtype, device=weight.device)
    return torch.mul(weight, scale[:, None, None, None].permute(order), out=result), bias


def _unscaled(layer: ScaledConv, weight: Tensor, bias: Tensor, factor_C: Tensor | None) -> dict[str, Tensor]:
    """Gradients of a layer's parameters from those of `_scaled`'s results."""
    scale = layer.log_scale.detach().exp()
    factor = scale if factor_C is None else scale * factor_C
    scaled = torch.mul(weight, factor[:, None, None, None], out=torch.empty_like(layer.weight, requires_grad=False))
    log_scale = torch.linalg.vecdot(scaled.flatten(1), layer.weight.detach().flatten(1))
    return {
        "weight": scaled,
        "bias": bias * factor,
        "log_scale": log_scale + bias * factor * layer.bias.detach(),
        "shift": bias if factor_C is None else bias * factor_C,
    }


def _linear_relu(x_PC: Tensor, weight_NC: Tensor, bias_N: Tensor) -> Tensor:
    """`max(0, x weight^T + bias)`, on a CPU by oneDNN's product that does all at once: a pass over the result takes
    half as long as a product in bfloat16."""
    if x_PC.device.type == "cpu" and x_PC.dtype in _in_onednn():
        return torch.ops.mkldnn._linear_pointwise(x_PC.contiguous(), weight_NC, bias_N, "relu", [], "")
    return torch.addmm(bias_N, x_PC, weight_NC.t()).relu_()


def _product(left: Tensor, right: Tensor) -> Tensor:
    """`left @ right`, on a CPU by oneDNN in float32 too: torch has it from MKL, which leaves AVX-512 unused on AMD's
    and is half as fast there."""
    if left.device.type == "cpu" and left.dtype == torch.float32 and left.dtype in _in_onednn():
        return torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "")
    return left @ right


@cache
def _in_onednn() -> tuple[torch.dtype, ...]:
    """The types in which oneDNN multiplies on this CPU."""
    if not torch.backends.mkldnn.is_available():
        return ()
    return (torch.float32, torch.bfloat16) if has_bfloat16("cpu") else (torch.float32,)


def _mask(grad: Tensor, output: Tensor) -> None:
    """The backward pass of ReLU from its output, in place."""
    torch.ops.aten.threshold_backward.grad_input(grad, output, 0, grad_input=grad)
