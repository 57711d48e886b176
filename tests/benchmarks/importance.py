"""What share of the importance a name gets of few configurations, and of those that a pruner left, beside many.

    python tests/benchmarks/importance.py

An objective is drawn that depends on x0 strongly, on x1 weakly and on no other name; a search draws all names evenly.
"""

import argparse
from collections.abc import Callable

import numpy as np
import pandas as pd

from flowsearch.analysis.importance import _scope

Drawn = tuple[pd.DataFrame, np.ndarray]
MANY = 20_000


def bent(rng: np.random.Generator, n: int) -> Drawn:
    """Five names; the objective rises with x0 in a line and falls towards the middle of x1."""
    found = pd.DataFrame(rng.uniform(size=(n, 5))).add_prefix("x")
    return found, (1.5 * found["x0"] + 3 * (found["x1"] - 0.5) ** 2 + rng.normal(0, 0.3, n)).to_numpy()


def straight(rng: np.random.Generator, n: int) -> Drawn:
    """Four names; the objective rises with x0 and, a third as fast, with x1."""
    found = pd.DataFrame(rng.uniform(size=(n, 4))).add_prefix("x")
    return found, (3 * found["x0"] + found["x1"] + rng.normal(0, 0.3, n)).to_numpy()


def pruned(rng: np.random.Generator, n: int) -> Drawn:
    """`straight`, of which those with the lower two thirds of x0 were pruned."""
    found, objective = straight(rng, n)
    left = found["x0"] > 2 / 3
    return found[left].reset_index(drop=True), objective[left]


def shares(drawn: Drawn) -> pd.DataFrame:
    """`share`, `low` and `high` of each name; more of the objective is better."""
    found, objective = drawn
    return pd.DataFrame(_scope(found, -objective, list(found), 0)).set_index("name")


def main() -> None:
    """Print a row of a Markdown table for each case."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=60, help="simulated studies for each row")
    draws = parser.parse_args().draws
    print(f"| objective | configurations | x0's share | x1's | whiskers that reach x0's share of {MANY} |")
    print("| --- | --- | --- | --- | --- |")
    cases: list[tuple[Callable[[np.random.Generator, int], Drawn], int]] = [(bent, n) for n in (30, 60, 200)]
    for case, n in [*cases, (straight, 120), (pruned, 120)]:
        rng = np.random.default_rng(1)
        many = shares(case(rng, MANY)).loc["x0", "share"]
        found = [shares(case(rng, n)) for _ in range(draws)]
        reach = np.mean([one.loc["x0", "low"] <= many <= one.loc["x0", "high"] for one in found])
        means = [f"{np.mean([one.loc[name, 'share'] for one in found]):.2f}" for name in ("x0", "x1")]
        print(f"| {case.__name__} | {n} | {' | '.join(means)} | {reach:.0%} ({many:.2f}) |", flush=True)


if __name__ == "__main__":
    main()
