"""What a study's tables say of a factor.

Comparisons of the best configurations are `Results.compare`; the intervals are those of `flowsearch.statistics`.
"""

from typing import Any, Final

import pandas as pd

from flowsearch.results import Results, schema
from flowsearch.results.configurations import configurations, varies, without_result
from flowsearch.results.scores import Scores
from flowsearch.statistics import Interval, stratified_difference, student_interval
from flowsearch.statistics.interval import Values

FEW: Final = 5
"""Pairs that a search must happen to have, so that they are compared instead of all its configurations."""

CONFIGURATIONS: Final = "configurations"
"""What an interval is over: the configurations that the factor was varied in, as if drawn from others like them."""

_EFFECT = [
    *("task", "factor", "value", "mean", "low", "high", "n", "reference", "difference", "difference_low"),
    *("difference_high", "p", "pairs", "seeds", "images", "over", "matched", "tried", "lost"),
]


def effect(results: Results, factor: str, metric: str = "test_psnr", task: str | None = None) -> pd.DataFrame:
    """What each value of `factor` does to `metric`: a row per task and value, the reference's first.

    *Matched*: where configurations differ in the factor alone (a grid or an ablation has them), `difference` to the
    `reference` is the mean over those `pairs`, each of means over repeats, with its interval over configurations; where
    there is one pair, over its seeds and test images. `mean`, `low` and `high` are of the `n` configurations in pairs.

    Otherwise (a search) all `n` configurations with the value are taken, and the difference is one of unpaired means,
    Welch's, within each method and proximal map and averaged over these: other settings differ too, and the sampler
    chose them, so it is not the factor's alone. Missing where no network has both values.

    The reference is an ablation's baseline, else the first value. A factor other than `method` is one of those methods
    in which it varies, and of those proximal maps: that `map` always has a prior, and `score` in a study that fixes it
    there, is no effect of pre-training. Empty where the factor has one value. `KeyError` where trials have no such
    column.

    `lost` of the `tried` configurations with the value were pruned, failed or diverged, and have no part.
    """
    every, lost = configurations(results, task).dropna(subset=[factor, metric]), without_result(results, task)
    if factor == "weights":  # a single fold shares its weights with nobody
        every, lost = every[every["folds"] > 1], lost[lost["folds"] > 1]
    rows: list[dict[str, Any]] = []
    kinds = ["task", *_kinds(factor)]
    if factor != "method":  # no groupby.filter: that of pandas 2 leaves out what has no proximal map
        every = every[every.groupby(kinds, dropna=False)[factor].transform("nunique") > 1]
    for name, own in every.groupby("task", sort=True, dropna=False):
        if varies(own[factor]):
            gone = lost.merge(own[kinds].drop_duplicates(), on=kinds)[factor]
            for row in _effect(results, own, factor, metric):
                missed = int((gone == row["value"]).sum())
                tried = int((own[factor] == row["value"]).sum()) + missed
                rows.append({"task": name, "factor": factor} | row | {"tried": tried, "lost": missed})
    return pd.DataFrame(rows, columns=_EFFECT)


def alone(results: Results, factor: str) -> bool:
    """Whether `factor` is all that its sides differ in: on each task, beside each configuration stands one with every
    other value of the factor and the same of everything else. `factor` may be `label`, of method and proximal map."""
    every = configurations(results).dropna(subset=[factor])
    if factor == "weights":
        every = every[every["folds"] > 1]
    for _, own in every.groupby("task", dropna=False):
        values = own[factor].groupby(_blocks(results, own, factor)).nunique()
        if varies(own[factor]) and values.min() < len(own[factor].unique()):
            return False
    return True


def _effect(results: Results, own: pd.DataFrame, factor: str, metric: str) -> list[dict[str, Any]]:
    """The rows of one task."""
    values = _ordered(results, own, factor)
    placed = pd.DataFrame(
        {"block": _blocks(results, own, factor), "place": own[factor].map(values.index), metric: own[metric]}
    )
    cells = placed.pivot_table(index="block", columns="place", values=metric).reindex(columns=range(len(values)))
    pairs = [int((cells[0].notna() & cells[place].notna()).sum()) for place in range(len(values))]
    planned = results.study.get("mode", "search") in ("grid", "ablate")
    rows = []
    for place, value in enumerate(values):
        matched = bool(max(pairs[1:])) if place == 0 else bool(pairs[place])
        matched = matched and (planned or max(pairs[1:]) >= FEW)
        row = {"value": value, "reference": values[0], "matched": matched}
        if matched:
            row |= _matched(results, own, cells, factor, values, place, metric)
        else:
            row |= _of_mean(student_interval(own[metric][own[factor] == value].to_numpy(dtype=float)))
            strata = _strata(own, factor, value, values[0], metric)
            if place and strata:
                difference = stratified_difference(strata)
                row |= _of_difference(difference, CONFIGURATIONS if difference.known else "") | {"pairs": 0}
        rows.append(row)
    return rows


