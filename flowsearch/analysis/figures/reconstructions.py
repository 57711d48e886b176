"""Measurement, each method's best reconstruction and the truth, as the paper's figure 2 shows them."""

import pandas as pd

from flowsearch.analysis.figures.grid import Head, Picture, pictures, table, within
from flowsearch.results import Results
from flowsearch.results.configurations import best_of_each
from flowsearch.results.forms import decibels, missing, number

CAPTION = (
    "From left to right: what was measured, what the best trial of each method makes of it, and the true image. "
    "Under each its PSNR in dB; the images are the first of each test set, not chosen."
)
BYTES = 2_000_000
"""Most bytes of pictures that the grids of a page take together; half as many more as text."""

MEASUREMENT, RECONSTRUCTION, TRUTH = "measurement", "reconstruction", "truth"


def data(
    results: Results,
    task: str | None = None,
    split: str = "test",
    images: int = 4,
    limit: int = BYTES,
    by: str = "label",
) -> pd.DataFrame:
    """A row per picture: `image`, `column` (what the grid's head says), `trial_id`, `psnr`, `png`, in the grid's order.

    The best trial of each value of the column `by` of trials: of each method, or with and without pre-training
    (`pretrain`). As many images as fit `limit` bytes, at most `images`, always one.
    """
    best = best_of_each(results, by, task)
    best = best[best["label"] != MEASUREMENT]  # it is shown first, whether the study has it as a method or not
    panels = pictures(results, best["trial_id"])
    panels = panels[(panels["split"] == split) & panels["kind"].isin((MEASUREMENT, RECONSTRUCTION, TRUTH))]
    columns = ["split", "image", "column", "kind", "trial_id", "psnr", "png"]
    if panels.empty:
        return panels.assign(column=pd.Series(dtype=str))[columns]
    order = {trial_id: place for place, trial_id in enumerate(best["trial_id"])}
    heads = best["label"] if by == "label" else [f"{by}: {number(value)}" for value in best[by]]
    names = dict(zip(best["trial_id"], heads, strict=True))
    frame = panels.assign(place=panels["trial_id"].map(order))
    # The measurement and the truth are every trial's alike; the best trial's are shown.
    shared = frame[frame["kind"] != RECONSTRUCTION].sort_values("place").drop_duplicates(["image", "kind"])
    shared = shared.assign(column=shared["kind"], place=shared["kind"].map({MEASUREMENT: -1, TRUTH: len(order)}))
    made = frame[frame["kind"] == RECONSTRUCTION]
    made = made.assign(column=made["trial_id"].map(names))
    frame = pd.concat([shared, made]).sort_values(["image", "place"], ignore_index=True)
    return within(frame[columns], "image", images, limit)


def columns(frame: pd.DataFrame) -> list[str]:
    """The heads of the grid, the truth last."""
    names = list(dict.fromkeys(frame["column"]))
    return sorted(names, key=lambda name: name == TRUTH)


def cells(frame: pd.DataFrame, columns: list[str]) -> list[list[Picture | None]]:
    """A row of the grid per image."""
    rows: list[list[Picture | None]] = []
    for image, own in frame.groupby("image", sort=False):
        found = {
            row["column"]: Picture(
                png=row["png"],
                under="" if missing(row["psnr"]) else decibels(row["psnr"]),
                about=f"{row['column']} of image {image}",
                strong=row["psnr"] == own["psnr"].max(),
            )
            for row in own.to_dict("records")
        }
        rows.append([found.get(name) for name in columns])
    return rows


def draw(frame: pd.DataFrame) -> str:
    """The grid as an HTML table whose pictures are part of it."""
    heads = columns(frame)
    made = frame[frame["kind"] == RECONSTRUCTION].drop_duplicates("column")
    trials = {row.column: f"trial {row.trial_id}" for row in made.itertuples()}
    return table([Head(name, trials.get(name, "")) for name in heads], cells(frame, heads))
