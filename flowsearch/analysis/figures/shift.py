"""In distribution against out of it: does what is best on faces like those trained on hold elsewhere?"""

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis import theme
from flowsearch.analysis.figures.marks import points
from flowsearch.analysis.selection import groups
from flowsearch.analysis.wording import label
from flowsearch.results import Results
from flowsearch.results.configurations import configurations
from flowsearch.results.forms import hovered

CAPTION = (
    "Each point is a completed configuration: its PSNR on the test images against that on the images out of "
    "distribution. On the dotted line a network loses as much between the two as they do on average; above it less."
)


def data(results: Results, task: str | None = None) -> pd.DataFrame:
    """Completed configurations with `test_psnr`, `ood_psnr` and what was `lost` between them, in dB."""
    trials = configurations(results, task).dropna(subset=["test_psnr", "ood_psnr"])
    frame = trials[["trial_id", "label", "task", "test_psnr", "ood_psnr"]].assign(group=groups(trials))
    frame["lost"] = trials["test_psnr"] - trials["ood_psnr"]
    return frame.reset_index(drop=True)


def draw(frame: pd.DataFrame) -> go.Figure:
    """Points by method about the line of the mean loss."""
    figure = theme.figure(label("test_psnr"), label("ood_psnr"))
    if len(frame):
        ends, lost = frame["test_psnr"].agg(["min", "max"]), float(frame["lost"].mean())
        figure.add_scatter(
            x=ends.tolist(),
            y=(ends - lost).tolist(),
            mode="lines",
            line={"width": 1, "dash": "dot"},
            name=f"{lost:.2f} dB lost" if lost >= 0 else f"{-lost:.2f} dB gained",
            hoverinfo="skip",
        )
    hover = (
        f"trial %{{customdata}}<br>test {hovered('test_psnr', 'x')}<br>out of distribution {hovered('ood_psnr', 'y')}"
    )
    figure.add_traces(list(points(frame, x="test_psnr", y="ood_psnr", hover=hover)))
    return figure