def _matched(
    results: Results, own: pd.DataFrame, cells: pd.DataFrame, factor: str, values: list[Any], place: int, metric: str
) -> dict[str, Any]:
    """Mean of the value at `place`, and its difference to the reference, over the blocks that have both."""
    others = cells.columns[1:] if place == 0 else [place]
    blocks = cells[cells[0].notna() & cells[others].notna().any(axis=1)]
    row = _of_mean(student_interval(blocks[place].to_numpy()))
    if place == 0:
        return row | {"pairs": len(blocks)}
    if len(blocks) > 1:
        difference = student_interval((blocks[place] - blocks[0]).to_numpy())
        return row | _of_difference(difference, CONFIGURATIONS) | {"pairs": len(blocks)}
    pair = own[_blocks(results, own, factor) == blocks.index[0]]
    sides = [pair[pair[factor] == value] for value in (values[place], values[0])]
    # Of several configurations with a value (a flow of two depths beside one ResNet) there is no pair of images.
    score = None
    if max(map(len, sides)) == 1:
        score = Scores(results, pair, metric).difference(*(side.iloc[0] for side in sides))
    if score is None:
        single = float(blocks[place].iloc[0] - blocks[0].iloc[0])
        return row | _of_difference(student_interval([single]), "") | {"pairs": 1}
    counts = {"pairs": 1, "seeds": score.seeds, "images": score.images}
    return row | _of_difference(score.interval, score.over) | counts


def _strata(own: pd.DataFrame, factor: str, value: Any, reference: Any, metric: str) -> list[tuple[Values, Values]]:
    """`metric` with each of two values of the factor, of each method and proximal map that has both."""
    kinds = own.groupby(_kinds(factor), dropna=False) if _kinds(factor) else [((), own)]
    found = [
        tuple(rows[metric][rows[factor] == each].to_numpy(dtype=float) for each in (value, reference))
        for _, rows in kinds
    ]
    return [(one, two) for one, two in found if len(one) and len(two)]


def _kinds(factor: str) -> list[str]:
    """What networks are told apart by, beside the factor."""
    return [name for name in ("method", "prox") if factor not in ("method", name)]


def _ordered(results: Results, own: pd.DataFrame, factor: str) -> list[Any]:
    """The factor's values, the reference first."""
    values = sorted(own[factor].unique().tolist(), key=lambda value: (isinstance(value, str), value))
    baseline = results.study.get("baseline")
    given = baseline.get(factor) if isinstance(baseline, dict) else None
    return sorted(values, key=lambda value: value != given)


def _blocks(results: Results, own: pd.DataFrame, factor: str) -> pd.Series:
    """A number for each configuration; those with the same one differ in `factor` alone.

    A name that some value of the factor has no use for (`depth`, where the factor is `prox`) belongs to the factor.
    Studies whose images or priors differ have no block together: their trials' columns do not say all of these.
    """
    parts = (factor, "seed", "task", *(("method", "prox") if factor == "label" else ()))
    files = [stored.study[0] for stored in results.studies.values()]
    names = ["study"] if any(one.get(key) != files[0].get(key) for one in files for key in ("data", "prior")) else []
    for one in schema.CONFIG_COLUMNS:
        if one.name not in parts and len(own[one.name].unique()) > 1:
            known = own[one.name].notna().groupby(own[factor]).any()
            if known.all() or not known.any():
                names.append(one.name)
    if not names:
        return pd.Series(0, own.index)
    return own.groupby(names, dropna=False, sort=False).ngroup()


def _of_mean(interval: Interval) -> dict[str, Any]:
    ends = (interval.low, interval.high) if interval.known else (float("nan"),) * 2
    return {"mean": interval.mean, "low": ends[0], "high": ends[1], "n": interval.n}


def _of_difference(interval: Interval, over: str) -> dict[str, Any]:
    ends = (interval.low, interval.high) if over else (float("nan"),) * 2
    row = {"difference": interval.mean, "difference_low": ends[0], "difference_high": ends[1]}
    return row | {"p": interval.p, "over": over}
