"""How much each searched name has to do with reaching a good objective: PED-ANOVA, each name where it is used.

PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023), as Optuna has it, compares how a name's values are spread among
the best `TOP` of the configurations with how they are spread among all of them: v = TOP^2 times the Pearson divergence.
It asks what it takes to be among the best, and allows for a sampler that did not draw evenly. It looks at one name at a
time, so that what two names do together only is missed.

A name that only some configurations have (`depth`, of a flow), or that is searched for some of them only (`when`), is
judged among those alone: a scope. Elsewhere it has a value that nobody chose, which says of a configuration what its
other names say already. Shares add up to one within a scope, and say nothing across scopes.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from flowsearch.results import Results, schema
from flowsearch.results.configurations import configurations, varies

if TYPE_CHECKING:
    from optuna.study import Study

METHOD: Final = "PED-ANOVA"
TOP: Final = 0.2
"""The best share of the configurations, whose values are compared with all."""
FEWEST: Final = 25
"""With fewer configurations than this, fewer than five are among the best, and no importance is given."""

ALL: Final = "all"

_LOG_FROM = 30
"""Ranges whose ends differ by more than this factor are judged by their order of magnitude."""
_HALVES = 20
_SHUFFLES = 19
_COLUMNS = [
    *("task", "scope", "name", "importance", "share", "low", "high", "chance", "above_chance", "n", "method", "note")
]
_NOT_SEARCHED = frozenset({"task", "source", "size", "seed"})


def importance(results: Results, metric: str | None = None, task: str | None = None, *, seed: int = 0) -> pd.DataFrame:
    """The importance of each name that varies for `metric` (default: the study's objective), of each task by itself.

    A row per task, scope and name, the most important first. `scope` is `all`, or which configurations the name is
    judged among, such as `prox = glow`. `importance` is v; `share` its part of the scope's sum, and `low` to `high` are
    1.96 standard deviations to each side, over halves of the configurations, drawn at random (a half without
    replacement spreads as the whole does with it). That is no interval of the share that many configurations would
    give: few are biased (docs/statistics.md). `chance` is the largest v in 19 shufflings of the metric: a name without
    importance is `above_chance` once in twenty times. `n` counts configurations.

    Where there are fewer than `FEWEST`, the scope has one row with its `note`, and neither name nor numbers.
    """
    name, more = results.objective
    if metric is not None:
        more = more if metric == name else metric not in schema.MINIMIZED
        name = metric
    rows: list[dict[str, Any]] = []
    found = configurations(results, task)
    found = found.dropna(subset=[name]) if name in found else found.iloc[:0]
    for of, own in found.groupby("task", sort=True, dropna=False):
        losses = own[name].to_numpy(dtype=np.float64) * (-1.0 if more else 1.0)
        for scope, names, inside in _scopes(own, _searched(results), _space(results)):
            rows += [{"task": of, "scope": scope} | row for row in _scope(own[inside], losses[inside], names, seed)]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return table.assign(method=METHOD, above_chance=table["above_chance"].astype("boolean"))


def _searched(results: Results) -> list[str]:
    """The names that the study varies; all of a configuration's where its file does not say."""
    space = _space(results)
    known = [one.name for one in schema.CONFIG_COLUMNS if one.name not in _NOT_SEARCHED]
    return [name for name in known if name in space] if space else known


def _space(results: Results) -> Mapping[str, Any]:
    """The study file's space; empty where there is none to read."""
    space = results.study.get("space")
    return space if isinstance(space, Mapping) else {}


def _chosen(own: pd.DataFrame, name: str, space: Mapping[str, Any]) -> pd.Series:
    """Which configurations, all of one task, have a value of the name that was chosen."""
    return own[name].notna() & _asked(own, name, space)


def _asked(own: pd.DataFrame, name: str, space: Mapping[str, Any]) -> pd.Series:
    """Where a name's conditions (`when`) hold, and those of each name in them. A null may be what is asked for; a map
    that nobody chose, the method's own, counts too, as it does in a search."""
    holds = pd.Series(True, own.index)
    entry = space.get(name)
    when = entry.get("when") if isinstance(entry, Mapping) else None
    for other, asked in when.items() if isinstance(when, Mapping) else ():
        if other in own and other != "task":
            holds &= _is_one_of(own[str(other)], asked if isinstance(asked, list) else [asked])
            if other != "prox":
                holds &= _asked(own, other, space)
    return holds


def _is_one_of(values: pd.Series, asked: Sequence[Any]) -> pd.Series:
    """Where a column has one of the values; of one's own map it has the kind, whose parameters are in another."""
    if values.name == "prox":
        asked = [next(iter(one), None) if isinstance(one, Mapping) else one for one in asked]
        asked = [one.partition("(")[0] if isinstance(one, str) else one for one in asked]
    return values.isin([one for one in asked if one is not None]) | (values.isna() & (None in asked))


def _scopes(
    own: pd.DataFrame, searched: Sequence[str], space: Mapping[str, Any]
) -> list[tuple[str, list[str], npt.NDArray[np.bool_]]]:
    """Which names are judged among which configurations: those that were chosen for all among all, and each group of
    names that were chosen for the same configurations among these, with the names that were for all of them."""
    chosen = {name: _chosen(own, name, space) for name in searched}
    names = [name for name in searched if varies(own[name][chosen[name]])]
    groups: dict[bytes, list[str]] = {}
    for name in names:
        groups.setdefault(chosen[name].to_numpy(dtype=bool).tobytes(), []).append(name)
    scopes: list[tuple[str, list[str], npt.NDArray[np.bool_]]] = []
    for mask, members in groups.items():
        inside = np.frombuffer(mask, dtype=bool)
        if inside.all():
            scopes.insert(0, (ALL, members, inside))
        else:
            active = own[inside]
            varying = [name for name in names if chosen[name][inside].all() and varies(active[name])]
            scopes.append((_described(own, inside, members), varying, inside))
    return scopes


def _described(own: pd.DataFrame, inside: npt.NDArray[np.bool_], members: Sequence[str]) -> str:
    """Which configurations these are: `prox = glow`, or those that have the names."""
    for column in ("method", "prox", "weights"):
        values = own[column].where(own[column].notna(), "none").astype(str)
        chosen = sorted(set(values[inside]))
        if not set(chosen) & set(values[~inside]):
            return f"{column} = {' or '.join(chosen)}"
    return f"with {', '.join(members)}"


def _scope(own: pd.DataFrame, losses: npt.NDArray[np.float64], names: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """The rows of one scope."""
    count = len(own)
    if count < FEWEST:
        note = f"{count} of the {FEWEST} configurations that an importance takes"
        return [{"n": count, "note": note}]
    judged = _judge(own, names)
    whole = judged(losses)
    rng = np.random.default_rng(seed)
    halves = np.array([_shares(judged(_half(losses, rng))) for _ in range(_HALVES)])
    spread = 1.96 * halves.std(axis=0, ddof=1)
    chance = np.max([judged(rng.permutation(losses)) for _ in range(_SHUFFLES)], axis=0)
    shares = _shares(whole)
    rows = []
    for place in np.argsort(-whole, kind="stable"):
        ends = np.clip([shares[place] - spread[place], shares[place] + spread[place]], 0, 1)
        rows.append(
            {"name": names[place], "importance": whole[place], "share": shares[place], "low": ends[0], "high": ends[1]}
            | {"chance": chance[place], "above_chance": bool(whole[place] > chance[place]), "n": count, "note": ""}
        )
    return rows


def _half(losses: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Every other one, at random; the others are infinite, which Optuna's evaluators leave out."""
    left = rng.permutation(len(losses))[len(losses) // 2 :]
    half = losses.copy()
    half[left] = np.inf
    return half


def _shares(importances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    total = importances.sum()
    return importances / total if total > 0 else np.full(len(importances), np.nan)


def _judge(own: pd.DataFrame, names: Sequence[str]) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """A function from the losses of the configurations, lower is better, to the importance of each name."""
    study = _study(own, names)
    from optuna.importance import PedAnovaImportanceEvaluator

    evaluator = PedAnovaImportanceEvaluator(target_quantile=TOP)

    def judge(losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that low values are the good ones, at each call
            found = evaluator.evaluate(study, list(names), target=lambda trial: float(losses[trial.number]))
        return np.array([found[name] for name in names])

    return judge


def _study(own: pd.DataFrame, names: Sequence[str]) -> "Study":
    """The configurations as an Optuna study in memory, in their order."""
    import optuna
    from optuna.trial import create_trial

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # "A new study created in memory"
    try:
        study = optuna.create_study()
    finally:
        optuna.logging.set_verbosity(level)
    distributions = {name: _distribution(own[name]) for name in names}
    values = {name: own[name].tolist() for name in names}
    study.add_trials(
        create_trial(params={name: values[name][row] for name in names}, distributions=distributions, value=0.0)
        for row in range(len(own))
    )
    return study


def _distribution(values: pd.Series) -> Any:
    """What Optuna takes the column's values for: a range as wide as they are, or a choice among them."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if pd.api.types.is_bool_dtype(values.dtype) or not pd.api.types.is_numeric_dtype(values.dtype):
        return CategoricalDistribution(sorted(set(values.tolist())))
    low, high = values.min(), values.max()
    if pd.api.types.is_integer_dtype(values.dtype):
        return IntDistribution(int(low), int(high))
    return FloatDistribution(float(low), float(high), log=low > 0 and high / low > _LOG_FROM)
