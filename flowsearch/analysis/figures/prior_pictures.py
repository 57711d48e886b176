"""What the pre-trained priors know of images: the mode and samples of each, as the paper's figure 3 shows the mode."""

import pandas as pd

from flowsearch.analysis.figures.grid import Head, Picture, pictures, table, within
from flowsearch.results import Results, schema
from flowsearch.results.forms import missing, number

CAPTION = (
    "Each pre-trained flow: first its most likely image g(0), where networks that start from the mode begin, then "
    "samples g(0.7 z) with z standard normal. Fewer bits per dimension (of validation images) is a better density."
)
BYTES = 700_000
"""Most bytes of pictures that the grid takes; half as many more as text."""
_MOST = 12
"""Priors."""
_SHAPE = ("depth", "levels", "hidden", "last_depth")


def data(results: Results, limit: int = BYTES) -> pd.DataFrame:
    """A row per picture: `prior` (its id), `image` (0 is the mode), `kind`, `png`, the `flow` in words, `bits_per_dim`
    and how many `trials` start from it. The priors of the best trials first, as many as fit `limit` bytes, always one.
    """
    trials = results.trials.dropna(subset=["prior"])
    ranked = results.ranked()["prior"].dropna()
    order = list(dict.fromkeys([*ranked, *sorted(trials["prior"].unique())]))
    panels = pictures(results, pd.Series(order, dtype=object))
    about = trials.groupby("prior").agg(trials=("trial_id", "size"), bits_per_dim=("bits_per_dim", "first"))
    about["flow"] = [_flow(own.iloc[0]) for _, own in trials.groupby("prior")]
    frame = panels[["trial_id", "image", "kind", "png"]].rename(columns={"trial_id": "prior"})
    frame = frame.merge(about, left_on="prior", right_index=True)
    frame = frame.assign(place=frame["prior"].map({prior: place for place, prior in enumerate(order)}))
    frame = frame.sort_values(["place", "image"], ignore_index=True).drop(columns="place")
    return within(frame, "prior", _MOST, limit) if len(frame) else frame


def cells(frame: pd.DataFrame) -> tuple[list[Head], list[list[Picture | None]]]:
    """The heads of the grid, and a row per prior."""
    rows: list[list[Picture | None]] = [
        [Picture(png=row["png"], about=f"{row['kind']} of {prior}") for row in own.to_dict("records")]
        for prior, own in frame.groupby("prior", sort=False)
    ]
    most = max(map(len, rows), default=0)
    heads = [Head("mode"), *(Head("samples" if place == 1 else "") for place in range(1, most))]
    return heads if rows else [], rows


def draw(frame: pd.DataFrame) -> str:
    """A row per prior."""
    sides = []
    for prior, own in frame.groupby("prior", sort=False):
        first = own.iloc[0]
        used = f"{first['trials']} trial{'s' if first['trials'] > 1 else ''}"
        bits = "" if missing(first["bits_per_dim"]) else f", {first['bits_per_dim']:.2f} bits/dim"
        sides.append(Head(str(first["flow"]), f"{str(prior)[: len(schema.PRIOR_PREFIX) + 8]}{bits}, {used}"))
    return table(*cells(frame), sides, small=True)


def _flow(trial: pd.Series) -> str:
    shape = ", ".join(f"{name.replace('_', ' ')} {number(trial[name])}" for name in _SHAPE if not missing(trial[name]))
    return shape or "flow"
