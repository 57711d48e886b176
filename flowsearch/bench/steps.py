"""Time and memory of one step, of training an unrolled network or of pre-training its flow: what a plan reckons by."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import optim

from flowsearch.bench.model import activation_bytes, training_step
from flowsearch.bench.timing import settle, time_in_turn
from flowsearch.flows import dequantize
from flowsearch.models import trouble
from flowsearch.training.build import build_flow
from flowsearch.training.config import TrialConfig
from flowsearch.training.device import resolve
from flowsearch.training.loop import Step
from flowsearch.training.memory import peak_bytes, reset_peak
from flowsearch.training.need import STATE_BYTES
from flowsearch.training.prior import likelihood_loss

_ROUNDS = 2


def measure_step(config: TrialConfig, channels: int, threads: int) -> dict[str, float]:
    """`seconds` and `bytes` of a training step on this machine, on images of so many channels; the memory on a CPU by a
    process of its own."""
    device = _ready(threads)
    assert config.batch_size
    reset_peak(device)
    step_once, model = training_step(config, config.batch_size, device, channels)
    measured = _timed(step_once, device)
    if device.type == "cpu" and not config.has_own_parts:  # which the other process could not import
        parameters = sum(parameter.numel() for parameter in model.parameters())
        measured["bytes"] = STATE_BYTES * parameters + activation_bytes(config, config.batch_size, device, channels)
    return measured


def measure_prior(config: TrialConfig, channels: int, threads: int) -> dict[str, float]:
    """`seconds`, on a GPU `bytes` too, of a step of pre-training the flow of `config`."""
    device, prior = _ready(threads), config.prior
    reset_peak(device)
    flow = build_flow(replace(config, prox="glow", memory=prior.memory), channels).to(device)
    optimizer = optim.Adam([{"params": list(flow.parameters()), "peak": prior.lr}], lr=1e-6, fused=True)
    generator = torch.Generator().manual_seed(0)
    images_BCHW = torch.rand(prior.batch_size, channels, config.data.size, config.data.size, generator=generator)
    images_BCHW = (images_BCHW - 0.5).to(device)
    flow.train()
    step = Step(partial(likelihood_loss, flow, config.precision or "fp32"), flow, optimizer, prior.clip)

    def step_once() -> float:
        x_BCHW = dequantize(images_BCHW, generator)
        return step([(x_BCHW,)], "the measurement", partial(trouble.in_flow, flow, x_BCHW))[1]

    return _timed(step_once, device)


def _ready(threads: int) -> torch.device:
    device = resolve("auto")
    torch.set_num_threads(threads)
    return device


def _timed(step_once: Callable[[], object], device: torch.device) -> dict[str, float]:
    seconds = time_in_turn({"step": step_once}, device, rounds=_ROUNDS)["step"]
    settle(device)
    return {"seconds": seconds} | ({"bytes": peak_bytes(device)} if device.type == "cuda" else {})
