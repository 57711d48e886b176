"""From a trial's configuration to its network."""

import torch
from torch import optim

from flowsearch.flows import Glow
from flowsearch.models import GlowProx, ProximalMap, ResNetProx, UNetProx, Unrolled
from flowsearch.models.own_prox import own_prox
from flowsearch.models.unrolled import untie
from flowsearch.operators import LinearOperator, Task
from flowsearch.training.config import TrialConfig
from flowsearch.training.prox_names import PROXES, read_parameters


def build_flow(config: TrialConfig, channels: int) -> Glow:
    """A fresh Glow of the trial's architecture; its weights depend on the seed and the architecture only."""
    assert config.levels and config.depth and config.hidden and config.last_depth and config.memory
    return Glow(
        channels=channels,
        size=config.data.size,
        levels=config.levels,
        depth=config.depth,
        hidden=config.hidden,
        last_depth=config.last_depth,
        memory=config.memory,
        generator=torch.Generator().manual_seed(config.seed),
    )


def build_model(
    config: TrialConfig, channels: int, prior: Glow | None = None, operator: LinearOperator | None = None
) -> Unrolled:
    """The unrolled network of a trial; where a `prior` is given, every fold starts from it (paper section IV-C).

    `operator` is the one of the trial's task; it is made where it is not given.
    """
    if operator is None:
        operator = Task.named(config.task, config.data.size, channels).operator
    prox = build_prox(config, channels, prior)
    proxes = [prox] if config.weights == "tied" else untie(prox, config.folds)
    assert config.start is not None
    return Unrolled(operator, proxes, config.folds, start=config.start, end=config.end, precision=config.precision)


def build_optimizer(model: Unrolled, config: TrialConfig) -> optim.Optimizer:
    """Adam with two rates: `lr` for the networks, `scalar_lr` for mu and lambda (paper section VI-A).

    Each group's `peak` is its full rate (see `loop.set_rate`).
    """
    scalars = model.scalars()
    networks = list(model.proxes.parameters())
    assert config.lr is not None
    groups = [{"params": networks, "peak": config.lr}, {"params": scalars, "peak": config.scalar_lr}]
    return optim.Adam(groups, lr=config.lr, fused=True)


def build_prox(config: TrialConfig, channels: int, prior: Glow | None = None) -> ProximalMap:
    """The trial's proximal map for images of `channels`; its weights depend on the seed (or the prior) only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return _prox(config, channels, prior)


def _prox(config: TrialConfig, channels: int, prior: Glow | None) -> ProximalMap:
    if config.prox not in PROXES:
        parameters = read_parameters(config.prox, config.prox_parameters)
        return own_prox(config.prox, parameters, channels, config.data.size)
    if config.prox == "glow":
        return GlowProx(prior if prior is not None else build_flow(config, channels))
    if config.prox == "resnet":
        assert config.features and config.blocks
        return ResNetProx(channels, config.features, config.blocks)
    assert config.channels
    return UNetProx(channels, config.channels)
