"""The figures of the report and the dashboard: each a module with `data(results, ...)`, a data frame, and
`draw(frame, ...)`, its picture.

A new figure is a new module and an entry in `SECTIONS`, from which report and dashboard take it; a grid of pictures,
whose picture is HTML, has its entry in `GRIDS`. A mark that stands for
a trial carries the trial's id as its `customdata`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType

import pandas as pd
import plotly.graph_objects as go

from flowsearch.analysis.figures import (
    axes,
    best_so_far,
    comparison,
    contour,
    curves,
    effects,
    fold_by_fold,
    fold_images,
    importance,
    parallel,
    prior_pictures,
    reconstructions,
    shift,
    slices,
    tradeoffs,
)
from flowsearch.analysis.selection import by_task, quality
from flowsearch.results import Results
from flowsearch.results.configurations import objectives


@dataclass(frozen=True)
class Plot:
    """A figure of a study: its name for a page's address, what it shows and how it is drawn."""

    name: str
    data: Callable[[Results], pd.DataFrame]
    draw: Callable[[pd.DataFrame], go.Figure]
    task: str | None = None
    """The task whose trials it shows, where the study has several."""


def spoken(title: str, task: str | None, figure: go.Figure) -> str:
    """What somebody hears of a figure who does not see it: its heading, its task and its axes."""
    where = title if task is None else f"{title}, {task}"
    axes = [axis.title.text for axis in (figure.layout.yaxis, figure.layout.xaxis) if axis.title.text]
    return f"{where}: {' against '.join(axes)}" if axes else where


@dataclass(frozen=True)
class _Headed:
    """A heading, and how to read what is under it, which may depend on the study."""

    title: str
    caption: str | Callable[[Results], str]

    @property
    def anchor(self) -> str:
        """The title as a part of an address."""
        return self.title.lower().replace(" ", "-")

    def said(self, results: Results) -> str:
        """The caption for a study."""
        return self.caption if isinstance(self.caption, str) else self.caption(results)


@dataclass(frozen=True)
class Section(_Headed):
    """Figures side by side under one heading, with a sentence on how to read them. Which ones there are may depend on
    the study (`plots`): on its tasks, its searched names and its objectives. Some may turn out to be without data."""

    plots: Callable[[Results], list[Plot]]


@dataclass(frozen=True)
class Grid:
    """A table of pictures: its name for a page's address, its heading, what it shows, and its HTML."""

    name: str
    title: str
    data: Callable[[Results], pd.DataFrame]
    draw: Callable[[pd.DataFrame], str]
    task: str | None = None


@dataclass(frozen=True)
class GridSection(_Headed):
    """Grids under one heading, as `Section` has plots. What they take of a page together is bounded."""

    grids: Callable[[Results], list[Grid]]


def _each_task(make: Callable[[Results, str | None], Iterator[Plot]]) -> Callable[[Results], list[Plot]]:
    """The plots of each task in turn; a task's place ends its plots' names, where there are several."""

    def plots(results: Results) -> list[Plot]:
        found = []
        for place, task in enumerate(by_task(results)):
            ending = "" if task is None else f"-{place + 1}"
            found += [Plot(one.name + ending, one.data, one.draw, task) for one in make(results, task)]
        return found

    return plots


def _best_so_far(results: Results, task: str | None) -> Iterator[Plot]:
    yield Plot("best-so-far", partial(best_so_far.data, task=task), best_so_far.draw)


def _curves(results: Results, task: str | None) -> Iterator[Plot]:
    yield Plot("curves", partial(curves.data, task=task), curves.draw)


def _fronts(results: Results, task: str | None) -> Iterator[Plot]:
    metrics = list(objectives(results))
    for place, y in enumerate(metrics):
        for x in metrics[place + 1 :]:
            yield _tradeoff("front", x, y, task)


def _costs(results: Results, task: str | None) -> Iterator[Plot]:
    metric = quality(results)
    # The time of training, where it was measured: a whole trial may have waited, or shared its machine.
    time = "train_seconds" if results.trials["train_seconds"].notna().any() else "seconds"
    for cost in ("parameters", time, "peak_memory_bytes", "seconds_per_image"):
        if not {cost, metric} <= set(objectives(results)):  # those are a front of the study's own
            yield _tradeoff("cost", cost, metric, task)


