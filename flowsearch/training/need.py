"""How much memory a trial's training needs: parameters exactly, activations by a formula; without running anything.

Weights, gradients and Adam's two moments take 16 bytes a parameter. Of a ResNet or U-Net the tensors that autograd
keeps are counted on torch's meta device, of a map of one's own on the CPU. Of a Glow, each coupling network's
evaluation keeps its unfolded input and both hidden layers (`flows.network.Tape`); `memory` says how many of them at
once. The formula is generous: of 16 shapes measured on a CPU it gave 1.06 to 1.75 times as much, of 6 more of prox
score 1.4 to 1.9 times; of three whole trials on a GPU, weights and all, 0.998 (a U-Net) to 1.15 times.
"""

from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import nn

from flowsearch.flows.steps import Level
from flowsearch.models.prox import COMPUTED_AGAIN
from flowsearch.training.build import build_prox
from flowsearch.training.config import TrialConfig
from flowsearch.training.evaluate import BATCH
from flowsearch.training.prox_names import FLOWS, PROXES

STATE_BYTES = 16
"""A parameter's weight, gradient and both of Adam's moments, in float32."""

_AT_WORK = 4
"""Evaluations of a coupling network's size that a step of the flow takes while it is computed backward."""

_JUDGED = 18
"""Images of the same size that each of a batch takes while it is judged, in double precision, or made by a method
without a network."""

_SOLVED = 48
"""The same while L-BFGS solves for it, with a history of ten steps, beside the flow's gradient."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Memory of a trial or of a pre-training, in bytes."""

    parameters: int
    activation_bytes: int
    """Peak of a step above weights, gradients and the optimizer's state."""
    evaluation_bytes: int
    """The same of validation and the last evaluation, with the images that they keep on the device."""

    @property
    def bytes(self) -> int:
        """All of it, of whichever takes more."""
        return STATE_BYTES * self.parameters + max(self.activation_bytes, self.evaluation_bytes)

    def at_least(self, measured: int | None) -> int:
        """What was `measured`, of steps or of a trial with fewer images to evaluate; all of it where nothing was."""
        if measured is None:
            return self.bytes
        return max(measured, STATE_BYTES * self.parameters + self.evaluation_bytes)


def estimate(config: TrialConfig, channels: int = 3) -> Need:
    """The need of the trial's longest phase, on images of `channels`."""
    batch, size = config.batch_size or 1, config.data.size
    image = 4 * batch * channels * size**2
    judged = _evaluation(config, channels)
    if config.prox is None:
        return Need(parameters=0, activation_bytes=0, evaluation_bytes=judged)
    if config.method == "map":
        return Need(parameters=flow_parameters(config, channels), activation_bytes=0, evaluation_bytes=judged)
    each, kept, shrinks = _prox_cost(config, channels)
    folds, mapped = (config.folds or 1, config.mapped_folds) if config.method == "unrolled" else (1, 1)
    copies = mapped if config.weights == "untied" else 1
    scalars = folds * (1 + shrinks) if config.method == "unrolled" else 0
    parameters = copies * each + scalars
    if config.prox in FLOWS:
        held = _flow_activations(config, channels, mapped, batch)
    else:
        held = int(kept * batch * (mapped + 0.3))  # what the backward pass of one fold takes for itself
    held += 2 * each * copies if config.precision == "bf16" else 0  # the weights in bf16
    return Need(parameters=parameters, activation_bytes=held + 8 * folds * image, evaluation_bytes=judged)


def _evaluation(config: TrialConfig, channels: int) -> int:
    """Images and measurements of the validation and the test set on the device, and whichever takes more: a batch of
    them in the network without a tape, or judged, or the measurements while they are put together."""
    image, test = 4 * channels * config.data.size**2, config.data.test
    batch = min(BATCH, max(config.data.val, test))
    if config.prox is None:
        network = 0
    elif config.method == "map":
        network = _SOLVED * batch * image + 2 * _flow_evaluation(config, channels, batch)
    elif config.prox in FLOWS:
        network = _flow_evaluation(config, channels, batch)
    else:
        network = int(0.4 * _prox_cost(config, channels)[1] * batch)
    together = max(config.data.val, test) * image
    return 2 * (config.data.val + test) * image + max(network, _JUDGED * batch * image, together)


