"""How often 95% intervals over seeds and images cover the known mean, beside a plain bootstrap over both.

    PYTHONPATH=tests python tests/benchmarks/coverage.py

Differences are simulated with what the seed adds (of_seed), what the image adds (0.5 dB) and what is left (0.3 dB).
The standard error of a coverage is sqrt(0.95 x 0.05 / draws), half a percent for the default 2,000.
"""

import argparse

import numpy as np
from simulated import MEAN, crossed

from flowsearch.statistics import two_level

RESAMPLES = 500


def plain(values: np.ndarray, rng: np.random.Generator) -> bool:
    """Whether the percentiles of means over resampled seeds and images cover the mean."""
    seeds, images = values.shape
    rows = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    columns = rng.multinomial(images, np.full(images, 1 / images), RESAMPLES) / images
    low, high = np.quantile(((rows @ values) * columns).sum(axis=1), [0.025, 0.975])
    return bool(low <= MEAN <= high)


def main() -> None:
    """Print a row of a Markdown table for each number of seeds and images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000, help="simulated studies for each row")
    draws = parser.parse_args().draws
    print("| seeds | images | of_seed (dB) | two_level | mean width (dB) | plain bootstrap |")
    print("| --- | --- | --- | --- | --- | --- |")
    for seeds, images in ((1, 6), (1, 24), (1, 200), (2, 200), (3, 24), (3, 200), (5, 200), (10, 200)):
        for of_seed in (0.02, 0.1, 0.3) if seeds > 1 else (0.0,):
            rng = np.random.default_rng(7)
            ours, theirs, widths = 0, 0, []
            for _ in range(draws):
                values = crossed(rng, seeds, images, of_seed=of_seed)
                interval = two_level(values, draws=RESAMPLES)
                ours += interval.low <= MEAN <= interval.high
                widths.append(interval.high - interval.low)
                theirs += plain(values, rng)
            row = (f"{seeds}", f"{images}", f"{of_seed:g}", f"{ours / draws:.1%}", f"{np.mean(widths):.2f}")
            print(f"| {' | '.join(row)} | {theirs / draws:.1%} |", flush=True)


if __name__ == "__main__":
    main()
