"""What it saves that the C library keeps freed memory for the next training step: `memory_kept.py [PAIRS]`.

Each network is trained for some steps, one thread, in fresh processes in turns: with memory kept, as in a trial, and in
glibc's own way. Prints the median CPU time of a step and page faults a step, of each.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

_WIDE = {"size": 64, "batch": 4, "depth": 4, "levels": 3, "hidden": 128}
NETWORKS: dict[str, dict[str, Any]] = {
    "glow, 32x32, hidden 48": {"depth": 4, "levels": 3, "hidden": 48},
    "glow, 64x64, hidden 128": _WIDE,
    "the same, memory: networks": _WIDE | {"memory": "networks"},
    "resnet, 32x32, 32 features": {"prox": "resnet", "features": 32},
    "unet, 32x32, 12 channels": {"prox": "unet", "channels": 12},
}


def main(pairs: int) -> None:
    """A line for each network."""
    for name, network in NETWORKS.items():
        found: dict[bool, list[list[float]]] = {True: [], False: []}
        for _ in range(pairs):
            for kept in (False, True):
                order = json.dumps([kept, network])
                done = subprocess.run([sys.executable, __file__, order], check=True, capture_output=True, text=True)
                found[kept].append(json.loads(done.stdout))
        (own, own_faults), (ours, our_faults) = (
            [statistics.median(column) for column in zip(*found[kept], strict=True)] for kept in (False, True)
        )
        print(
            f"{name:28s} {1000 * own:6.1f} ms, {own_faults:6.0f} faults; kept {1000 * ours:6.1f} ms, "
            f"{our_faults:4.0f} faults; ratio {ours / own:.2f}",
            flush=True,
        )


def measure(kept: bool, network: dict[str, Any]) -> tuple[float, float]:
    """Seconds and page faults of a step in this process."""
    import torch

    from flowsearch.bench.model import training_step
    from flowsearch.data import DataConfig
    from flowsearch.training import TrialConfig, loop

    torch.set_num_threads(1)
    if not kept:
        loop.keep_freed = lambda: None
    size, batch = network.pop("size", 32), network.pop("batch", 8)
    config = TrialConfig(data=DataConfig(size=size), folds=3, pretrain=False, lr=1e-6, **network)
    step, _ = training_step(config, batch, torch.device("cpu"))
    for _ in range(4):
        step()
    seconds, before = [], resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        began = time.process_time()
        step()
        seconds.append(time.process_time() - began)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return statistics.median(seconds), faults / len(seconds)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("["):
        print(json.dumps(measure(*json.loads(sys.argv[1]))))
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 4)
