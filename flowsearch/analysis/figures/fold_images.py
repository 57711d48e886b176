"""A test image as each fold leaves it: how the best network of each kind comes to its reconstruction."""

import pandas as pd

from flowsearch.analysis.figures.grid import Head, Picture, pictures, table, within
from flowsearch.results import Results
from flowsearch.results.configurations import best_of_each
from flowsearch.results.forms import decibels, missing

CAPTION = (
    "The first test image after each fold of the best trial of each unrolled network, with its PSNR in dB: first what "
    "was measured and the image that the first fold starts from, last the truth. The network is trained for its last "
    "fold only, so that the images between need not get better one by one."
)
BYTES = 700_000
"""Most bytes of pictures that the grids of a page take together; half as many more as text."""
_COLUMNS = ["trial_id", "label", "split", "image", "place", "kind", "fold", "psnr", "png"]


def data(
    results: Results, task: str | None = None, split: str = "test", image: int = 0, limit: int = BYTES
) -> pd.DataFrame:
    """A row per picture of `image` of the split, a network after the other, each from the measurement over the folds to
    the truth; `fold` is missing for those two. As many networks as fit `limit` bytes, the best first, always one."""
    best = best_of_each(results, "label", task)
    panels = pictures(results, best["trial_id"])
    panels = panels[(panels["split"] == split) & (panels["image"] == image)]
    unrolled = panels.loc[panels["kind"] == "fold", "trial_id"].unique()
    panels = panels[panels["trial_id"].isin(unrolled) & panels["kind"].isin(("measurement", "fold", "truth"))]
    last = (panels["fold"].max() if len(unrolled) else 0) + 1
    place = panels["fold"].astype(float).fillna(panels["kind"].map({"measurement": -1.0, "truth": float(last)}))
    order = {trial_id: number for number, trial_id in enumerate(best["trial_id"])}
    frame = panels.assign(
        label=panels["trial_id"].map(dict(zip(best["trial_id"], best["label"], strict=True))),
        place=place,
        order=panels["trial_id"].map(order),
    )
    frame = frame.sort_values(["order", "place"], ignore_index=True)[_COLUMNS]
    return within(frame, "trial_id", len(order), limit) if len(frame) else frame


def draw(frame: pd.DataFrame) -> str:
    """A row per network, a column per fold."""
    titles = {row["place"]: _title(row["kind"], row["fold"]) for row in frame.to_dict("records")}
    places = sorted(titles)
    heads = [Head(titles[place]) for place in places]
    rows: list[list[Picture | None]] = []
    sides = []
    for trial_id, own in frame.groupby("trial_id", sort=False):
        sides.append(Head(str(own["label"].iloc[0]), f"trial {trial_id}"))
        cells = {
            row["place"]: Picture(
                png=row["png"],
                under="" if missing(row["psnr"]) else decibels(row["psnr"]),
                about=f"{titles[row['place']]}, {own['label'].iloc[0]}",
            )
            for row in own.to_dict("records")
        }
        rows.append([cells.get(place) for place in places])
    return table(heads, rows, sides)


def _title(kind: str, fold: object) -> str:
    if kind != "fold":
        return kind
    return "start" if fold == 0 else f"fold {fold}"
