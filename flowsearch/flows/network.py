"""The coupling network written out as matrix products, forward and backward, with the weights that both share.

Shapes: channels first, C x B x H x W (C channels, B images, H x W pixels; P = B H W); N hidden channels; K = 9 C values
in the 3 x 3 neighbourhood of a pixel. The small side of each 3 x 3 convolution is unfolded, so that all work is in
products with P x N matrices.
"""

from typing import NamedTuple

import torch
from torch import Tensor

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
    """What the backward pass needs of one evaluation: the unfolded input and the values of both hidden layers."""

    weights: Weights
    columns_KP: Tensor
    first_PN: Tensor
    middle_PN: Tensor


class Network:
    """`(s, t / b) = NN(x)` of one coupling, in `dtype`, from float32 (or float64) to the same.

    `vjp` adds the gradients of the weights up, over any number of uses; `gradients` turns the sums into gradients of
    the module's parameters. `keep` holds on to the weights in `dtype` until `release`.
    """

    def __init__(self, module: CouplingNet, dtype: torch.dtype) -> None:
        self.module, self.dtype = module, dtype
        self.keep = dtype != module.first.weight.dtype
        self._weights: Weights | None = None
        self._sums: list[Tensor] | None = None

    def __call__(self, x_CBHW: Tensor) -> tuple[Tensor, Tape]:
        """The output, (2 C, B, H, W), and the tape for `vjp`."""
        weights = self._weights or self._prepare()
        columns_KP = unfold(x_CBHW, self.dtype)
        first_PN = _linear_relu(columns_KP.t(), weights.first_NK, weights.first_bias_N)
        middle_PN = _linear_relu(first_PN, weights.middle_NN, weights.middle_bias_N)
        out_CBHW = fold(weights.last_KN @ middle_PN.t(), x_CBHW.shape[1:], x_CBHW.dtype)
        out_CBHW += weights.last_bias_C[:, None, None, None]
        return out_CBHW, Tape(weights, columns_KP, first_PN, middle_PN)

    def vjp(self, tape: Tape, grad_CBHW: Tensor) -> Tensor:
        """The gradient of the input; uses the tape up."""
        weights, columns_KP, first_PN, middle_PN = tape
        grad_taps_KP = unfold(grad_CBHW, self.dtype)
        self._sums = self._sums or _zeros(weights, grad_CBHW.dtype)
        first_KN, first_N, middle_NN, middle_N, last_KN, last_C = self._sums
        last_C += grad_CBHW.sum(dim=(1, 2, 3))
        _add_product(last_KN, grad_taps_KP, middle_PN)
        grad_PN = grad_taps_KP.t() @ weights.last_KN
        _mask(grad_PN, middle_PN)
        _add_product(middle_NN, grad_PN.t(), first_PN)
        middle_N += grad_PN.sum(dim=0)
        grad_PN = torch.mm(grad_PN, weights.middle_NN, out=middle_PN)
        _mask(grad_PN, first_PN)
        _add_product(first_KN, columns_KP, grad_PN)
        first_N += grad_PN.sum(dim=0)
        return fold(weights.first_NK.t() @ grad_PN.t(), grad_CBHW.shape[1:], grad_CBHW.dtype)

    def parameters(self) -> list[Tensor]:
        """The module's parameters, in the order of `gradients`."""
        return list(self.module.parameters())

    def gradients(self) -> list[Tensor | None]:
        """Gradients of `parameters` from the sums that `vjp` left, which are used up."""
        sums, self._sums = self._sums, None
        if sums is None:
            return [None] * len(self.parameters())
        first_KN, first_N, middle_NN, middle_N, last_KN, last_C = sums
        module = self.module
        first = first_KN.view(3, 3, -1, first_KN.shape[1]).permute(3, 2, 0, 1).contiguous()
        last = last_KN.view(3, 3, len(last_C), -1).flip(0, 1).permute(2, 3, 0, 1).contiguous()
        by_name = {
            "first": _unscaled(module.first, first, first_N, None),
            "middle": _unscaled(module.middle, middle_NN[:, :, None, None], middle_N, None),
            "last": _unscaled(module.last, last, last_C, _halves(last_C)),
        }
        names = (name.split(".") for name, _ in module.named_parameters())
        return [by_name[layer][parameter] for layer, parameter in names]

    def release(self) -> None:
        """Let go of the weights that `keep` holds."""
        self._weights = None

    def forget(self) -> None:
        """Drop the sums of a backward pass that did not come to its end."""
        self._sums = None

    @torch.no_grad()
    def _prepare(self) -> Weights:
        first, first_bias_N = _scaled(self.module.first, None)
        middle, middle_bias_N = _scaled(self.module.middle, None)
        last, last_bias_C = _scaled(self.module.last, _halves(self.module.last.bias))
        weights = Weights(
            first.permute(0, 2, 3, 1).flatten(1).to(self.dtype),
            first_bias_N.to(self.dtype),
            middle[:, :, 0, 0].to(self.dtype),
            middle_bias_N.to(self.dtype),
            last.to(self.dtype).flip(2, 3).permute(2, 3, 0, 1).flatten(0, 2),
            last_bias_C,
        )
        if self.keep:
            self._weights = weights
        return weights