def _flow_evaluation(config: TrialConfig, channels: int, batch: int) -> int:
    """Of a walk forward, of plain layers, or of a score, which differentiates the whole flow."""
    if config.prox == "score":
        kept, share = "autograd", 0.4
    else:
        kept, share = "invertible", 0.7 if config.memory in ("invertible", "networks") else 0.35
    alone = replace(config, prox="glow", method="unrolled", memory=kept, pretrain=None)
    return int(share * _flow_activations(alone, channels, 1, batch))


def flow_parameters(config: TrialConfig, channels: int) -> int:
    """Parameters of the trial's Glow, exactly: those of one step of each level, times its steps."""
    return sum(steps * _step_parameters(channels * 2**index, config.hidden or 0) for index, steps in _depths(config))


def _depths(config: TrialConfig) -> list[tuple[int, int]]:
    assert config.levels and config.depth and config.last_depth
    return list(enumerate([config.depth] * (config.levels - 1) + [config.last_depth]))


@cache
def _step_parameters(channels: int, hidden: int) -> int:
    return _count(Level(channels, 1, hidden, torch.Generator()))


def _flow_activations(config: TrialConfig, channels: int, folds: int, batch: int) -> int:
    assert config.hidden and config.memory
    width = 2 if config.precision == "bf16" else 4
    tapes = []
    for index, steps in _depths(config):
        inner = 4 * channels * 2**index
        pixels = batch * (config.data.size // 2 ** (index + 1)) ** 2
        tapes.append((steps, width * pixels * (9 * inner // 2 + 2 * config.hidden) + 4 * pixels * 6 * inner))
    largest = max(tape for _, tape in tapes)
    working = _AT_WORK * largest
    if config.prox == "score":
        folds = 1 if config.memory in COMPUTED_AGAIN else folds
    elif config.memory == "invertible":
        return working
    elif config.memory == "checkpoint":
        return working + max(steps * tape for steps, tape in tapes)
    return working + 2 * folds * sum(steps * tape for steps, tape in tapes)


def estimate_prior(config: TrialConfig, channels: int = 3) -> Need:
    """The need of a step of pre-training the trial's flow: one pass through the flow, not two."""
    flow = flow_parameters(config, channels)
    batch = config.prior.batch_size
    alone = replace(config, prox="glow", memory=config.prior.memory)
    image = 4 * batch * channels * config.data.size**2
    return Need(
        parameters=flow,
        activation_bytes=_flow_activations(alone, channels, 1, batch) + 8 * image,
        evaluation_bytes=_flow_evaluation(config, channels, BATCH) + 8 * image * BATCH // batch,
    )


def _prox_cost(config: TrialConfig, channels: int) -> tuple[int, int, bool]:
    """Parameters of one proximal map, the bytes that autograd keeps for one image, and whether it shrinks."""
    if config.prox in FLOWS:
        return flow_parameters(config, channels), 0, True
    alone = TrialConfig(
        data=config.data,
        method=config.method,
        prox=config.prox,
        prox_parameters=config.prox_parameters,
        features=config.features,
        blocks=config.blocks,
        channels=config.channels,
        precision=config.precision,
    )
    return _network_cost(alone, channels + (config.method == "pnp"))  # its denoiser is told the noise as an image


@cache
def _network_cost(config: TrialConfig, channels: int) -> tuple[int, int, bool]:
    # A map of one's own is tried as it is built, which takes real numbers.
    device = "meta" if config.prox in PROXES else "cpu"
    with torch.device(device):
        prox = build_prox(config, channels)
        x_BCHW = torch.zeros(2, channels, config.data.size, config.data.size)
    held: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        held[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        prox(x_BCHW, torch.zeros((), device=device))
    for parameter in prox.parameters():
        held.pop(parameter.untyped_storage()._cdata, None)
    width = 2 if config.precision == "bf16" else 1
    return _count(prox), sum(held.values()) // 2 // width, prox.shrinks


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
