"""Gradient error over precision, training and the number of folds, as a Markdown table.

    python tests/benchmarks/gradients.py

Trains a small pre-trained Glow network (32x32 built-in faces) for each K, then compares its gradient with plain
autograd in float64 on validation images, with the weights before and after training.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import torch

from flowsearch.bench.model import gradient_error
from flowsearch.data import DataConfig, load
from flowsearch.training import PriorConfig, TrialConfig, checkpoint, run_trial
from flowsearch.training.loop import to_images

CPU = torch.device("cpu")


WAYS = (("fp32", "invertible"), ("fp32", "autograd"), ("bf16", "invertible"), ("bf16", "autograd"))
"""Precision and memory of the gradients that are compared."""


def rows(folds: list[int], epochs: int) -> list[tuple[str, str, str, int, float]]:
    """(precision, memory, state, K, error) for each combination."""
    data = DataConfig(size=32, train=400, val=64, test=64, ood=None)
    images_BCHW = to_images(load(data).val[:4], CPU)
    found = []
    for count in folds:
        config = TrialConfig(
            data=data,
            prior=PriorConfig(epochs=4, lr=3e-3),
            task="denoise-0.2",
            prox="glow",
            folds=count,
            depth=6,
            levels=3,
            hidden=64,
            epochs=epochs,
            lr=1e-3,
        )
        with tempfile.TemporaryDirectory() as folder:
            for record in run_trial(config, checkpoint_dir=Path(folder), device="cpu"):
                print(f"K {count}: {record['phase']} {record['epoch']}", flush=True)
            tensors, _ = checkpoint.read(Path(folder) / checkpoint.LAST)
        trained = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        for precision, memory in WAYS:
            chosen = dataclasses.replace(config, precision=precision, memory=memory)
            for state, weights in (("fresh", None), ("trained", trained)):
                error = gradient_error(chosen, CPU, state=weights, images_BCHW=images_BCHW)
                found.append((precision, memory, state, count, error))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 5, 10])
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    found = {row[:4]: row[4] for row in rows(options.folds, options.epochs)}
    print("| precision | memory | weights | " + " | ".join(f"K = {count}" for count in options.folds) + " |")
    print("| --- | --- | --- |" + " --- |" * len(options.folds))
    for precision, memory in WAYS:
        for state in ("fresh", "trained"):
            cells = [f"{found[precision, memory, state, count]:.1e}" for count in options.folds]
            print(f"| {precision} | {memory} | {state} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
