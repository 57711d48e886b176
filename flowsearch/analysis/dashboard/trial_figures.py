"""Figures of one trial, and of a few side by side: what it learned epoch by epoch, fold by fold and image by image."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.dashboard.watch import Watched
from flowsearch.analysis.wording import label
from flowsearch.results import schema

Ids = Sequence[str]
_SMALL = 280
_COLORS = ("#2f86c5", "#d55e00", "#009e73", "#b5659a", "#a8850c", "#7a7fd1", "#b0566a", "#8a7b6c")
"""The palette of the methods, in an order of its own: here a colour is a trial."""
_DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class TrialPlot:
    """A plot of the trials of a page."""

    title: str
    data: Callable[[Watched, Ids], pd.DataFrame]
    draw: Callable[[pd.DataFrame], go.Figure]
    height: int = _SMALL


def epochs(watched: Watched, ids: Ids, *, phase: str, columns: Sequence[str]) -> pd.DataFrame:
    """A row per epoch of `phase` with one of `columns`: `trial_id`, `epoch` and the columns."""
    frame = watched.table(schema.EPOCHS)
    frame = frame[frame["trial_id"].isin([*ids, *_priors(watched, ids)]) & (frame["phase"] == phase)]
    return _in_order(frame[["trial_id", "epoch", *columns]].dropna(subset=list(columns), how="all"), ids)


def _priors(watched: Watched, ids: Ids) -> list[str]:
    """The pre-trainings that the trials share with others, under which their epochs are."""
    trials = watched.table(schema.TRIALS)
    return list(trials.loc[trials["trial_id"].isin(ids), "prior"].dropna())


def _in_order(frame: pd.DataFrame, ids: Ids) -> pd.DataFrame:
    """The rows by trial, the trials as the page has them; shared pre-trainings last."""
    place = {trial_id: number for number, trial_id in enumerate(ids)}
    order = frame["trial_id"].map(place).fillna(len(place)).argsort(kind="stable")
    return frame.iloc[order].reset_index(drop=True)


def draw_epochs(frame: pd.DataFrame, *, columns: Sequence[str], y: str, log: bool = False) -> go.Figure:
    """A line for each column of each trial."""
    figure = theme.figure("epoch", y, height=_SMALL, hovermode="x unified")
    figure.update_xaxes(rangemode="tozero")
    if log:
        figure.update_yaxes(type="log", exponentformat="power", dtick=1 if _decades(frame, columns) > 1.5 else None)
    trials = list(dict.fromkeys(frame["trial_id"]))
    for place, trial_id in enumerate(trials):
        rows = frame[frame["trial_id"] == trial_id]
        for number, column in enumerate(columns):
            part = rows.dropna(subset=[column])
            if part.empty:
                continue
            name = label(column, schema.EPOCHS) if len(trials) == 1 else f"trial {escape(str(trial_id))}"
            if len(trials) > 1 and len(columns) > 1:
                name += f", {label(column, schema.EPOCHS)}"
            figure.add_scatter(
                x=part["epoch"].astype(int).tolist(),
                y=part[column].astype(float).tolist(),
                mode="lines+markers" if len(part) < 3 else "lines",
                line={"color": _color(place if len(trials) > 1 else number), "width": 2, "dash": _dash(place, trials)},
                name=name,
                showlegend=len(trials) > 1 or len(columns) > 1,
            )
    return figure


def folds(watched: Watched, ids: Ids, *, quantity: str) -> pd.DataFrame:
    """A row per fold at each trial's best epoch (its last where none is known): `trial_id`, `fold`, `quantity`."""
    frame = watched.table(schema.FOLDS)
    frame = frame[frame["trial_id"].isin(ids)][["trial_id", "epoch", "fold", quantity]]
    trials = watched.table(schema.TRIALS)[["trial_id", "best_epoch"]]
    frame = frame.merge(trials, on="trial_id", how="left")
    last = frame.groupby("trial_id")["epoch"].transform("max")
    frame = frame[frame["epoch"] == frame["best_epoch"].fillna(last).clip(upper=last)]
    return _in_order(frame.dropna(subset=[quantity]).sort_values("fold"), ids)


def draw_folds(frame: pd.DataFrame, *, quantity: str) -> go.Figure:
    """A line over the folds for each trial."""
    figure = theme.figure("fold", label(quantity, schema.FOLDS), height=_SMALL)
    figure.update_xaxes(dtick=1 if frame["fold"].max() <= 12 else None)
    trials = list(dict.fromkeys(frame["trial_id"]))
    for place, trial_id in enumerate(trials):
        rows = frame[frame["trial_id"] == trial_id]
        figure.add_scatter(
            x=rows["fold"].astype(int).tolist(),
            y=rows[quantity].astype(float).tolist(),
            mode="lines+markers",
            line={"color": _color(place), "width": 2, "dash": _dash(place, trials)},
            marker={"size": 7},
            name=f"trial {escape(str(trial_id))}",
            showlegend=len(trials) > 1,
            hovertemplate=f"trial {escape(str(trial_id))}<br>fold %{{x}}: %{{y:.4g}}<extra></extra>",
        )
    return figure


def images(watched: Watched, ids: Ids) -> pd.DataFrame:
    """A row per test image of each trial: `trial_id`, `split`, `image`, `psnr` and `measurement_psnr`."""
    frame = watched.rows_of(schema.IMAGES, ids)
    columns = ["trial_id", "split", "image", "psnr", "measurement_psnr"]
    return frame[columns].dropna(subset=["psnr"]).sort_values(["split", "trial_id", "image"], ignore_index=True)


