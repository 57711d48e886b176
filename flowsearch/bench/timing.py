"""Timing of repeated work, alternating between what is compared."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

Work = Callable[[], object]


def time_in_turn(works: Mapping[str, Work], device: torch.device, *, rounds: int = 5) -> dict[str, float]:
    """Median seconds of each work over `rounds` rounds of A B C, A B C, ..., after one to warm up; on a GPU four, in
    which a step is captured as a CUDA graph.

    Alternating keeps a ratio fair on a machine whose speed drifts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    warm_up = 4 if device.type == "cuda" else 1
    for number in range(rounds + warm_up):
        for name, work in works.items():
            settle(device)
            began = time.perf_counter()
            work()
            settle(device)
            if number >= warm_up:
                seconds[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in seconds.items()}


def settle(device: torch.device) -> None:
    """Wait for what the device still does."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
