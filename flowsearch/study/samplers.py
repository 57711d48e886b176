"""Which of Optuna's samplers proposes, and the balanced draw that a search starts with.

A sampler is made anew for each proposal, with a seed of its own, and knows nothing but the trials it is shown.
"""

import warnings
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from flowsearch.study.cma import ReplayedCma
from flowsearch.study.parameter import Parameter, Values
from flowsearch.study.sections import Search
from flowsearch.study.space import Space


def sampler(search: Search, number: int, *, conditional: bool, at_random: bool) -> BaseSampler:
    """The sampler that proposes configuration `number`; a random one where nothing is to be learned."""
    seed = int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])
    if at_random or search.sampler == "random":
        return RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if search.sampler == "gp":
            return GPSampler(
                seed=seed,
                n_startup_trials=search.startup,
                deterministic_objective=False,
                warn_independent_sampling=False,
            )
        if search.sampler == "cmaes":
            return ReplayedCma(seed, search.startup)
        if search.sampler == "nsga2":
            return NSGAIISampler(seed=seed, population_size=max(2, search.startup))
        return TPESampler(
            seed=seed,
            multivariate=True,
            group=conditional,
            n_startup_trials=search.startup,
            constant_liar=True,
        )


def startup_design(space: Space, seed: int, count: int) -> list[Values]:
    """A balanced draw of `count` points, to start a search with.

    Within each kind (a method with a proximal map) every choice comes up equally often (shuffled rounds), and so do
    the kinds themselves; each range is cut into `count` equal parts, and each part is used at most once (a Latin
    hypercube).
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0x57A27]))
    parts = {name: rng.permutation(count) for name, one in space.parameters.items() if not one.choices}
    rounds: dict[tuple[str, Any], list[Any]] = {}
    kinds = space.kinds()

    def draw(parameter: Parameter, number: int, group: Any) -> Any:
        if not parameter.choices:
            return parameter.at((parts[parameter.name][number] + rng.random()) / count)
        left = rounds.setdefault((parameter.name, group), [])
        if not left:
            left.extend(rng.permutation(_round(parameter, kinds)))
        return parameter.choices[left.pop()]

    design = []
    for number in range(count):
        group: list[Any] = []

        def choose(parameter: Parameter, number: int = number, group: list[Any] = group) -> Any:
            value = draw(parameter, number, tuple(group))
            if parameter.name in ("method", "prox"):
                group.append(value)
            return value

        design.append(space.fill(choose))
    return design


def _round(parameter: Parameter, kinds: list[Values]) -> list[int]:
    """The places of a parameter's choices in one round: each once, a method once for each of its proximal maps."""
    if parameter.name != "method":
        return list(range(len(parameter.choices)))
    return [place for kind in kinds for place, choice in enumerate(parameter.choices) if kind["method"] == choice]
