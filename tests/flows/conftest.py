"""Shared by the flows' tests: modules away from their start, where every parameter matters."""

from collections.abc import Callable

import pytest
import torch
from torch import nn


@pytest.fixture
def perturbed() -> Callable[..., nn.Module]:
    """`perturbed(module)`: float64, training mode, past the data-dependent start, every parameter moved at random."""

    def perturb(module: nn.Module, by: float = 0.1) -> nn.Module:
        generator = torch.Generator().manual_seed(7)
        module = module.double().train()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += by * torch.randn(parameter.shape, dtype=torch.float64, generator=generator)
            for name, buffer in module.named_buffers():
                if name.endswith("initialized"):
                    buffer.fill_(True)
        return module

    return perturb
