"""`gpu: auto`: the share of a GPU that each trial gets is what its own memory asks for.

Ray packs trials by these shares and never gives away more than a whole GPU, so by our account its memory is never
exceeded: a share is the need, with headroom and what CUDA itself takes for a process, over the GPU's memory, rounded
up.
The need is what a trial of the same shape was measured to take (`shapes`), or else a formula (`training.need`).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flowsearch.study.shapes import Shapes, prior_shape_of, shape_of
from flowsearch.training.config import TrialConfig

HEADROOM = 1.2
"""Over a need: the allocator's blocks are not quite full."""

CONTEXT_BYTES = 600 * 2**20
"""What CUDA and its libraries take of a GPU for each process."""

_STEPS = 100
"""A share is a whole number of hundredths."""


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU."""

    name: str
    bytes: int


def share_of(need_bytes: int, gpu_bytes: int) -> float:
    """The share of a GPU that a need asks for: at least a hundredth, at most a whole one."""
    wanted = HEADROOM * need_bytes + CONTEXT_BYTES
    return min(1.0, max(1, math.ceil(_STEPS * wanted / gpu_bytes)) / _STEPS)


def room_for(share: float, gpus: float) -> int:
    """How many jobs that take `share` each so many GPUs hold at once: a part of a GPU is one GPU's."""
    if share > 1:
        return int(gpus // share) if gpus < math.inf else 10**9
    return int(min(gpus, 10**9)) * math.floor(1 / share + 1e-6)  # 1 // 0.1 is 9


class Packing:
    """The shares of a study's trials on GPUs of one kind; where there are several kinds, the smallest."""

    def __init__(self, gpu: Gpu, channels: int, shapes: Shapes | None = None) -> None:
        """`channels` are those of the study's images."""
        self.gpu, self._channels = gpu, channels
        self.shapes = shapes or Shapes(gpu.name)

    def need(self, config: Mapping[str, Any], *, prior: bool = False) -> int:
        """Bytes that the trial takes, or its pre-training: measured, or by the formula."""
        from flowsearch.training.need import estimate, estimate_prior

        known = self.shapes.bytes((prior_shape_of if prior else shape_of)(config, self._channels))
        need = (estimate_prior if prior else estimate)(TrialConfig.from_dict(dict(config)), self._channels)
        return need.at_least(known)

    def share(self, config: Mapping[str, Any], *, prior: bool = False) -> float:
        """The share of a GPU that the trial gets, or its pre-training."""
        return share_of(self.need(config, prior=prior), self.gpu.bytes)

    def took(self, config: Mapping[str, Any], peak_bytes: int) -> None:
        """Remember what a trial took; without its own pre-training, which is measured by itself."""
        self.shapes.remember(shape_of(config, self._channels), bytes=peak_bytes)


def look(resources: Mapping[str, float], stopped: Callable[[], bool] = lambda: False) -> Gpu | None:
    """The smallest kind of GPU in Ray's cluster; None where it has none, and will have none.

    Where machines with GPUs are only started for who asks, the first is waited for, unless `stopped` says so.
    Raises ValueError where Ray counts GPUs that torch cannot see.
    """
    if not resources.get("GPU"):
        return None
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    first = ray.remote(_describe).options(num_cpus=0, num_gpus=0.01, max_retries=-1).remote()
    while not ray.wait([first], timeout=1)[0]:
        if stopped():
            return None
    asked = []
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("GPU"):
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task = ray.remote(_describe).options(num_cpus=0, num_gpus=0.01, scheduling_strategy=strategy)
            asked.append(task.remote())
    found = [Gpu(*one) for one in ray.get(asked) if one is not None]
    if len(found) < len(asked) or not found:
        raise ValueError(
            "gpu: auto needs each GPU's memory, but Ray counts GPUs that torch cannot see (is it a torch for CUDA?); "
            "write resources.gpu as a number"
        )
    return min(found, key=lambda gpu: gpu.bytes)


def _describe() -> tuple[str, int] | None:
    """The worker's GPU: name and bytes."""
    import torch

    if not torch.cuda.is_available():
        return None
    known = torch.cuda.get_device_properties(0)
    return known.name, int(known.total_memory)
