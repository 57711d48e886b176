"""The method that a study is about, held against every other on each task."""

from typing import Final

import pandas as pd

from flowsearch.analysis.wording import listed, plural
from flowsearch.results import Results
from flowsearch.results.compare import differences
from flowsearch.results.configurations import best_of_each
from flowsearch.results.forms import p_value
from flowsearch.results.scores import SPLITS, Scores
from flowsearch.statistics import holm

OURS: Final = ("glow", "unrolled glow")
"""What the unrolled network with the Glow prior, which the paper proposes, is called."""
UNTRIED: Final = ("measurement", "adjoint")
"""Methods that reconstruct nothing: what a gain over them says is said as the gain over the measurements."""

ALPHA: Final = 0.05
"""A corrected p-value above this is no clear difference."""


def p_told(p_holm: float, low: float, high: float) -> list[str]:
    """The corrected p-value of a difference and what follows from it; with why, where the interval, which is not
    corrected, would say otherwise."""
    if p_holm <= ALPHA:
        return [p_value(p_holm)]
    clear_alone = low > 0 or high < 0
    return [p_value(p_holm) + (" corrected for all comparisons" if clear_alone else ""), "no clear difference"]


def held_against(results: Results) -> pd.DataFrame:
    """On each task the best configuration of `ours` (of the best method, where there is no Glow) minus the best of each
    other method: rows as `Results.compare` has them, for both test sets, with `p_holm` over all of them together."""
    known = [differences(results, "label", ["task"], split=split) for split in SPLITS]
    table = pd.concat([one for one in known if len(one)] or known[:1], ignore_index=True)
    table = table[~(table["first"].isin(UNTRIED) | table["second"].isin(UNTRIED))]
    chosen = table["task"].map({task: ours(results, task) for task in results.tasks})
    ahead, behind = table[table["first"] == chosen], table[table["second"] == chosen]
    found = pd.concat([ahead, turned(behind)]).sort_index()
    return found.assign(p_holm=holm(found["p"].to_numpy(dtype=float))).reset_index(drop=True)


def ours(results: Results, task: str) -> str | None:
    """The method that others are held against on a task: the unrolled Glow, else the best; None without any."""
    names = [str(name) for name in best_of_each(results, "label", task)["label"]]
    known = [name for name in names if name not in UNTRIED]
    return next((name for name in known if name in OURS), known[0] if known else None)


def turned(table: pd.DataFrame) -> pd.DataFrame:
    """The same differences, from the other side."""
    other = {"first": "second", "second": "first"}
    names = {f"{one}{end}": f"{two}{end}" for one, two in other.items() for end in ("", "_trial", "_mean")}
    found = table.rename(columns=names | {"low": "high", "high": "low"})[list(table.columns)]
    return found.assign(**{name: -found[name] for name in ("difference", "low", "high")})


def lost_seeds(results: Results, most: int) -> str:
    """Of the best configurations of each method on each task, at most `most` of those whose seeds have not all a
    result: `2 of 3 of trial 0003's configuration`; empty where none has lost any."""
    found = [best_of_each(results, "label", task) for task in results.tasks]
    lost = [one for best in found for one in best.to_dict("records") if one["lost"]]
    told = [
        f"{one['lost']} of {one['repeats'] + one['lost']} of trial {one['trial_id']}'s configuration"
        for one in lost[:most]
    ]
    return listed(told) + (f"; and of {plural(len(lost) - most, 'more configuration')}" if len(lost) > most else "")


def reached(results: Results, chosen: pd.DataFrame, split: str = "test") -> pd.DataFrame:
    """`chosen`, rows of `configurations`, with their PSNR on `split` as `score` and that above the measurements as
    `gain`, both with intervals; None where they are not known."""
    scores = Scores(results, chosen, f"{split}_psnr")
    rows = chosen.to_dict("records")
    return chosen.assign(
        score=pd.Series([scores.mean(row) for row in rows], chosen.index, dtype=object),
        gain=pd.Series([scores.gain(row) for row in rows], chosen.index, dtype=object),
    )
