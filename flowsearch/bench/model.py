"""What one training step of an unrolled network costs: time, memory, and the gradient's accuracy."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from flowsearch.bench.timing import settle, time_in_turn
from flowsearch.models import Unrolled, trouble
from flowsearch.operators import Task, check_task
from flowsearch.training.build import build_model, build_optimizer
from flowsearch.training.config import TrialConfig
from flowsearch.training.loop import Step
from flowsearch.training.memory import current_bytes, peak_bytes, release, reset_peak

CHANNELS = 3
"""Of the images that the benchmark is run on."""


@dataclass(frozen=True)
class ModelCost:
    """What `bench_model` measures."""

    step_seconds: float
    """Median of a step: measure, forward, loss, backward, bounded gradient, Adam."""
    images_per_second: float
    parameters: int
    activation_bytes: int
    """Peak of a step above weights, gradients and optimizer: CUDA's own count, or resident memory on a CPU."""
    gradient_error: float
    """|g - g*| / |g*| over all parameters, g* by plain autograd in float32, on two images."""


def bench_model(
    config: TrialConfig, *, batch: int, device: torch.device, rounds: int = 5, graphs: bool = True
) -> ModelCost:
    """Measure a training step of `config`'s network on random images, `batch` at a time.

    `graphs`: on a CUDA device the step that is timed is replayed as a CUDA graph, as in training.
    """
    step_once, model = training_step(config, batch, device, graphs=graphs)
    seconds = time_in_turn({"step": step_once}, device, rounds=rounds)["step"]
    return ModelCost(
        step_seconds=seconds,
        images_per_second=batch / seconds,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        activation_bytes=activation_bytes(config, batch, device),
        gradient_error=gradient_error(config, device, exact=torch.float32),
    )


def activation_bytes(config: TrialConfig, batch: int, device: torch.device, channels: int = CHANNELS) -> int:
    """Peak memory of a training step above what stays: in a fresh process on a CPU, by CUDA's count on a GPU."""
    if device.type == "cuda":
        return measure_activations(config, batch, device, channels)
    # Memory that is freed goes back to the system at once there, so that the resident set is what is in use.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    order = {"config": config.to_dict(), "batch": batch, "channels": channels, "threads": torch.get_num_threads()}
    done = subprocess.run(
        [sys.executable, "-m", "flowsearch.bench.model", json.dumps(order)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"the memory measurement failed: {done.stderr.strip().splitlines()[-1:]}")
    return int(done.stdout)


def measure_activations(config: TrialConfig, batch: int, device: torch.device, channels: int = CHANNELS) -> int:
    """`activation_bytes` in this process."""
    step_once, _ = training_step(config, batch, device, channels, graphs=False)
    for _ in range(2):  # gradients, the optimizer's state and libraries' work space come to be
        step_once()
    settle(device)
    release()
    before = current_bytes(device)
    reset_peak(device)
    step_once()
    settle(device)
    return max(0, peak_bytes(device) - before)


def gradient_error(
    config: TrialConfig,
    device: torch.device,
    *,
    state: dict[str, Tensor] | None = None,
    images_BCHW: Tensor | None = None,
    exact: torch.dtype = torch.float64,
) -> float:
    """Relative error of the whole gradient against plain autograd in `exact` precision, with the same weights.

    The weights are those of `state`, or fresh ones; the images `images_BCHW`, or two of random pixels.
    """
    images_BCHW = _images(config, 2, device, CHANNELS) if images_BCHW is None else images_BCHW
    model = build_model(config, CHANNELS).to(device)
    task = _task(config, model)
    y = task.measure(images_BCHW, torch.Generator().manual_seed(1))
    model.initialize(y)
    if state is not None:
        model.load_state_dict(state)
    ours = _gradient(model, y, images_BCHW)
    plain = build_model(dataclasses.replace(config, memory="autograd", precision="fp32"), CHANNELS).to(device)
    plain.load_state_dict(model.state_dict())
    plain.to(exact)
    truth = _gradient(plain, y.to(exact.to_complex() if y.is_complex() else exact), images_BCHW.to(exact))
    return float((ours - truth).norm() / truth.norm())


def _gradient(model: Unrolled, y: Tensor, images_BCHW: Tensor) -> Tensor:
    model.train()
    mse_loss(model(y), images_BCHW).backward()
    return torch.cat(
        [parameter.grad.double().flatten() for parameter in model.parameters() if parameter.grad is not None]
    )


def training_step(
    config: TrialConfig, batch: int, device: torch.device, channels: int = CHANNELS, *, graphs: bool = True
) -> tuple[Callable[[], object], Unrolled]:
    """A training step to call again and again, and its model."""
    images_BCHW = _images(config, batch, device, channels)
    model = build_model(config, channels).to(device)
    optimizer = build_optimizer(model, config)
    task = _task(config, model)
    generator = torch.Generator().manual_seed(1)
    model.initialize(task.measure(images_BCHW, generator))
    model.train()

    def loss(y: Tensor, x_BCHW: Tensor) -> Tensor:
        return mse_loss(model(y), x_BCHW)

    assert config.clip
    step = Step(loss, model, optimizer, config.clip, graphs=graphs and not config.has_own_parts)

    def step_once() -> float:
        y = task.measure(images_BCHW, generator)
        return step([(y, images_BCHW)], "the benchmark", partial(trouble.in_network, model, y))[1]

    return step_once, model


def _images(config: TrialConfig, batch: int, device: torch.device, channels: int) -> Tensor:
    size = config.data.size
    return (torch.rand(batch, channels, size, size, generator=torch.Generator().manual_seed(0)) - 0.5).to(device)


def _task(config: TrialConfig, model: Unrolled) -> Task:
    return Task(config.task, model.operator, check_task(config.task, config.data.size).noise)


def _main(order: dict[str, Any]) -> None:
    torch.set_num_threads(order["threads"])
    config = TrialConfig.from_dict(order["config"])
    print(measure_activations(config, order["batch"], torch.device("cpu"), order["channels"]))


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
