"""How large gradients become while unrolled flows of several depths are trained at several rates, as a Markdown table.

    python tests/benchmarks/stability.py

Each network has three folds of fresh flows (32x32 built-in faces, denoise-0.1, 3 levels, 64 hidden channels) and takes
60 steps, one epoch, the gradient's norm bounded by 0.1 as in training. A cell has the median and the largest norm
before it was bounded, and the mean squared error on other faces after the last step, where the measurement has 0.01.
"""

import argparse
import statistics

import torch

from flowsearch.data import DataConfig, load
from flowsearch.operators import Task
from flowsearch.training import TrialConfig
from flowsearch.training.build import build_model, build_optimizer
from flowsearch.training.errors import NonFiniteError
from flowsearch.training.loop import Step, batches, epoch_generator, set_rate, to_images

CPU = torch.device("cpu")


def norms(config: TrialConfig) -> tuple[list[float], float]:
    """The gradients' norms over an epoch, and the error after it; NonFiniteError where one is not finite."""
    data = load(config.data)
    task = Task.named(config.task, config.data.size, 3)
    model = build_model(config, 3, operator=task.operator)
    generator = epoch_generator(0, 0)
    model.initialize(task.measure(to_images(data.train[:64], CPU), generator))
    optimizer = build_optimizer(model, config)
    step = Step(lambda y, x: (model(y) - x).square().mean(), model, optimizer, config.clip or 0.1)
    found: list[float] = []
    for x_BCHW in batches(data.train, 8, True, generator, CPU):
        set_rate(optimizer, len(found), 20, 10**6, "constant")
        found.append(step([(task.measure(x_BCHW, generator), x_BCHW)], "training", lambda: None)[1])
    truth_BCHW = to_images(data.val, CPU)
    with torch.no_grad():
        rebuilt_BCHW = model.eval()(task.measure(truth_BCHW, epoch_generator(0, 1)))
    return found, float((rebuilt_BCHW - truth_BCHW).square().mean())


def main() -> None:
    """A line for each depth, a column for each rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depths", type=int, nargs="+", default=[4, 8, 18])
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3, 1e-2])
    given = parser.parse_args()
    data = DataConfig(size=32, train=480, val=64, test=64, ood=None)
    print(f"| depth | {' | '.join(f'rate {rate:g}' for rate in given.rates)} |")
    print("| --- |" + " --- |" * len(given.rates))
    for depth in given.depths:
        cells = []
        for lr in given.rates:
            config = TrialConfig(
                data=data,
                prox="glow",
                folds=3,
                depth=depth,
                levels=3,
                hidden=64,
                last_depth=2,
                pretrain=False,
                start="adjoint",
                memory="networks",
                lr=lr,
            )
            try:
                found, error = norms(config)
                cells.append(f"{statistics.median(found):.2g}, {max(found):.2g}; {error:.4f}")
            except NonFiniteError as trouble:
                cells.append(str(trouble))
        print(f"| {depth} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