def draw_images(frame: pd.DataFrame) -> go.Figure:
    """PSNR of each image against that of its measurement; on the line nothing is gained."""
    figure = theme.figure("measurement PSNR (dB)", label("psnr", schema.IMAGES), height=_SMALL)
    known = frame.dropna(subset=["measurement_psnr"])
    for number, split in enumerate(sorted(known["split"].unique(), key=lambda one: one != "test")):
        rows = known[known["split"] == split]
        figure.add_scatter(
            x=rows["measurement_psnr"].astype(float).tolist(),
            y=rows["psnr"].astype(float).tolist(),
            text=rows["image"].astype(str).tolist(),
            mode="markers",
            marker={"color": _color(number), "size": 6, "opacity": 0.75, "symbol": ("circle", "diamond")[number % 2]},
            name="test images" if split == "test" else "out of distribution",
            showlegend=True,
            hovertemplate="image %{text}<br>%{x:.2f} to %{y:.2f} dB<extra></extra>",
        )
    if len(known):
        ends = [float(known["measurement_psnr"].min()), float(known["measurement_psnr"].max())]
        line = {"width": 1, "dash": "dot"}
        figure.add_scatter(x=ends, y=ends, mode="lines", line=line, name="no gain", hoverinfo="skip")
    return figure


def paired_images(watched: Watched, ids: Ids) -> pd.DataFrame:
    """A row per test image that both of the first two trials saw: `image`, and `first` and `second`, their PSNR."""
    frame = images(watched, ids[:2])
    frame = frame[frame["split"] == "test"].pivot_table(index="image", columns="trial_id", values="psnr")
    if len(ids) < 2 or not {ids[0], ids[1]} <= set(frame.columns):
        return pd.DataFrame()
    both = frame[[ids[0], ids[1]]].dropna()
    made = {"image": both.index, "first": both[ids[0]].to_numpy(), "second": both[ids[1]].to_numpy()}
    return pd.DataFrame(made).assign(first_trial=ids[0], second_trial=ids[1])


def draw_paired(frame: pd.DataFrame) -> go.Figure:
    """PSNR of the one trial against the other's, image by image; above the line the first is better."""
    first, second = escape(str(frame["first_trial"].iloc[0])), escape(str(frame["second_trial"].iloc[0]))
    axes = f"PSNR of trial {second} (dB)", f"PSNR of trial {first} (dB)"
    figure = theme.figure(*axes, height=_SMALL, showlegend=False)
    figure.add_scatter(
        x=frame["second"].tolist(),
        y=frame["first"].tolist(),
        text=frame["image"].astype(str).tolist(),
        mode="markers",
        marker={"color": _COLORS[0], "size": 6, "opacity": 0.75},
        hovertemplate="image %{text}<br>%{y:.2f} against %{x:.2f} dB<extra></extra>",
    )
    values = pd.concat([frame["first"], frame["second"]])
    ends = [float(values.min()), float(values.max())]
    figure.add_scatter(x=ends, y=ends, mode="lines", line={"width": 1, "dash": "dot"}, hoverinfo="skip")
    return figure


def _over_epochs(title: str, y: str, *columns: str, log: bool = False, phase: str = schema.TRAIN_PHASE) -> TrialPlot:
    return TrialPlot(
        title,
        partial(epochs, phase=phase, columns=columns),
        partial(draw_epochs, columns=columns, y=y, log=log),
    )


def _over_folds(title: str, quantity: str) -> TrialPlot:
    return TrialPlot(title, partial(folds, quantity=quantity), partial(draw_folds, quantity=quantity))


_PSNR = _over_epochs("Validation PSNR", label("val_psnr", schema.EPOCHS), "val_psnr")
_LOSS = _over_epochs("Losses", "loss (log scale)", "train_loss", "val_loss", log=True)

TRIAL: dict[str, TrialPlot] = {
    "psnr": _PSNR,
    "loss": _LOSS,
    "gradient": _over_epochs("Gradient norm", "gradient norm (log scale)", "grad_norm", log=True),
    "lr": _over_epochs("Learning rate", "learning rate (log scale)", "lr", log=True),
    "prior": _over_epochs(
        "Pre-training", label("bits_per_dim", schema.EPOCHS), "bits_per_dim", phase=schema.PRIOR_PHASE
    ),
    "fold-psnr": _over_folds("PSNR after each fold", "psnr"),
    "fold-mu": _over_folds("Step size of each fold", "mu"),
    "fold-lambda": _over_folds("Shrinkage of each fold", "lambda"),
    "images": TrialPlot("Test images, one by one", images, draw_images),
}
"""Plots of a trial's page."""

COMPARE: dict[str, TrialPlot] = {
    "psnr": _PSNR,
    "loss": _over_epochs("Validation loss", "validation loss (log scale)", "val_loss", log=True),
    "fold-psnr": TRIAL["fold-psnr"],
    "paired": TrialPlot("The first two, image by image", paired_images, draw_paired),
}
"""Plots of the page on which trials are compared."""


def _color(place: int) -> str:
    return _COLORS[place % len(_COLORS)]


def _dash(place: int, trials: Sequence[object]) -> str:
    """Never colour alone, where there are several lines."""
    return _DASHES[place % len(_DASHES)] if len(trials) > 1 else "solid"


def _decades(frame: pd.DataFrame, columns: Sequence[str]) -> float:
    values = frame[list(columns)].to_numpy(dtype=float)
    values = values[values > 0]
    return math.log10(values.max() / values.min()) if len(values) else 0.0
