"""What the paper printed (tables I to III), and a study's numbers beside it.

Mean PSNR in dB over 200 photographs of faces, and over 100 drawn ones out of distribution, at 64 x 64.
"""

from collections.abc import Mapping
from typing import Final

import pandas as pd

from flowsearch.results.scores import Score

_NETWORKS: Final = ("resnet", "unet", "glow")

PSNR: Final[dict[str, dict[str, dict[str, float]]]] = {
    split: {task: dict(zip(_NETWORKS, values, strict=True)) for task, values in table.items()}
    for split, table in {
        "test": {
            "denoise-0.1": (27.957, 27.977, 29.062),
            "denoise-0.2": (26.559, 26.773, 27.566),
            "inpaint-19": (32.504, 32.729, 34.720),
            "deblur-5": (32.340, 28.091, 33.301),
        },
        "ood": {
            "denoise-0.1": (21.878, 21.295, 22.006),
            "denoise-0.2": (21.293, 21.023, 21.396),
            "inpaint-19": (23.704, 23.837, 24.047),
            "deblur-5": (22.896, 20.191, 23.382),
        },
    }.items()
}
"""Tables I and II, by task and proximal map."""

NOT_PRETRAINED: Final = {"denoise-0.1": 27.918, "denoise-0.2": 26.373, "inpaint-19": 32.928, "deblur-5": 32.647}
"""Table III's first column, the Glow without pre-training; its second is the Glow of table I."""


def psnr(label: str, task: str, split: str) -> float | None:
    """What the paper has for a method on a task; None where it has nothing."""
    return PSNR.get(split, {}).get(task, {}).get(label.removeprefix("unrolled "))


def gain_over_the_better(task: str, split: str) -> float | None:
    """How far the paper's Glow is above the better of its two baselines."""
    known = PSNR.get(split, {}).get(task)
    return None if known is None else known["glow"] - max(known["resnet"], known["unet"])


def gain_of_pretraining(task: str) -> float | None:
    """How far the paper's pre-trained Glow is above the one that is not."""
    return PSNR["test"][task]["glow"] - NOT_PRETRAINED[task] if task in NOT_PRETRAINED else None


def over_the_better(held: pd.DataFrame, task: str, split: str) -> pd.Series | None:
    """Of the gains over the paper's two baselines, that over the one with the higher mean; None without both."""
    own = held[(held["task"] == task) & (held["split"] == split)]
    own = own[own["second"].str.removeprefix("unrolled ").isin(("resnet", "unet"))]
    own = own[own["first"].str.removeprefix("unrolled ") == "glow"]
    return own.sort_values("second_mean").iloc[-1] if len(own) == 2 else None


def beside(scores: Mapping[str, Score], task: str, split: str) -> list[tuple[str, float, Score]]:
    """Of the methods of a task those that the paper has too: name, the paper's PSNR, ours."""
    known = ((name, psnr(name, task, split), score) for name, score in scores.items())
    return [(name, theirs, score) for name, theirs, score in known if theirs is not None]
