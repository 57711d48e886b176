"""Quality against size."""

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.marks import points
from flowsearch.analysis.selection import groups
from flowsearch.analysis.wording import label
from flowsearch.results import Results

CAPTION = "Test PSNR of each completed trial against its number of trained parameters, all folds together."


def data(results: Results) -> pd.DataFrame:
    """Completed trials with `parameters` and `test_psnr`."""
    trials = results.completed.dropna(subset=["parameters", "test_psnr"])
    trials = trials[trials["parameters"] > 0]
    frame = trials[["trial_id", "label", "task", "test_psnr"]].assign(group=groups(trials))
    frame["parameters"] = trials["parameters"].astype(float)
    return frame.reset_index(drop=True)


def draw(frame: pd.DataFrame) -> go.Figure:
    """Points by method over a logarithmic axis."""
    figure = theme.figure("parameters (log scale)", label("test_psnr"), xaxis_type="log")
    figure.update_xaxes(dtick=1 if len(frame) and frame["parameters"].max() / frame["parameters"].min() > 30 else None)
    hover = "trial %{customdata}<br>%{x:,.0f} parameters<br>%{y:.2f} dB"
    for trace in points(frame, x="parameters", y="test_psnr", hover=hover):
        figure.add_trace(trace)
    return figure
