"""PSNR on either side of a choice: proximal map or method, folds, tied or untied weights, pre-training."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.marks import bars, by_group, light, markup, trial_ids
from flowsearch.analysis.selection import groups
from flowsearch.analysis.statistics import alone
from flowsearch.analysis.wording import label
from flowsearch.results import Results
from flowsearch.results.configurations import best_of_each, configurations, varies
from flowsearch.results.forms import hovered, number, written
from flowsearch.statistics import student_interval

_CAPTION = (
    "Each faint point is a completed configuration (the mean of its repeats, where it has any); the ring is the best "
    "of its kind by the study's objective. Large plain marks are means of two or more, bars their 95% intervals by "
    "Student's t, from five configurations on."
)
LABEL = "label"
FACTORS = (LABEL, "folds", "weights", "pretrain")
_FEWEST = 5
"""Configurations of a kind, at least, for an interval of their mean."""
_WIDTH = 0.8
"""Of the room that a value has on the axis, what its marks take."""


@dataclass(frozen=True)
class _Look:
    title: str
    called: dict[str, str]
    """What a value is called on the axis, where not by itself."""


_LOOKS = {
    LABEL: _Look("method", {}),
    "folds": _Look("folds K", {}),
    "weights": _Look("weights of the folds", {}),
    "pretrain": _Look("prior", {"yes": "pre-trained", "no": "not pre-trained"}),
}


def caption(results: Results) -> str:
    """How to read the figures, and whether what is chosen is all that differs between the sides."""
    chosen = [factor for factor in FACTORS if varies(configurations(results)[factor])]
    if not chosen:
        return _CAPTION
    if all(alone(results, factor) for factor in chosen):
        return f"{_CAPTION} The sides differ in nothing else."
    return f"{_CAPTION} Other settings differ between the sides, so a difference is not the choice's alone."


def data(results: Results, factor: str = LABEL, split: str = "test", task: str | None = None) -> pd.DataFrame:
    """A row per completed configuration: its `value` of the factor, its `psnr` on the split (val, test or ood), whether
    it is the `best` of its group; and of all those of its group and value the `mean`, `low`, `high` and number `n`.

    Empty where all have the same value. Of one fold's weights nobody says whether they are tied.
    """
    trials = configurations(results, task).dropna(subset=[f"{split}_psnr", factor])
    if factor == "weights":
        trials = trials[trials["folds"] > 1]
    frame = trials[["trial_id", "label", "task"]].assign(group=groups(trials), psnr=trials[f"{split}_psnr"])
    frame["value"] = trials[factor].map(number)
    frame["order"] = trials[factor] if factor == "folds" else frame["value"]
    frame["best"] = frame["trial_id"].isin(best_of_each(results, "label", task)["trial_id"])
    if factor != LABEL and frame["value"].nunique() < 2:
        frame = frame.iloc[:0]
    kind = frame.groupby(["group", "value"], sort=False)["psnr"]
    means = pd.DataFrame([(*key, *_mean(values)) for key, values in kind], columns=_KIND)
    return frame.merge(means, on=["group", "value"]).sort_values(["order", "group", "psnr"], ignore_index=True)


def draw(frame: pd.DataFrame, factor: str = LABEL, split: str = "test") -> go.Figure:
    """Points of each kind side by side over each value, spread so that none hides another, under their mean."""
    look = _LOOKS[factor]
    figure = theme.figure(look.title, label(f"{split}_psnr"), showlegend=factor != LABEL)
    values = list(dict.fromkeys(frame["value"]))
    names = list(dict.fromkeys(sorted(frame["group"])))
    room = _WIDTH / (1 if factor == LABEL else max(1, len(names)))
    for name, style, rows in by_group(frame):
        shift = 0.0 if factor == LABEL else (names.index(rows["group"].iloc[0]) - (len(names) - 1) / 2) * room
        centre = rows["value"].map(values.index) + shift
        rank = rows.groupby("value")["psnr"].rank(method="first")
        # Neighbours in PSNR far apart: what is alike would hide each other.
        place = centre + (((rank - 1) * 0.618 + 0.5) % 1 - 0.5) * room * 0.8
        common = {"name": name, "legendgroup": name}
        figure.add_scatter(
            x=light(place),
            y=light(rows["psnr"]),
            customdata=trial_ids(rows),
            mode="markers",
            marker={"size": 7, "symbol": style.symbol, "color": style.color, "opacity": 0.5},
            hovertemplate=f"{name}, trial %{{customdata}}<br>{hovered('test_psnr', 'y')}<extra></extra>",
            **common,
        )
        ring = rows[rows["best"]]
        figure.add_scatter(
            x=light(place[ring.index]),
            y=light(ring["psnr"]),
            customdata=trial_ids(ring),
            mode="markers",
            marker={"size": 13, "symbol": "circle-open", "line": {"width": 2}},
            showlegend=False,
            hoverinfo="skip",
            **common,
        )
        means = rows.drop_duplicates("value")
        means = means[means["n"] > 1]
        figure.add_scatter(
            x=light(centre[means.index]),
            y=light(means["mean"]),
            customdata=np.stack([means["n"], means["low"].map(_db), means["high"].map(_db)], axis=1),
            error_y=bars(means, "mean"),
            mode="markers",
            marker={"size": 11, "symbol": style.symbol},
            showlegend=False,
            hovertemplate=(
                f"{name}, {look.title} %{{meta}}<br>mean {hovered('test_psnr', 'y')} of %{{customdata[0]}}"
                "<br>95% interval %{customdata[1]} to %{customdata[2]}<extra></extra>"
            ),
            meta=means["value"].map(markup).tolist(),
            **common,
        )
    texts = [markup(look.called.get(value, value)) for value in values]
    figure.update_xaxes(
        tickmode="array", tickvals=list(range(len(values))), ticktext=texts, range=[-0.6, max(len(values), 1) - 0.4]
    )
    return figure


_KIND = ["group", "value", "mean", "low", "high", "n"]


def _mean(values: pd.Series) -> tuple[float, float, float, int]:
    interval = student_interval(values.astype(float).tolist())
    if interval.n < _FEWEST:
        return interval.mean, float("nan"), float("nan"), interval.n
    return interval.mean, interval.low, interval.high, interval.n


def _db(value: float) -> str:
    return written("test_psnr", value)
