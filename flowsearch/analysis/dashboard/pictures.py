"""Reconstructions: which pictures a trial kept, and the addresses under which the server gives them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import pandas as pd
from dash import html
from dash.development.base_component import Component

from flowsearch.analysis.dashboard import bits
from flowsearch.analysis.dashboard.address import Address
from flowsearch.analysis.dashboard.watch import Watched
from flowsearch.results import schema
from flowsearch.results.forms import decibels, missing

Row = Mapping[Any, Any]

KINDS = ("measurement", "reconstruction", "truth")
SPLITS = {"test": "Test images", "ood": "Out of distribution"}


def panels_of(watched: Watched, ids: Sequence[str]) -> pd.DataFrame:
    """The pictures of some trials."""
    return watched.rows_of(schema.PANELS, ids)


def picture(watched: Watched, trial: str, attempt: int, split: str, image: int, kind: str) -> bytes | None:
    """One picture as PNG; None where there is none."""
    rows = panels_of(watched, [trial])
    rows = rows[(rows["split"] == split) & (rows["image"] == image) & (rows["attempt"] == attempt)]
    what, _, fold = kind.partition("-")
    rows = rows[(rows["kind"] == what) & (rows["fold"].astype("string") == fold if fold else rows["fold"].isna())]
    png = None if rows.empty else rows["png"].iloc[0]
    return png if isinstance(png, bytes) and png.startswith(b"\x89PNG") else None


def strip(watched: Watched, address: Address, trial: str, *, images: int) -> list[Component]:
    """The first test images: measurement, reconstruction and truth of each, in a row."""
    rows = panels_of(watched, [trial])
    rows = rows[rows["split"] == "test"]
    if rows.empty:
        return []
    shown = sorted(rows["image"].unique())[:images]
    groups = []
    for image in shown:
        of_image = {row["kind"]: row for row in rows[rows["image"] == image].to_dict("records")}
        cells = [figure(address, of_image[kind], kind) for kind in KINDS if kind in of_image]
        groups.append(html.Div(cells, className="triple"))
    return [html.Div(groups, className="strip")]


def grid(address: Address, panels: pd.DataFrame, split: str, columns: Sequence[tuple[str, str]]) -> Component | None:
    """A table of pictures: a row an image; the measurement, each of `columns` (a trial's id, its heading), the truth.

    None where the trials kept no pictures of this split.
    """
    rows = panels[(panels["split"] == split) & panels["kind"].isin(KINDS)]
    if rows.empty:
        return None
    cells: dict[tuple[Any, str], Row] = {}
    for row in rows.to_dict("records"):
        column = row["trial_id"] if row["kind"] == "reconstruction" else row["kind"]
        cells.setdefault((row["image"], column), row)
    names = [("measurement", "measurement"), *columns, ("truth", "truth")]
    names = [(key, title) for key, title in names if any(column == key for _, column in cells)]
    body = []
    for image in sorted(rows["image"].unique()):
        made = [cells.get((image, key)) for key, _ in names]
        top = max((row["psnr"] for row in made if row is not None and not missing(row["psnr"])), default=None)
        body.append(
            html.Tr(
                [
                    html.Td(None if row is None else figure(address, row, title, best=row["psnr"] == top))
                    for row, (_, title) in zip(made, names, strict=True)
                ]
            )
        )
    head = html.Tr([html.Th(title, scope="col") for _, title in names])
    return bits.scrolled(html.Table([html.Thead(head), html.Tbody(body)], className="panels"), SPLITS[split])


def fold_by_fold(address: Address, panels: pd.DataFrame) -> list[Component]:
    """The images that a trial kept of its folds: from the measurement over the start and each fold to the truth."""
    found: list[Component] = []
    for split, title in SPLITS.items():
        rows = panels[panels["split"] == split]
        kept = rows[rows["kind"] == "fold"].sort_values("fold")
        lines = []
        for image in sorted(kept["image"].unique()):
            ends = {row["kind"]: row for row in rows[(rows["image"] == image) & rows["fold"].isna()].to_dict("records")}
            folds = kept[kept["image"] == image].to_dict("records")
            line = [(ends.get("measurement"), "measured"), *((row, _fold_name(row["fold"])) for row in folds)]
            line.append((ends.get("truth"), "truth"))
            lines.append(
                html.Div(
                    [figure(address, row, name, said=name) for row, name in line if row is not None], className="line"
                )
            )
        if lines:
            found.append(html.Div([html.H3(f"{title}, fold by fold"), *lines]))
    return found


def _fold_name(fold: Any) -> str:
    return "start" if int(fold) == 0 else f"fold {int(fold)}"


def figure(address: Address, row: Row, title: str, *, best: bool = False, said: str = "") -> Component:
    """A picture with its PSNR under it, and what it is, where that is `said`."""
    under: Any = "\N{NO-BREAK SPACE}" if missing(row["psnr"]) else decibels(row["psnr"])
    image = html.Img(src=source(address, row), alt=f"{title} of {row['split']} image {row['image']}")
    name = [html.Small(said)] if said else []
    return html.Figure([image, html.Figcaption([html.B(under) if best else under, *name])])


def source(address: Address, row: Row) -> str:
    """Where the server gives the picture. A browser keeps it for good, so its address says what it holds: a study may
    be removed, and made again under its name."""
    study = quote(address.study, safe="") if address.study else "-"
    kind = row["kind"] if missing(row["fold"]) else f"{row['kind']}-{int(row['fold'])}"
    where = (row["trial_id"], row["attempt"], row["split"], row["image"], kind)
    said = content(row["png"] if isinstance(row["png"], bytes) else b"")
    return f"/picture/{study}/" + "/".join(quote(str(part), safe="") for part in where) + f".png?{said}"


def content(png: bytes) -> str:
    """What a picture's address says of what it holds."""
    return hashlib.blake2b(png, digest_size=6).hexdigest()
