"""One look for every figure and page: colours that a colour-blind reader tells apart, on white and on black.

A trace without a colour of its own takes the ink of the template, so that it turns with light and dark.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import plotly.graph_objects as go

from flowsearch.results.labels import UNROLLED

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
HEIGHT = 380
"""Height of a figure in pixels; its width is its container's."""


@dataclass(frozen=True)
class Style:
    """Colour and marker of a method: never colour alone."""

    color: str
    symbol: str


_KNOWN = {
    "glow": Style("#d55e00", "circle"),
    "score": Style("#d6498f", "hexagram"),
    "resnet": Style("#2f86c5", "square"),
    "unet": Style("#009e73", "diamond"),
    "tv": Style("#a8850c", "hexagon"),
    "map": Style("#b5659a", "star-triangle-up"),
    "pnp resnet": Style("#7a7fd1", "pentagon"),
    "pnp unet": Style("#7a7fd1", "hourglass"),
    "feedforward unet": Style("#b0566a", "x"),
    "feedforward resnet": Style("#b0566a", "bowtie"),
    "adjoint": Style("#8a7b6c", "star-diamond"),
    "measurement": Style("#7f7f7f", "star-square"),
}
_OTHER_COLORS = ("#b5659a", "#a8850c", "#7a7fd1", "#8a7b6c")
"""Okabe and Ito's palette, made light or dark enough for 3:1 contrast on both grounds."""
_OTHER_SYMBOLS = ("triangle-up", "cross", "star", "triangle-down", "triangle-left", "triangle-right", "octagon")
"""As many as share no divisor with the colours, so that 28 methods of one's own differ."""


@dataclass(frozen=True)
class Mode:
    """Ink, quiet ink and lines on a ground."""

    ink: str
    quiet: str
    line: str
    ground: str


MODES = {
    "light": Mode(ink="#1d2126", quiet="#5b6470", line="#e1e4e8", ground="#ffffff"),
    "dark": Mode(ink="#e4e7eb", quiet="#9aa4b0", line="#2d333b", ground="#14171b"),
}


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each name, the same for a known method wherever it appears; `unrolled glow` looks like `glow`."""
    known = {name: _KNOWN.get(name.removeprefix(f"{UNROLLED} ")) for name in dict.fromkeys(names)}
    unknown = sorted(name for name, style in known.items() if style is None)
    return {name: style or _other(unknown.index(name)) for name, style in known.items()}


def _other(place: int) -> Style:
    return Style(_OTHER_COLORS[place % len(_OTHER_COLORS)], _OTHER_SYMBOLS[place % len(_OTHER_SYMBOLS)])


@cache
def template(mode: str = "light") -> go.layout.Template:
    """Plotly template for `light` or `dark`."""
    look = MODES[mode]
    axis = {
        "automargin": True,
        "gridcolor": look.line,
        "linecolor": look.quiet,
        "showline": True,
        "tickcolor": look.quiet,
        "ticks": "outside",
        "ticklen": 4,
        "tickfont": {"color": look.quiet},
        "title": {"standoff": 8, "font": {"size": 13}},
        "zeroline": False,
    }
    return go.layout.Template(
        layout={
            "annotationdefaults": {"bgcolor": look.ground, "borderpad": 0, "opacity": 0.85},
            "autosize": True,
            "colorway": [look.ink],
            "font": {"family": FONT, "size": 12, "color": look.ink},
            "height": HEIGHT,
            "hoverlabel": {"bgcolor": look.ground, "bordercolor": look.quiet, "font": {"color": look.ink}},
            "hovermode": "closest",
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemsizing": "constant"},
            "margin": {"l": 56, "r": 16, "t": 36, "b": 48},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": look.quiet, "activecolor": look.ink},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "shapedefaults": {"line": {"color": look.quiet}},
            "xaxis": axis | {"showgrid": False},
            "yaxis": axis,
        }
    )


def figure(x: str, y: str, **layout: Any) -> go.Figure:
    """An empty figure in the light theme with its two axes named, each with its unit."""
    made = go.Figure(layout={"template": template("light")})
    made.update_layout(xaxis_title_text=x, yaxis_title_text=y)
    made.update_layout(**layout)
    return made