def unfold(x_CBHW: Tensor, dtype: torch.dtype) -> Tensor:
    """The 3 x 3 neighbourhood of every pixel, zeros beyond the border: (K, P), rows in the order (3, 3, C)."""
    channels, batch, height, width = x_CBHW.shape
    padded = x_CBHW.new_zeros(channels, batch, height + 2, width + 2, dtype=dtype)
    padded[:, :, 1:-1, 1:-1] = x_CBHW
    c, b, h, w = padded.stride()
    windows = padded.as_strided((3, 3, channels, batch, height, width), (h, w, c, b, h, w))
    return windows.reshape(9 * channels, batch * height * width)


def fold(columns_KP: Tensor, shape_BHW: torch.Size, dtype: torch.dtype) -> Tensor:
    """The adjoint of `unfold`: every neighbourhood added where it came from, (C, B, H, W)."""
    batch, height, width = shape_BHW
    windows = columns_KP.to(dtype).view(3, 3, -1, batch, height, width)
    padded = windows.new_zeros(windows.shape[2], batch, height + 2, width + 2)
    for i in range(3):
        for j in range(3):
            padded[:, :, i : i + height, j : j + width].add_(windows[i, j])
    return padded[:, :, 1:-1, 1:-1]


def _halves(like_C: Tensor) -> Tensor:
    """1 for the channels of s, 1 / b for those of t."""
    factor_C = torch.ones_like(like_C)
    factor_C[len(factor_C) // 2 :] /= SHIFT_BOUND
    return factor_C


def _scaled(layer: ScaledConv, factor_C: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer with its scale, its shift and `factor_C` in them."""
    scale = layer.log_scale.exp()
    bias = layer.bias * scale if layer.shift is None else torch.addcmul(layer.shift, layer.bias, scale)
    if factor_C is not None:
        scale, bias = scale * factor_C, bias * factor_C
    return layer.weight * scale[:, None, None, None], bias


def _unscaled(layer: ScaledConv, weight: Tensor, bias: Tensor, factor_C: Tensor | None) -> dict[str, Tensor]:
    """Gradients of a layer's parameters from those of `_scaled`'s results; `weight` is overwritten."""
    if factor_C is not None:
        bias = bias * factor_C
        weight *= factor_C[:, None, None, None]
    scale = layer.log_scale.detach().exp()
    weight *= scale[:, None, None, None]
    log_scale = torch.linalg.vecdot(weight.flatten(1), layer.weight.detach().flatten(1))
    return {
        "weight": weight,
        "bias": bias * scale,
        "log_scale": log_scale + bias * scale * layer.bias.detach(),
        "shift": bias,
    }


def _zeros(weights: Weights, dtype: torch.dtype) -> list[Tensor]:
    shapes = [weights.first_NK.t().shape, *(weight.shape for weight in weights[1:])]
    return [torch.zeros(shape, dtype=dtype, device=weights.last_KN.device) for shape in shapes]


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """`total += left @ right`; `total` may be more precise than the product."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += torch.mm(left, right)


def _linear_relu(x_PC: Tensor, weight_NC: Tensor, bias_N: Tensor) -> Tensor:
    """`max(0, x weight^T + bias)`, on a CPU by oneDNN's product that does all at once: a pass over the result takes
    half as long as a product in bfloat16."""
    if x_PC.device.type == "cpu" and x_PC.dtype != torch.float64 and torch.backends.mkldnn.is_available():
        return torch.ops.mkldnn._linear_pointwise(x_PC.contiguous(), weight_NC, bias_N, "relu", [], "")
    return torch.addmm(bias_N, x_PC, weight_NC.t()).relu_()


def _mask(grad: Tensor, output: Tensor) -> None:
    """The backward pass of ReLU from its output, in place."""
    torch.ops.aten.threshold_backward.grad_input(grad, output, 0, grad_input=grad)
