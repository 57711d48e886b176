"""The study's objective over two searched names: the mean in each cell that trials fell into, and the trials."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.axes import MOST_CELLS, Axis
from flowsearch.analysis.figures.marks import light, markup, trial_ids
from flowsearch.analysis.selection import of_task
from flowsearch.analysis.wording import label
from flowsearch.results import Results
from flowsearch.results.configurations import objectives
from flowsearch.results.forms import hovered, number, written

CAPTION = (
    "The mean objective of the completed trials in each cell of two searched names; nothing is interpolated, and a "
    "cell that no trial fell into stays empty. Small rings are the trials themselves, whose other settings differ."
)


def data(results: Results, x: Axis, y: Axis, metric: str | None = None, task: str | None = None) -> pd.DataFrame:
    """A row per completed trial that has both names: where it lies (`x`, `y`), its `value`, its cell's edges
    (`x_low`, `x_high`, `y_low`, `y_high`) and in that cell the `mean` and number `n` of trials. None where all lie in
    one cell."""
    metric = metric or next(iter(objectives(results)))
    trials = of_task(results.completed, task)
    if metric not in trials:
        trials = trials.assign(**{metric: np.nan})
    trials = trials.dropna(subset=[metric, x.name, y.name])
    frame = trials[["trial_id", "label", "task"]].assign(metric=metric, value=trials[metric].astype(float))
    frame["settings"] = [
        f"{x.name} {number(one)}, {y.name} {number(two)}: {written(metric, value, unit=True)}"
        for one, two, value in zip(trials[x.name], trials[y.name], frame["value"], strict=True)
    ]
    for end, axis in (("x", x), ("y", y)):
        frame[end] = axis.numbers(trials[axis.name])
        edges = _edges(axis, frame[end])
        cell = np.clip(np.searchsorted(edges, frame[end].to_numpy(), side="right") - 1, 0, max(0, len(edges) - 2))
        frame[f"{end}_low"], frame[f"{end}_high"] = (edges[cell], edges[cell + 1]) if len(frame) else (np.nan, np.nan)
    if len(frame[["x_low", "y_low"]].drop_duplicates()) < 2:
        frame = frame[:0]
    cells = frame.groupby(["x_low", "y_low"])["value"]
    return frame.assign(mean=cells.transform("mean"), n=cells.transform("size")).reset_index(drop=True)


def draw(frame: pd.DataFrame, x: Axis, y: Axis) -> go.Figure:
    """Cells coloured by their mean, under the trials."""
    figure = theme.figure(x.heading, y.heading, height=400)
    if frame.empty:
        return figure
    metric = str(frame["metric"].iloc[0])
    cells = frame.drop_duplicates(["x_low", "y_low"])
    edges = {end: np.unique(frame[[f"{end}_low", f"{end}_high"]].to_numpy()) for end in ("x", "y")}
    mean = np.full((len(edges["y"]) - 1, len(edges["x"]) - 1), np.nan)
    count = np.zeros(mean.shape, dtype=int)
    row, column = (np.searchsorted(edges[end], cells[f"{end}_low"]) for end in ("y", "x"))
    mean[row, column], count[row, column] = cells["mean"], cells["n"]
    figure.add_heatmap(
        x=edges["x"],
        y=edges["y"],
        z=mean.astype(np.float32),
        customdata=count,
        colorscale="Cividis",
        hoverongaps=False,
        colorbar={"title": {"text": label(metric), "side": "right"}, "thickness": 12, "outlinewidth": 0},
        hovertemplate=f"mean {hovered(metric, 'z')} of %{{customdata}} trials<extra></extra>",
    )
    figure.add_scatter(
        x=light(x.spread(frame["x"])),
        # Not in the same order as along x, so that trials of one cell spread over it, not along its diagonal.
        y=light(y.spread(frame["y"].sample(frac=1, random_state=0))[frame.index]),
        customdata=trial_ids(frame),
        text=frame["settings"].map(markup).tolist(),
        mode="markers",
        marker={
            "size": 6 if len(frame) <= 100 else 4,
            "color": "#ffffff",
            "opacity": 0.85 if len(frame) <= 100 else 0.5,
            "line": {"width": 1, "color": "#1d2126"},
        },
        hovertemplate="trial %{customdata}<br>%{text}<extra></extra>",
        showlegend=False,
    )
    for axis, end in ((x, "x"), (y, "y")):
        places, texts = axis.ticks(frame[end])
        figure.update_layout({f"{end}axis": {"tickmode": "array", "tickvals": places, "ticktext": texts}})
    return figure


def pairs(axes: Sequence[Axis], most: int = 3) -> list[tuple[Axis, Axis]]:
    """Pairs of the first axes, those with numbers before those with choices."""
    ordered = sorted(axes, key=lambda axis: axis.kind == "choice")
    chosen = [(one, two) for place, two in enumerate(ordered) for one in ordered[:place]]
    return chosen[:most]


def _edges(axis: Axis, numbers: pd.Series) -> npt.NDArray[np.float64]:
    """A cell for each choice and each of a few whole numbers; equal cells otherwise, more of them for more trials."""
    known = numbers.dropna()
    if known.empty:
        return np.empty(0)
    low, high = float(known.min()), float(known.max())
    if axis.kind == "choice":
        edges = np.arange(len(axis.choices) + 1) - 0.5
    elif axis.has_cells(known):
        edges = np.arange(low, high + 2) - 0.5
    elif high <= low:
        edges = np.array([low - 0.5, low + 0.5])
    else:
        edges = np.linspace(low, high, int(np.clip(np.sqrt(len(known)) / 2, 3, MOST_CELLS)) + 1)
    return np.asarray(edges, dtype=np.float64)
