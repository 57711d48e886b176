"""From a trial's configuration to its network."""

from typing import Any

import torch
from torch import nn, optim

from flowsearch.flows import Glow
from flowsearch.models import Feedforward, GlowProx, ProximalMap, ResNetProx, ScoreProx, UNetProx, Unrolled
from flowsearch.models.own_prox import own_prox
from flowsearch.models.unrolled import untie
from flowsearch.operators import LinearOperator, Task
from flowsearch.training.config import TrialConfig
from flowsearch.training.prox_names import FLOWS, PROXES, read_parameters


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
    assert config.start and config.folds and config.end and config.precision
    if operator is None:
        operator = Task.named(config.task, config.data.size, channels).operator
    prox = build_prox(config, channels, prior)
    proxes = [prox] if config.weights == "tied" else untie(prox, config.mapped_folds)
    return Unrolled(operator, proxes, config.folds, start=config.start, end=config.end, precision=config.precision)


def build_feedforward(config: TrialConfig, channels: int, operator: LinearOperator) -> Feedforward:
    """The plain network of a trial."""
    assert config.precision
    return Feedforward(operator, build_prox(config, channels), config.precision)


def build_optimizer(model: nn.Module, config: TrialConfig) -> optim.Optimizer:
    """Adam with two rates: `lr` for the networks, `scalar_lr` for mu and lambda (paper section VI-A).

    Each group's `peak` is its full rate (see `loop.set_rate`).
    """
    assert config.lr is not None
    groups: list[dict[str, Any]]
    if not isinstance(model, Unrolled):
        groups = [{"params": list(model.parameters()), "peak": config.lr}]
    else:
        networks, scalars = list(model.proxes.parameters()), model.scalars()
        groups = [{"params": networks, "peak": config.lr}, {"params": scalars, "peak": config.scalar_lr}]
    # One kernel for all of a step takes real parameters only; a map of one's own may have complex ones.
    return optim.Adam(groups, lr=config.lr, fused=not any(one.is_complex() for one in model.parameters()))


def build_prox(config: TrialConfig, channels: int, prior: Glow | None = None) -> ProximalMap:
    """The trial's proximal map for images of `channels`; its weights depend on the seed (or the prior) only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return _prox(config, channels, prior)


def _prox(config: TrialConfig, channels: int, prior: Glow | None) -> ProximalMap:
    if config.prox is not None and config.prox not in PROXES:
        parameters = read_parameters(config.prox, config.prox_parameters)
        prox = own_prox(config.prox, parameters, channels, config.data.size)
        if prox.shrinks and config.method != "unrolled":
            raise ValueError(f"prox {config.prox} shrinks by lambda, which method {config.method} does not have")
        return prox
    if config.prox in FLOWS:
        flow = prior if prior is not None else build_flow(config, channels)
        if config.prox == "glow":
            return GlowProx(flow)
        return ScoreProx(flow, config.prior.noise) if config.pretrain else ScoreProx(flow)
    if config.prox == "resnet":
        assert config.features and config.blocks
        return ResNetProx(channels, config.features, config.blocks)
    assert config.channels
    return UNetProx(channels, config.channels)
