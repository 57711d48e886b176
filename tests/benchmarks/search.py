"""The best of a search after 10, 20 and 40 trials, beside Optuna's own sampler asked for one trial after the other.

    python tests/benchmarks/search.py --samplers tpe,nsga2,cmaes

Nothing is trained: the loss of a configuration is a formula, 0 at its best. `at once` trials run side by side and take
between a half and one and a half times as long as the mean.
"""

import argparse
import heapq
import random
from math import log2, log10
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna

from flowsearch.study.ends import End
from flowsearch.study.file import read
from flowsearch.study.layout import Layout
from flowsearch.study.modes import window
from flowsearch.study.planner import Planner
from flowsearch.study.sections import Study
from flowsearch.study.source import Source

FILE = """\
name: search
data: {source: faces, size: 32}
fixed: {prox: glow, epochs: 4}
space:
  folds: {int: [1, 8]}
  weights: [tied, untied]
  lr: {float: [1.0e-6, 1.0e-1], log: true}
  scalar_lr: {float: [1.0e-6, 1.0e-1], log: true}
  hidden: {int: [4, 256], log: true}
  clip: {float: [0.1, 9]}
objective: {val_loss: minimize}
"""
TRIALS, AFTER = 40, (10, 20, 40)
OWN = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=10),
    "cmaes": lambda seed: optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
}


def loss(values: dict[str, Any]) -> float:
    """A bowl in all names."""
    whole = ((values["folds"] - 5) / 4) ** 2 + log2(values["hidden"] / 32) ** 2 / 4
    rates = (log10(values["lr"]) + 2) ** 2 / 2 + (log10(values["scalar_lr"]) + 4) ** 2 / 4
    return whole + rates + ((values["clip"] - 3) / 4) ** 2 + 0.3 * (values["weights"] == "tied")


def study_of(sampler: str, seed: int) -> Study:
    """The study file, for one sampler and seed."""
    return read(Source("search.yaml", FILE, [f"search={{sampler: {sampler}, seed: {seed}, trials: {TRIALS}}}"]))


def searched(sampler: str, seed: int, at_once: int, ahead: int | None) -> list[float]:
    """The loss of each configuration, in their order, of a study as it would run."""
    study, clock, losses = study_of(sampler, seed), random.Random(seed), [0.0] * TRIALS
    now, running = 0.0, list[tuple[float, int]]()
    with TemporaryDirectory() as folder:
        planner = Planner(study, Layout.of(study), Path(folder) / "journal", ahead or window(study, at_once))
        while True:
            while len(running) < at_once and (proposal := planner.next()) is not None:
                number, values = proposal
                losses[number] = loss(values)
                heapq.heappush(running, (now + clock.uniform(0.5, 1.5), number))
            if not running:
                return losses
            now, number = heapq.heappop(running)
            planner.end(number, End("completed", None, losses[number]))


def asked(sampler: str, seed: int) -> list[float]:
    """The loss of each configuration that Optuna's sampler proposes by itself."""
    space = study_of("random", seed).parsed_space()
    study = optuna.create_study(sampler=OWN[sampler](seed))
    study.optimize(lambda trial: loss(space.suggest(trial)), n_trials=TRIALS)
    return [float(trial.values[0]) for trial in study.trials]


def row(name: str, losses: list[list[float]]) -> None:
    """A row of a Markdown table: means over the seeds, with their standard error."""
    best = np.array([[min(one[:count]) for count in AFTER] for one in losses])
    means, errors = best.mean(axis=0), best.std(axis=0, ddof=1) / len(best) ** 0.5
    print(f"| {name} | {' | '.join(f'{m:.2f} +- {e:.2f}' for m, e in zip(means, errors, strict=True))} |", flush=True)


def main() -> None:
    """Print a row of a Markdown table for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samplers", default="tpe,nsga2,cmaes", help="with commas; gp takes minutes")
    parser.add_argument("--seeds", type=int, default=20, help="searches for each row")
    parser.add_argument("--window", type=int, help="search.window, where it is not what a study takes by itself")
    options = parser.parse_args()
    seeds = range(options.seeds)
    print(f"| best loss after | {' | '.join(map(str, AFTER))} |\n| --- | ---: | ---: | ---: |")
    row("random", [asked("random", seed) for seed in seeds])
    for sampler in options.samplers.split(","):
        row(f"Optuna's {sampler}", [asked(sampler, seed) for seed in seeds])
        for at_once in (1, 2, 8):
            row(f"{sampler}, {at_once} at once", [searched(sampler, seed, at_once, options.window) for seed in seeds])


if __name__ == "__main__":
    main()
