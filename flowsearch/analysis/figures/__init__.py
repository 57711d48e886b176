"""The report's figures: each a module with `data(results, ...)`, a data frame, and `draw(frame, ...)`, its picture.

A new figure is a new module and an entry in `SECTIONS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis.figures import best_so_far, curves, fold_by_fold, methods, parameters
from flowsearch.results import Results


@dataclass(frozen=True)
class Plot:
    """A name for the page's address, what the plot takes and how it is drawn."""

    name: str
    data: Callable[[Results], pd.DataFrame]
    draw: Callable[[pd.DataFrame], go.Figure]


@dataclass(frozen=True)
class Section:
    """Plots side by side under one heading, with a sentence on how to read them."""

    title: str
    caption: str
    plots: tuple[Plot, ...]


PROGRESS = Section("Best so far", best_so_far.CAPTION, (Plot("best-so-far", best_so_far.data, best_so_far.draw),))

SECTIONS: tuple[Section, ...] = (
    Section("Curves", curves.CAPTION, (Plot("curves", curves.data, curves.draw),)),
    Section(
        "Methods",
        methods.CAPTION,
        tuple(
            Plot(f"methods-{split}", partial(methods.data, split=split), partial(methods.draw, split=split))
            for split in ("test", "ood")
        ),
    ),
    Section("Quality and size", parameters.CAPTION, (Plot("parameters", parameters.data, parameters.draw),)),
    Section(
        "Fold by fold",
        fold_by_fold.CAPTION,
        tuple(
            Plot(
                f"folds-{quantity}",
                partial(fold_by_fold.data, quantity=quantity),
                partial(fold_by_fold.draw, quantity=quantity),
            )
            for quantity in ("mu", "lambda", "psnr")
        ),
    ),
)