def _comparisons(results: Results, task: str | None) -> Iterator[Plot]:
    for factor in comparison.FACTORS:
        for split in ("test", "ood"):
            yield Plot(
                f"by-{factor}-{split}",
                partial(comparison.data, factor=factor, split=split, task=task),
                partial(comparison.draw, factor=factor, split=split),
            )


def _shift(results: Results, task: str | None) -> Iterator[Plot]:
    yield Plot("shift", partial(shift.data, task=task), shift.draw)


def _effects(results: Results, task: str | None) -> Iterator[Plot]:
    yield Plot("effects", partial(effects.data, task=task), effects.draw)


def _importance(results: Results, task: str | None) -> Iterator[Plot]:
    yield Plot("importance", partial(importance.data, task=task), importance.draw)


def _parallel(results: Results, task: str | None) -> Iterator[Plot]:
    shown = parallel.axes(results, task)
    yield Plot("parallel", partial(parallel.data, shown=shown, task=task), partial(parallel.draw, shown=shown))


def _slices(results: Results, task: str | None) -> Iterator[Plot]:
    for axis in axes.searched(results, task):
        yield Plot(f"slice-{axis.name}", partial(slices.data, axis=axis, task=task), partial(slices.draw, axis=axis))


def _contours(results: Results, task: str | None) -> Iterator[Plot]:
    for x, y in contour.pairs(axes.searched(results, task)):
        name = f"contour-{x.name}-{y.name}"
        yield Plot(name, partial(contour.data, x=x, y=y, task=task), partial(contour.draw, x=x, y=y))


def _folds(results: Results, task: str | None) -> Iterator[Plot]:
    for quantity in fold_by_fold.QUANTITIES:
        yield Plot(
            f"folds-{quantity}",
            partial(fold_by_fold.data, quantity=quantity, task=task),
            partial(fold_by_fold.draw, quantity=quantity),
        )


def _tradeoff(kind: str, x: str, y: str, task: str | None) -> Plot:
    return Plot(f"{kind}-{x}-{y}", partial(tradeoffs.data, x=x, y=y, task=task), partial(tradeoffs.draw, x=x, y=y))


def _each_set(name: str, module: ModuleType) -> Callable[[Results], list[Grid]]:
    """A grid for each task and test set; together they keep to the module's bytes."""

    def grids(results: Results) -> list[Grid]:
        data = results.study.get("data")
        sources = data if isinstance(data, Mapping) else {}
        sets = (("test", "Test images", sources.get("source")), ("ood", "Out of distribution", sources.get("ood")))
        known = list(by_task(results))
        found = []
        for place, task in enumerate(known):
            for split, title, source in sets:
                heading = title if source is None else f"{title} ({source})"
                ending = "" if task is None else f"-{place + 1}"
                limit = module.BYTES // (len(known) * len(sets))
                take = partial(module.data, task=task, split=split, limit=limit)
                found.append(Grid(f"{name}-{split}{ending}", heading, take, module.draw, task))
        return found

    return grids


def _priors(results: Results) -> list[Grid]:
    return [Grid("priors", "", prior_pictures.data, prior_pictures.draw)]


GRIDS: tuple[GridSection, ...] = (
    GridSection("Reconstructions", reconstructions.CAPTION, _each_set("reconstructions", reconstructions)),
    GridSection("Images fold by fold", fold_images.CAPTION, _each_set("fold-images", fold_images)),
    GridSection("Pre-trained priors", prior_pictures.CAPTION, _priors),
)

SECTIONS: tuple[Section, ...] = (
    Section("Best so far", best_so_far.CAPTION, _each_task(_best_so_far)),
    Section("Pareto front", tradeoffs.FRONT_CAPTION, _each_task(_fronts)),
    Section("Curves", curves.CAPTION, _each_task(_curves)),
    Section("Comparison", comparison.caption, _each_task(_comparisons)),
    Section("Effects", effects.caption, _each_task(_effects)),
    Section("In and out of distribution", shift.CAPTION, _each_task(_shift)),
    Section("Importance", importance.caption, _each_task(_importance)),
    Section("Parallel coordinates", parallel.CAPTION, _each_task(_parallel)),
    Section("Slices", slices.CAPTION, _each_task(_slices)),
    Section("Two names at a time", contour.CAPTION, _each_task(_contours)),
    Section("Quality and cost", tradeoffs.CAPTION, _each_task(_costs)),
    Section("Fold by fold", fold_by_fold.CAPTION, _each_task(_folds)),
)
