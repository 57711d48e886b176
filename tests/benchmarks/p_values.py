"""How often p-values of no difference are at most what they say, also where fewer than ten draws lie beyond zero.

    PYTHONPATH=tests python tests/benchmarks/p_values.py

Differences are simulated as in coverage.py, around zero. The standard error of a share q is sqrt(q / simulations).
"""

import argparse

import numpy as np
from simulated import MEAN, crossed

from flowsearch.statistics import two_level

SHARES = (0.05, 0.01, 0.001, 0.0002)
_CASES = ((1, 200, False), (1, 24, False), (1, 24, True), (3, 24, False), (5, 24, False))


def main() -> None:
    """Print a row of a Markdown table for each number of seeds and images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=50_000, help="for each row")
    simulations = parser.parse_args().simulations
    print(f"| seeds | images | {' | '.join(f'p <= {share:g}' for share in SHARES)} |")
    print(f"| --- | --- |{' --- |' * len(SHARES)}")
    for seeds, images, skewed in _CASES:
        rng = np.random.default_rng(11)
        p = np.array([two_level(crossed(rng, seeds, images, skewed=skewed) - MEAN).p for _ in range(simulations)])
        found = " | ".join(f"{(p <= share).mean():.3%}" for share in SHARES)
        print(f"| {seeds} | {images}{', skewed' if skewed else ''} | {found} |", flush=True)


if __name__ == "__main__":
    main()
