"""What single factors do, in sentences: pre-training, tied weights, the number of folds."""

import numpy as np
import pandas as pd

from flowsearch.analysis.comparisons import p_told
from flowsearch.analysis.statistics import FEW, effect
from flowsearch.analysis.wording import listed, named, plural
from flowsearch.results import Results
from flowsearch.results.forms import form_of, signed, written
from flowsearch.results.scores import IMAGES, SEEDS, SEEDS_AND_IMAGES
from flowsearch.statistics import holm

FACTORS = {"pretrain": "Pre-training", "weights": "Tied or untied weights", "folds": "Number of folds"}
_VALUES = {"pretrain": {True: "pre-trained", False: "not pre-trained"}}
_FOLDS = {1: "1 fold"}
_LISTED = 3
"""So many tasks, and values of a factor, are told in one sentence."""


def factor_sentences(results: Results) -> list[str]:
    """A sentence for each factor that varies; p-values corrected for all differences of all factors together."""
    metric = _metric(results)
    known = {factor: effect(results, factor, metric) for factor in FACTORS}
    known = {factor: table for factor, table in known.items() if len(table)}
    if not known:
        return []
    corrected = holm(pd.concat([table["p"] for table in known.values()]).to_numpy(dtype=float))
    said, start = [], 0
    for factor, table in known.items():
        table = table.assign(p_holm=corrected[start : start + len(table)])
        start += len(table)
        said.append(_sentence(factor, table, metric))
    return said


def _metric(results: Results) -> str:
    """The test PSNR, of which single images are known; the objective where no trial has it."""
    return "test_psnr" if results.completed["test_psnr"].notna().any() else results.objective[0]


def _sentence(factor: str, table: pd.DataFrame, metric: str) -> str:
    matched = bool(table["matched"].any())
    lost = _lost(factor, table)
    parts = []
    kinds = list(table.groupby("task", sort=True, dropna=False))
    for task, own in kinds[:_LISTED]:
        told = _told(own, metric, matched)
        if told:
            parts.append(f"{task}: {told}" if len(kinds) > 1 else told)
    left = len(kinds) - _LISTED
    more = f"; and {plural(left, 'more task')}" if left > 0 else ""
    parts = parts or ["no network was completed with both"]
    if matched:
        how = "configurations that differ in nothing else"
        return f"{FACTORS[factor]} ({named(metric)}, {how}): {'; '.join(parts)}{more}.{lost}"
    smallest = int(table["n"].min())
    limit = "Other settings differ between the sides too, so the difference is not the choice's alone."
    if smallest < FEW:
        few = f"With fewer than {FEW} configurations on a side"
        limit = f"{few}, and other settings varying too, this is no finding by itself."
    how = "means of unmatched configurations"
    return f"{FACTORS[factor]} ({named(metric)}, {how}): {'; '.join(parts)}{more}.{lost} {limit}"


def _lost(factor: str, table: pd.DataFrame) -> str:
    """Which configurations have no part in it: a value that many fail with may still do well where it does not fail."""
    counts = table.groupby("value", sort=False)[["lost", "tried"]].sum()
    if not counts["lost"].sum():
        return ""
    if len(counts) > _LISTED:
        told = f"{counts['lost'].sum()} of {counts['tried'].sum()}"
    else:
        told = listed([f"{_value(factor, value)} {row['lost']} of {row['tried']}" for value, row in counts.iterrows()])
    return f" Without those that were pruned, failed or diverged: {told}."


def _told(own: pd.DataFrame, metric: str, matched: bool) -> str:
    """The differences of one task to its reference: all of them, or of many values the last one's."""
    others = own.iloc[1:]
    if matched:
        others = others[others["matched"]]
    others = others.dropna(subset=["difference"])
    if others.empty:
        return ""
    told = others if len(others) <= _LISTED else others.tail(1)
    first = own.iloc[0]
    parts = []
    for _, row in told.iterrows():
        one, two = (_value(str(row["factor"]), value) for value in (row["value"], row["reference"]))
        text = f"{one} against {two} {_amount(metric, row['difference'], sign=True)}"
        if not matched:
            one, two = (f"{_amount(metric, side['mean'])} of {side['n']}" for side in (row, first))
            plain = np.isclose(row["mean"] - first["mean"], row["difference"])
            text += f", means {one} and {two}" if plain else f" within the same network, of {row['n']} and {first['n']}"
            enough = bool(row["over"]) and min(row["n"], first["n"]) >= FEW
        else:
            enough = bool(row["over"])
        inside = [_over(row)] if matched else []
        if enough:
            ends = " to ".join(
                _amount(metric, row[f"difference_{end}"], sign=True, unit=False) for end in ("low", "high")
            )
            told_p = p_told(row["p_holm"], row["difference_low"], row["difference_high"])
            inside = [f"95% interval {ends}", *inside, *told_p]
        parts.append(f"{text} ({', '.join(inside)})" if inside else text)
    return listed(parts) if len(parts) < _LISTED else "; ".join(parts)


def _over(row: pd.Series) -> str:
    """How many pairs or what else the interval is over."""
    if row["pairs"] > 1:
        return f"n = {int(row['pairs'])} pairs"
    seeds, images = (0 if pd.isna(row[name]) else int(row[name]) for name in ("seeds", "images"))
    told = {IMAGES: f"one pair, n = {images} images", SEEDS: f"one pair, {seeds} seeds"}
    told[SEEDS_AND_IMAGES] = f"one pair, {seeds} seeds, n = {images} images"
    return told.get(row["over"], "one pair")


def _value(factor: str, value: object) -> str:
    if factor == "folds":
        return _FOLDS.get(int(str(value)), f"{value} folds")
    return _VALUES.get(factor, {}).get(bool(value), str(value)) if factor in _VALUES else str(value)


def _amount(metric: str, value: float, *, sign: bool = False, unit: bool = True) -> str:
    if sign and form_of(metric) == "decibels":
        return signed(value) + (" dB" if unit else "")
    return written(metric, value, unit=unit)
