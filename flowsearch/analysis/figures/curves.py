"""Validation PSNR over the epochs of every trained network: the best of each method in full, the others faint."""

import math

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.marks import by_group
from flowsearch.analysis.selection import best_of_tasks, groups
from flowsearch.analysis.wording import label
from flowsearch.results import Results, schema

CAPTION = (
    "Strong lines are the best completed trial of each method, thin ones all other trials, dotted ones those "
    "that were stopped early."
)
BEST, OTHER, STOPPED = "best", "other", "stopped"
_SPAN_DB = 8.0
"""How far below the median of the last values the axis may begin: a first epoch far down must not flatten the rest."""


def data(results: Results) -> pd.DataFrame:
    """A row per epoch of a trial that was trained by epochs: `epoch`, `val_psnr`, `group` and `role`."""
    epochs = results.epochs
    # What is tuned and not trained has one record, without a learning rate.
    train = epochs[(epochs["phase"] == schema.TRAIN_PHASE) & epochs["val_psnr"].notna() & epochs["lr"].notna()]
    known = results.labelled
    trials = known[["trial_id", "label", "task", "status"]].assign(group=groups(known))
    frame = train[["trial_id", "epoch", "val_psnr"]].merge(trials, on="trial_id", how="left")
    frame["group"] = frame["group"].fillna("unknown")
    frame["label"] = frame["label"].fillna("unknown")
    going = frame["status"].isin((schema.COMPLETED, schema.RUNNING)) | frame["status"].isna()
    frame["role"] = going.map({True: OTHER, False: STOPPED}).astype(object)
    frame.loc[frame["trial_id"].isin(best_of_tasks(results)), "role"] = BEST
    return frame


def draw(frame: pd.DataFrame) -> go.Figure:
    """Lines over epochs. Trials of one group and role share a trace, so that hundreds of them stay quick."""
    figure = theme.figure("epoch", label("val_psnr"))
    figure.update_xaxes(rangemode="tozero")
    faint = min(0.5, max(0.2, 15 / max(1, frame["trial_id"].nunique())))
    drawn = list(by_group(frame))
    for role in (STOPPED, OTHER, BEST):  # the best above all others
        for name, style, rows in drawn:
            part = rows[rows["role"] == role]
            if part.empty:
                continue
            first = next(one for one in (BEST, OTHER, STOPPED) if one in set(rows["role"]))
            lead = role == first and role != STOPPED
            x, y, names = _joined(part)
            figure.add_scatter(
                x=x,
                y=y,
                customdata=names,
                mode="lines+markers" if len(part) == 1 else "lines",
                line={"color": style.color, "width": 2.75 if role == BEST else 1.5 if lead else 1}
                | ({"dash": "dot"} if role == STOPPED else {}),
                opacity=1.0 if role == BEST else 0.8 if lead else faint,
                name=name,
                legendgroup=name,
                showlegend=role == first,
                hovertemplate=f"{name}, trial %{{customdata}}<br>epoch %{{x}}: %{{y:.2f}} dB<extra></extra>",
            )
    if len(frame):
        figure.update_yaxes(range=_range(frame))
    return figure


def _joined(rows: pd.DataFrame) -> tuple[list[int | None], list[float | None], list[str]]:
    """The trials' lines one after the other with a gap between them."""
    x: list[int | None] = []
    y: list[float | None] = []
    names: list[str] = []
    for trial_id, one in rows.groupby("trial_id", sort=True):
        x += [*one["epoch"].astype(int).tolist(), None]
        y += [*(round(float(value), 3) for value in one["val_psnr"]), None]
        names += [str(trial_id)] * (len(one) + 1)
    return x, y, names


def _range(frame: pd.DataFrame) -> tuple[float, float]:
    values = frame["val_psnr"].astype(float)
    values = values[values.map(math.isfinite)]
    last = frame.groupby("trial_id")["val_psnr"].last().median()
    low, high = max(float(values.min()), float(last) - _SPAN_DB), float(values.max())
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin
