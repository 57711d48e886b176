"""From a trial's configuration to its network."""

import torch

from flowsearch.flows import Glow
from flowsearch.models import GlowProx, ProximalMap, ResNetProx, UNetProx, Unrolled
from flowsearch.models.unrolled import untie
from flowsearch.operators import Task
from flowsearch.training.config import TrialConfig


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


def build_model(config: TrialConfig, channels: int, prior: Glow | None = None) -> Unrolled:
    """The unrolled network of a trial; where a `prior` is given, every fold starts from it (paper section IV-C)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        prox = _prox(config, channels, prior)
    proxes = [prox] if config.weights == "tied" else untie(prox, config.folds)
    assert config.start is not None
    operator = Task.named(config.task, config.data.size).operator
    return Unrolled(operator, proxes, config.folds, start=config.start, end=config.end, precision=config.precision)


def _prox(config: TrialConfig, channels: int, prior: Glow | None) -> ProximalMap:
    if config.prox == "glow":
        return GlowProx(prior if prior is not None else build_flow(config, channels))
    if config.prox == "resnet":
        assert config.features and config.blocks
        return ResNetProx(channels, config.features, config.blocks)
    assert config.channels
    return UNetProx(channels, config.channels)
