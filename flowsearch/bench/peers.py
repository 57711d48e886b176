"""The likelihood step of our Glow beside that of normflows, the same architecture in the same run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from flowsearch.bench.timing import time_in_turn
from flowsearch.checks import PRECISIONS
from flowsearch.flows.bfloat16 import has_bfloat16
from flowsearch.models.unrolled import in_precision
from flowsearch.training.build import build_flow
from flowsearch.training.config import TrialConfig
from flowsearch.training.gradient import Gradient


@dataclass(frozen=True)
class Comparison:
    """Seconds of a likelihood step: forward, mean negative log-likelihood, backward, Adam."""

    precision: str
    """Of our step; normflows' is float32 in each row."""
    ours_seconds: float
    normflows_seconds: float
    ratio: float
    """Ours over normflows': below 1 is faster."""


def bench_peers(config: TrialConfig, *, batch: int, device: torch.device, rounds: int = 5) -> list[Comparison]:
    """Time our likelihood step, by the `memory` of `config`, against normflows', A B A B, in each precision that the
    device has. Needs the extra `bench`."""
    precisions = [precision for precision in PRECISIONS if precision == "fp32" or has_bfloat16(device.type)]
    x_BCHW = torch.rand(batch, 3, config.data.size, config.data.size, generator=torch.Generator().manual_seed(0)) - 0.5
    x_BCHW = x_BCHW.to(device)
    works = {precision: _ours(config, precision, x_BCHW) for precision in precisions}
    theirs = _normflows(config, x_BCHW)
    seconds = time_in_turn({**works, "normflows": theirs}, device, rounds=rounds)
    return [
        Comparison(precision, seconds[precision], seconds["normflows"], seconds[precision] / seconds["normflows"])
        for precision in precisions
    ]


def _ours(config: TrialConfig, precision: str, x_BCHW: Tensor) -> Callable[[], object]:
    flow = build_flow(config, x_BCHW.shape[1]).to(x_BCHW.device)

    def log_prob(x_BCHW: Tensor) -> Tensor:
        with in_precision(precision, x_BCHW.device):
            return flow.log_prob(x_BCHW)

    return _likelihood_step(flow, log_prob, x_BCHW, graphs=True)


def _normflows(config: TrialConfig, x_BCHW: Tensor) -> Callable[[], object]:
    try:
        import normflows as nf
    except ImportError:
        raise ValueError("normflows is not installed; pip install 'flowsearch[bench]'") from None
    assert config.levels and config.depth and config.hidden and config.last_depth
    channels, size, levels = x_BCHW.shape[1], config.data.size, config.levels
    bases, merges, flows = [], [], []
    # normflows counts its levels from the coarsest; only the finest of a split's halves goes out as a latent.
    for index in range(levels):
        from_fine = levels - 1 - index
        steps = config.last_depth if index == 0 else config.depth
        width = channels * 2 ** (from_fine + 2)
        blocks: list[Any] = [
            nf.flows.GlowBlock(width, config.hidden, split_mode="channel", scale=True) for _ in range(steps)
        ]
        flows.append([*blocks, nf.flows.Squeeze()])
        if index > 0:
            merges.append(nf.flows.Merge())
        latent = width if index == 0 else width // 2
        bases.append(
            nf.distributions.DiagGaussian((latent, size >> (from_fine + 1), size >> (from_fine + 1)), trainable=False)
        )
    model = nf.MultiscaleFlow(bases, flows, merges, class_cond=False).to(x_BCHW.device)
    return _likelihood_step(model, lambda x: model.log_prob(x, None), x_BCHW, graphs=False)


def _likelihood_step(
    model: nn.Module, log_prob: Callable[[Tensor], Tensor], x_BCHW: Tensor, *, graphs: bool
) -> Callable[[], object]:
    model.train()
    with torch.no_grad():
        log_prob(x_BCHW)  # the data-dependent start, before the optimizer takes hold of the parameters
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-5, fused=True)

    def loss(x_BCHW: Tensor) -> Tensor:
        return -log_prob(x_BCHW).mean() / x_BCHW[0].numel()

    gradient = Gradient(loss, parameters, graphs=graphs)

    def step() -> None:
        gradient([x_BCHW])
        optimizer.step()

    return step
