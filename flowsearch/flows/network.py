"""The coupling networks of a level written out as matrix products, forward and backward, with the weights that both
share.

Shapes: channels first, C x B x H x W (C channels, B images, H x W pixels; P = B H W); N hidden channels; K = 9 C values
in the 3 x 3 neighbourhood of a pixel; S steps of flow. The small side of each 3 x 3 convolution is unfolded, so that
all work is in products with P x N matrices.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from flowsearch.flows.coupling import Bounds, CouplingNet, ScaledConv
from flowsearch.flows.products import column_sums, fold, linear_relu, mask, product, unfold


class Weights(NamedTuple):
    """What the network multiplies by, scales included; `last` yields s and t / b, the arguments of the two tanh, and
    has its neighbourhoods turned by half a turn, since folding is the adjoint of unfolding."""

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


class Sums(dict[str, Tensor]):
    """Gradients of what a network multiplies by and adds, added up over any number of uses."""

    def add(self, name: str, value: Tensor) -> None:
        """Add `value`, which may become the sum itself."""
        if name in self:
            self[name] += value
        else:
            self[name] = value


class Networks:
    """The coupling networks of a level, their products in `dtype`, from any type to that of the parameters.

    What concerns vectors (scales, biases and their gradients) is done for all steps together. What is made of the
    parameters is kept until `release`: the vectors, and the weights where they are in another type than the modules'.
    """

    def __init__(self, modules: Sequence[CouplingNet], bounds: Bounds, dtype: torch.dtype) -> None:
        reference = modules[0].last.bias
        self.dtype, self.held = dtype, reference.dtype
        self.learns = any(parameter.requires_grad for module in modules for parameter in module.parameters())
        halves_C = torch.ones_like(reference, requires_grad=False)
        halves_C[len(halves_C) // 2 :] /= bounds.shift
        self.layers = {
            "first": _Layer([module.first for module in modules], None),
            "middle": _Layer([module.middle for module in modules], None),
            "last": _Layer([module.last for module in modules], halves_C),
        }
        self.steps = [Network(self, step, module) for step, module in enumerate(modules)]
        self._vectors: dict[str, tuple[Tensor, Tensor]] | None = None

    def vectors(self, layer: str, step: int) -> tuple[Tensor, Tensor]:
        """What a step's convolution `layer` multiplies its weight by, and what it adds, (C,)."""
        if self._vectors is None:
            self._vectors = {name: layer.vectors() for name, layer in self.layers.items()}
        scale_SC, bias_SC = self._vectors[layer]
        return scale_SC[step], bias_SC[step]

    def parameters(self) -> list[Tensor]:
        """The modules' parameters, in the order of `gradients`."""
        return [parameter for network in self.steps for parameter in network.module.parameters()]

    def gradients(self) -> list[Tensor | None]:
        """Gradients of `parameters` from the sums that `vjp` left, which are used up."""
        sums = [network.sums for network in self.steps]
        self.forget()
        if not all(sums):
            return [None] * len(self.parameters())
        # Each sum goes as its gradient comes, so that a level's are not there twice.
        weights = {
            "first": (each.pop("first_KN").unflatten(0, (3, 3, -1)).permute(3, 2, 0, 1) for each in sums),
            "middle": (each.pop("middle_NN")[:, :, None, None] for each in sums),
            "last": (each.pop("last_KN").unflatten(0, (3, 3, -1)).flip(0, 1).permute(2, 3, 0, 1) for each in sums),
        }
        biases = {"first": "first_bias_N", "middle": "middle_bias_N", "last": "last_bias_C"}
        found = {
            name: layer.gradients(weights[name], torch.stack([each[biases[name]] for each in sums]))
            for name, layer in self.layers.items()
        }
        return [
            found[layer][parameter][step]
            for step, network in enumerate(self.steps)
            for layer, parameter in (name.split(".") for name, _ in network.module.named_parameters())
        ]

    def release(self) -> None:
        """Let go of what was kept of the parameters."""
        self._vectors = None
        for network in self.steps:
            network.weights = None

    def forget(self) -> None:
        """Drop the sums, of a backward pass that did not come to its end."""
        for network in self.steps:
            network.sums = Sums()


