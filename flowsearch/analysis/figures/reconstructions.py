"""Measurement, each method's best reconstruction and the truth, as the paper's figure 2 shows them."""

import base64
from html import escape

import pandas as pd

from flowsearch.analysis.selection import best_of_each
from flowsearch.analysis.wording import decibels, missing
from flowsearch.results import Results

CAPTION = (
    "From left to right: what was measured, what the best trial of each method makes of it, and the true image. "
    "Under each its PSNR in dB; the images are the first of each test set, not chosen."
)
BYTES = 2_500_000
"""Most bytes of pictures that one grid takes."""

MEASUREMENT, RECONSTRUCTION, TRUTH = "measurement", "reconstruction", "truth"


def data(results: Results, task: str, split: str = "test", images: int = 4, limit: int = BYTES) -> pd.DataFrame:
    """A row per picture: `image`, `column` (what the grid's head says), `trial_id`, `psnr`, `png`, in the grid's order.

    As many images as fit `limit` bytes, at most `images`, always one.
    """
    best = best_of_each(results, "label", task)
    best = best[best["label"] != MEASUREMENT]  # it is shown first, whether the study has it as a method or not
    panels = results.panels[results.panels["split"] == split]
    panels = panels[panels["trial_id"].isin(best["trial_id"])]
    if panels.empty:
        return panels.assign(column=pd.Series(dtype=str))
    order = {trial_id: place for place, trial_id in enumerate(best["trial_id"])}
    names = dict(zip(best["trial_id"], best["label"], strict=True))
    frame = panels.assign(place=panels["trial_id"].map(order))
    # The measurement and the truth are every trial's alike; the best trial's are shown.
    shared = frame[frame["kind"] != RECONSTRUCTION].sort_values("place").drop_duplicates(["image", "kind"])
    shared = shared.assign(column=shared["kind"], place=shared["kind"].map({MEASUREMENT: -1, TRUTH: len(order)}))
    made = frame[frame["kind"] == RECONSTRUCTION]
    made = made.assign(column=made["trial_id"].map(names))
    frame = pd.concat([shared, made]).sort_values(["image", "place"], ignore_index=True)
    sizes = frame.groupby("image")["png"].agg(lambda pngs: sum(map(len, pngs))).cumsum()
    kept = sizes.index[: max(1, min(images, int((sizes <= limit).sum())))]
    columns = ["split", "image", "column", "kind", "trial_id", "psnr", "png"]
    return frame[frame["image"].isin(kept)][columns].reset_index(drop=True)


def draw(frame: pd.DataFrame) -> str:
    """The grid as an HTML table whose pictures are part of it."""
    if frame.empty:
        return ""
    heads = frame.drop_duplicates("column")
    columns = [TRUTH] if TRUTH in set(heads["column"]) else []
    columns = [*(name for name in heads["column"] if name != TRUTH), *columns]
    trials = {row.column: row.trial_id for row in heads.itertuples() if row.kind == RECONSTRUCTION}
    cells = {(row["image"], row["column"]): row for _, row in frame.iterrows()}
    head = "".join(
        f'<th scope="col">{escape(str(name))}'
        + (f"<small>trial {escape(str(trials[name]))}</small>" if name in trials else "<small>&nbsp;</small>")
        + "</th>"
        for name in columns
    )
    body = []
    for image in frame["image"].unique():
        top = frame.loc[frame["image"] == image, "psnr"].max()
        pictures = "".join(_cell(cells.get((image, name)), top) for name in columns)
        body.append(f"<tr>{pictures}</tr>")
    table = f'<table class="panels"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _cell(row: pd.Series | None, top: float) -> str:
    if row is None:
        return "<td></td>"
    source = base64.b64encode(row["png"]).decode("ascii")
    under = decibels(row["psnr"])
    if missing(row["psnr"]):
        under = "&nbsp;"
    elif row["psnr"] == top:
        under = f"<b>{under}</b>"
    alternative = escape(f"{row['column']} of image {row['image']}", quote=True)
    return f'<td><img alt="{alternative}" src="data:image/png;base64,{source}"><span>{under}</span></td>'
