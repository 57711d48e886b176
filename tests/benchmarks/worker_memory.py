"""The memory of a process that trains one network after another, each of other shapes: `worker_memory.py [NETWORKS]`.

Once with the bounds of a study's workers on what oneDNN keeps, once with torch's own.
"""

import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

from flowsearch.study.trainable import KERNELS


def main(networks: int) -> None:
    """Print resident memory in MB after each tenth of the networks, a line for each way."""
    for name, bounds in (("a study's", KERNELS), ("torch's own", dict.fromkeys(KERNELS, "1024"))):
        print(f"{name}:", end="", flush=True)
        subprocess.run([sys.executable, __file__, str(networks), "here"], check=True, env=os.environ | bounds)


def train(networks: int) -> None:
    """Train them in this process."""
    import torch

    from flowsearch.data import DataConfig
    from flowsearch.training import TrialConfig, run_trial

    torch.set_num_threads(1)
    draws, process = random.Random(0), psutil.Process()
    data = DataConfig(source="faces", size=32, train=32, val=16, test=16, ood="anime")
    for number in range(1, networks + 1):
        config = TrialConfig(
            data=data, task="denoise-0.2", epochs=1, batch_size=8, lr=1e-3, precision="bf16", **_network(draws)
        )
        with tempfile.TemporaryDirectory() as folder:
            for _ in run_trial(config, checkpoint_dir=Path(folder), prior_dir=Path(folder), device="cpu"):
                pass
        if number % max(1, networks // 10) == 0:
            print(f" {process.memory_info().rss / 1e6:.0f}", end="", flush=True)
    print()


def _network(draws: random.Random) -> dict[str, Any]:
    prox = draws.choice(["glow", "resnet", "unet"])
    shared = {"prox": prox, "folds": draws.randint(1, 4), "weights": draws.choice(["tied", "untied"])}
    if prox == "resnet":
        return shared | {"features": draws.randint(8, 48)}
    if prox == "unet":
        return shared | {"channels": draws.randint(4, 16)}
    flow = {"depth": draws.randint(1, 4), "levels": draws.randint(2, 3), "hidden": draws.randint(16, 96)}
    return shared | flow | {"last_depth": 2, "pretrain": False}


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    train(count) if sys.argv[2:] else main(count)