class Network:
    """`(s, t / b) = NN(x)` of one coupling.

    `vjp` adds the gradients of what it multiplies by and adds up in `sums`, over any number of uses, if the level
    `learns`.
    """

    def __init__(self, level: Networks, step: int, module: CouplingNet) -> None:
        self.level, self.step, self.module = level, step, module
        self.weights: Weights | None = None
        self.sums = Sums()

    def __call__(self, x_CBHW: Tensor) -> tuple[Tensor, Tape]:
        """The output, (2 C, B, H, W), and the tape for `vjp`."""
        weights = self.weights or self._prepare()
        columns_KP = unfold(x_CBHW, self.level.dtype)
        first_PN = linear_relu(columns_KP.t(), weights.first_NK, weights.first_bias_N)
        middle_PN = linear_relu(first_PN, weights.middle_NN, weights.middle_bias_N)
        linear_CBHW = fold(product(weights.last_KN, middle_PN.t(), self.level.held), x_CBHW.shape[1:])
        out_CBHW = linear_CBHW + weights.last_bias_C[:, None, None, None]
        return out_CBHW, Tape(weights, columns_KP, first_PN, middle_PN)

    def vjp(self, tape: Tape, grad_CBHW: Tensor) -> Tensor:
        """The gradient of the input; uses the tape up."""
        weights = tape.weights or self.weights or self._prepare()
        _, columns_KP, first_PN, middle_PN = tape
        dtype, held, learns, sums = self.level.dtype, self.level.held, self.level.learns, self.sums
        taps_KP = unfold(grad_CBHW, dtype)
        if learns:
            sums.add("last_bias_C", grad_CBHW.sum(dim=(1, 2, 3)))
            sums.add("last_KN", product(taps_KP, middle_PN, held))
        grad_PN = product(taps_KP.t(), weights.last_KN, dtype)
        mask(grad_PN, middle_PN)
        if learns:
            sums.add("middle_bias_N", column_sums(grad_PN, held))
            sums.add("middle_NN", product(grad_PN.t(), first_PN, held))
        grad_PN = product(grad_PN, weights.middle_NN, dtype)
        mask(grad_PN, first_PN)
        if learns:
            sums.add("first_bias_N", column_sums(grad_PN, held))
            sums.add("first_KN", product(columns_KP, grad_PN, held))
        return fold(product(weights.first_NK.t(), grad_PN.t(), held), grad_CBHW.shape[1:])

    @torch.no_grad()
    def _prepare(self) -> Weights:
        first, first_bias_N = self._scaled("first", (0, 2, 3, 1))
        middle, middle_bias_N = self._scaled("middle", (0, 2, 3, 1))
        last, last_bias_C = self._scaled("last", (2, 3, 0, 1))
        weights = Weights(
            first.flatten(1),
            first_bias_N.to(self.level.dtype),
            middle.flatten(1),
            middle_bias_N.to(self.level.dtype),
            last.flip(0, 1).flatten(0, 2),
            last_bias_C,
        )
        if self.level.dtype != self.level.held:
            self.weights = weights
        return weights

    def _scaled(self, layer: str, order: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Weight, its axes in `order`, and bias of a convolution, with all that is folded into them."""
        scale_C, bias_C = self.level.vectors(layer, self.step)
        weight = self.level.layers[layer].convs[self.step].weight.permute(order)
        result = torch.empty(weight.shape, dtype=self.level.dtype, device=weight.device)
        return torch.mul(weight, scale_C[:, None, None, None].permute(order), out=result), bias_C


class _Layer:
    """One of the three convolutions in all networks of a level, which multiply by `weight exp(log_scale) factor` and
    add `(bias exp(log_scale) + shift) factor`."""

    def __init__(self, convs: Sequence[ScaledConv], factor_C: Tensor | None) -> None:
        self.convs, self.factor_C = convs, factor_C

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        """`exp(log_scale) factor`, and what is added, (S, C)."""
        scale_SC = self._by_factor(torch.stack([conv.log_scale for conv in self.convs]).exp_())
        bias_SC = self._biases() * scale_SC
        shifts: list[Tensor] = [conv.shift for conv in self.convs if conv.shift is not None]
        return scale_SC, bias_SC + self._by_factor(torch.stack(shifts)) if shifts else bias_SC

    @torch.no_grad()
    def gradients(self, weights: Iterable[Tensor], bias_SC: Tensor) -> dict[str, Sequence[Tensor]]:
        """Gradients of the parameters of each step's convolution, from those of what the network multiplies by, in the
        shape of the convolution's weight, and of what it adds."""
        scale_SC, _ = self.vectors()
        of_bias_SC = bias_SC * scale_SC
        of_weights, dots = [], []
        for conv, weight, scale_C in zip(self.convs, weights, scale_SC, strict=True):
            of_weights.append(torch.mul(weight, scale_C[:, None, None, None], out=torch.empty_like(conv.weight)))
            dots.append(torch.linalg.vecdot(of_weights[-1].flatten(1), conv.weight.flatten(1)))
        of_log_scale_SC = torch.stack(dots).addcmul_(of_bias_SC, self._biases())
        # In one block: many small ones that stay leave holes in the memory of a process.
        vectors = torch.stack((of_bias_SC, of_log_scale_SC, self._by_factor(bias_SC))).unbind()
        return {"weight": of_weights} | dict(zip(("bias", "log_scale", "shift"), map(list, vectors), strict=True))

    def _biases(self) -> Tensor:
        return torch.stack([conv.bias.detach() for conv in self.convs])

    def _by_factor(self, values_SC: Tensor) -> Tensor:
        return values_SC if self.factor_C is None else values_SC * self.factor_C
