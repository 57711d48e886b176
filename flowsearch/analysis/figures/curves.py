"""Validation PSNR over the epochs of every trained network: the best of each method in full, the others faint."""

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.marks import band, by_group, light
from flowsearch.analysis.selection import best_trials, groups, of_task
from flowsearch.analysis.wording import label
from flowsearch.results import Results, schema
from flowsearch.results.forms import hovered

CAPTION = (
    "Strong lines are the best completed trial of each method, thin ones other trials, dotted ones those that were "
    "stopped early. Of many trials some are drawn, evenly from the worst to the best of each method, and a band in "
    "which four fifths of those that are still trained lie at each epoch."
)
BEST, OTHER, STOPPED = "best", "other", "stopped"
_SPAN_DB = 8.0
"""How far below the median of the last values the axis may begin: a first epoch far down must not flatten the rest."""
_LINES = 90
"""Trials that are drawn as lines, of all methods together."""
_POINTS = 150
"""Epochs of a trial that are drawn, at most."""
_FEWEST = 5
"""Trials at an epoch, at least, to say where four fifths of them lie."""


def data(results: Results, task: str | None = None) -> pd.DataFrame:
    """A row per epoch of a trial that was trained by epochs: `epoch`, `val_psnr`, `group` and `role`."""
    epochs = results.epochs
    # What is tuned and not trained has one record, without a learning rate.
    train = epochs[(epochs["phase"] == schema.TRAIN_PHASE) & epochs["val_psnr"].notna() & epochs["lr"].notna()]
    known = of_task(results.labelled, task)
    trials = known[["trial_id", "label", "task", "status"]].assign(group=groups(known))
    # Epochs may come before their trial's first row.
    frame = train[["trial_id", "epoch", "val_psnr"]]
    frame = frame.merge(trials, on="trial_id", how="left" if task is None else "inner")
    frame["group"] = frame["group"].fillna("unknown")
    frame["label"] = frame["label"].fillna("unknown")
    going = frame["status"].isin((schema.COMPLETED, schema.RUNNING)) | frame["status"].isna()
    frame["role"] = going.map({True: OTHER, False: STOPPED}).astype(object)
    frame.loc[frame["trial_id"].isin(best_trials(results)), "role"] = BEST
    return frame


def draw(frame: pd.DataFrame, lines: int = _LINES) -> go.Figure:
    """Lines over epochs. Trials of one group and role share a trace, so that hundreds of them stay quick."""
    shown = sample(frame, lines)
    count, drawn = frame["trial_id"].nunique(), shown["trial_id"].nunique()
    figure = theme.figure("epoch" if drawn == count else f"epoch ({drawn:,} of {count:,} trials drawn)", "")
    figure.update_layout(yaxis_title_text=label("val_psnr"), xaxis_rangemode="tozero")
    if drawn < count:
        for name, style, rows in by_group(frame):
            spread = _spread(rows)
            figure.add_traces(
                band(spread.index.to_series(), spread["low"], spread["high"], color=style.color, name=name)
            )
    hover = f"trial %{{customdata}}<br>epoch %{{x}}: {hovered('val_psnr', 'y')}<extra></extra>"
    faint = min(0.5, max(0.2, 15 / max(1, drawn)))
    parts = list(by_group(shown))
    for role in (STOPPED, OTHER, BEST):  # the best above all others
        for name, style, rows in parts:
            part = rows[rows["role"] == role]
            if part.empty:
                continue
            first = next(one for one in (BEST, OTHER, STOPPED) if one in set(rows["role"]))
            lead = role == first and role != STOPPED
            joined = _joined(part)
            figure.add_scatter(
                x=light(joined["epoch"]),
                y=light(joined["val_psnr"]),
                customdata=joined["trial_id"].tolist(),
                mode="lines+markers" if len(part) == 1 else "lines",
                line={"color": style.color, "width": 2.75 if role == BEST else 1.5 if lead else 1}
                | ({"dash": "dot"} if role == STOPPED else {}),
                marker={"symbol": style.symbol},
                opacity=1.0 if role == BEST else 0.8 if lead else faint,
                name=name,
                legendgroup=name,
                showlegend=role == first,
                hovertemplate=f"{name}, {hover}",
            )
    if len(frame):
        figure.update_yaxes(range=_range(frame))
        figure.update_xaxes(dtick=1 if frame["epoch"].max() <= 12 else None)
    return figure


def sample(frame: pd.DataFrame, lines: int) -> pd.DataFrame:
    """The epochs of about `lines` trials: the best of each group and, of the others, every so many-th by its last
    value, so many of each group as it has trials."""
    last = frame.groupby("trial_id", sort=True).tail(1)
    if len(last) <= lines:
        return frame
    others = last[last["role"] != BEST]
    chosen = set(last.loc[last["role"] == BEST, "trial_id"])
    room = max(0, lines - len(chosen))
    for _, own in others.groupby("group", sort=True):
        ordered = own.sort_values(["val_psnr", "trial_id"])["trial_id"].to_numpy()
        count = min(len(ordered), math.ceil(room * len(own) / len(others)))
        chosen |= set(ordered[np.linspace(0, len(ordered) - 1, count).round().astype(int)])
    return frame[frame["trial_id"].isin(chosen)]


def _spread(rows: pd.DataFrame) -> pd.DataFrame:
    """Where the middle four fifths of the trials lie, by epoch, as far as there are enough of them."""
    of_epoch = rows.groupby("epoch")["val_psnr"]
    spread = pd.DataFrame({"low": of_epoch.quantile(0.1), "high": of_epoch.quantile(0.9)})
    return spread[of_epoch.size() >= _FEWEST]


def _joined(rows: pd.DataFrame) -> pd.DataFrame:
    """The trials' lines one after the other with a gap between them, each thinned to at most `_POINTS` epochs."""
    parts = []
    for trial_id, one in rows.groupby("trial_id", sort=True):
        if len(one) > _POINTS:
            one = one.iloc[np.linspace(0, len(one) - 1, _POINTS).round().astype(int)]
        gap = pd.DataFrame({"trial_id": [trial_id], "epoch": [np.nan], "val_psnr": [np.nan]})
        parts += [one[["trial_id", "epoch", "val_psnr"]].astype({"epoch": float}), gap]
    return pd.concat(parts, ignore_index=True)


def _range(frame: pd.DataFrame) -> tuple[float, float]:
    values = frame["val_psnr"].astype(float)
    values = values[values.map(math.isfinite)]
    last = frame.groupby("trial_id")["val_psnr"].last().median()
    low, high = max(float(values.min()), float(last) - _SPAN_DB), float(values.max())
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin
