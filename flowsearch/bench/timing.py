"""Timing of repeated work, alternating between what is compared."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

Work = Callable[[], object]


def time_in_turn(works: Mapping[str, Work], device: torch.device, *, rounds: int = 5) -> dict[str, float]:
    """Median seconds of each work over `rounds` rounds of A B C, A B C, ..., after a round to warm up.

    Alternating keeps a ratio fair on a machine whose speed drifts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            settle(device)
            began = time.perf_counter()
            work()
            settle(device)
            if number:
                seconds[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in seconds.items()}


def settle(device: torch.device) -> None:
    """Wait for what the device still does."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
