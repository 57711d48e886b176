"""In distribution against out of it: does what is best on faces like those trained on hold elsewhere?"""

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.marks import points
from flowsearch.analysis.selection import configurations, groups
from flowsearch.analysis.wording import label
from flowsearch.results import Results

CAPTION = (
    "Each point is a completed configuration: its PSNR on the test images against that on the images out of "
    "distribution. On the dotted line both are the same; the further below it, the more a network lost."
)


def data(results: Results, task: str | None = None) -> pd.DataFrame:
    """Completed configurations with `test_psnr`, `ood_psnr` and what was `lost` between them, in dB."""
    trials = configurations(results, task).dropna(subset=["test_psnr", "ood_psnr"])
    frame = trials[["trial_id", "label", "task", "test_psnr", "ood_psnr"]].assign(group=groups(trials))
    frame["lost"] = trials["test_psnr"] - trials["ood_psnr"]
    return frame.reset_index(drop=True)


def draw(frame: pd.DataFrame) -> go.Figure:
    """Points by method about the line of equal PSNR."""
    figure = theme.figure(label("test_psnr"), label("ood_psnr"))
    if len(frame):
        low = max(frame["test_psnr"].min(), frame["ood_psnr"].min())
        high = min(frame["test_psnr"].max(), frame["ood_psnr"].max())
        low, high = min(low, high), max(low, high)
        figure.add_scatter(
            x=[low, high], y=[low, high], mode="lines", line={"width": 1, "dash": "dot"}, name="equal", hoverinfo="skip"
        )
    hover = "trial %{customdata}<br>test %{x:.2f} dB<br>out of distribution %{y:.2f} dB"
    figure.add_traces(list(points(frame, x="test_psnr", y="ood_psnr", hover=hover)))
    return figure
