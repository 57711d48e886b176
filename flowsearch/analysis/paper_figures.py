"""The figures of the paper that show pictures (2 to 5), from whatever a study has kept, each as one PNG."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from flowsearch.analysis.comparisons import OURS
from flowsearch.analysis.figures import prior_pictures, reconstructions
from flowsearch.analysis.figures.grid import Head, Picture
from flowsearch.analysis.figures.sheet import sheet
from flowsearch.built_in import BUILT_IN
from flowsearch.results import Results
from flowsearch.results.configurations import best_of_each

_IMAGES = 2
"""Of each task, as in the paper."""
_PSNR = "Under each its PSNR in dB. The images are the first of the test set, not chosen."


@dataclass(frozen=True)
class Figure:
    """A figure: its file's name, its title, what it shows, and the picture."""

    file: str
    title: str
    caption: str
    png: bytes


def is_drawn(results: Results) -> bool:
    """Whether all images of a study are flowsearch's own drawings, and show nobody."""
    data = results.study.get("data")
    sources = [data.get(name) for name in ("source", "ood", "prior")] if isinstance(data, Mapping) else []
    return bool(sources) and sources[0] in BUILT_IN and all(one is None or one in BUILT_IN for one in sources)


def paper_figures(results: Results) -> list[Figure]:
    """Figures 2, 3, 4 and 5, as far as the study has what they show; their files are named after the study."""
    found = [*_reconstructed(results), *_most_likely(results), *_elsewhere(results), *_pretrained(results)]
    study = re.sub(r"[^A-Za-z0-9._-]", "-", results.name)
    return [replace(one, file=f"{study}-{one.file}") for one in found]


def _reconstructed(results: Results) -> Iterator[Figure]:
    found = _grids(results, "test", "label")
    about = f"What was measured, what the best network of each kind makes of it, and the true image. {_PSNR}"
    yield from _figure("figure-2.png", "Figure 2: reconstructions of test images", about, found)


def _most_likely(results: Results) -> Iterator[Figure]:
    frame = prior_pictures.data(results)
    if len(frame):
        heads, rows = prior_pictures.cells(frame[frame["prior"] == frame["prior"].iloc[0]])
        about = (
            "What the pre-trained flow holds for the most likely image, g(0), where networks that start from the mode "
            "begin; and samples of it at temperature 0.7."
        )
        title = "Figure 3: the most likely image, and samples"
        yield Figure("figure-3.png", title, about, sheet(heads, rows, [""] * len(rows)))


def _elsewhere(results: Results) -> Iterator[Figure]:
    found = _grids(results, "ood", "label")
    about = f"The networks of figure 2, trained on other images. {_PSNR}"
    yield from _figure("figure-4.png", "Figure 4: reconstructions out of distribution", about, found)


def _pretrained(results: Results) -> Iterator[Figure]:
    found = _grids(results, "test", "pretrain")
    found = {task: frame for task, frame in found.items() if _both_ours(best_of_each(results, "pretrain", task))}
    about = f"The Glow networks whose flow was pre-trained, and those whose was not. {_PSNR}"
    yield from _figure("figure-5.png", "Figure 5: with and without pre-training", about, found)


def _both_ours(best: pd.DataFrame) -> bool:
    """Whether those with and without pre-training are both the unrolled Glow: other methods have a prior, too."""
    return len(best) > 1 and bool(best["label"].isin(OURS).all())


def _grids(results: Results, split: str, by: str) -> dict[str, pd.DataFrame]:
    found = {task: reconstructions.data(results, task, split, _IMAGES, by=by) for task in results.tasks}
    return {task: frame for task, frame in found.items() if len(frame)}


def _figure(file: str, title: str, caption: str, found: Mapping[str, pd.DataFrame]) -> Iterator[Figure]:
    """The tasks one below the other, with the same columns."""
    names = [reconstructions.columns(frame) for frame in found.values()]
    columns = sorted({name for own in names for name in own}, key=_place)
    rows: list[list[Picture | None]] = []
    sides = []
    for task, frame in found.items():
        own = reconstructions.cells(frame, columns)
        rows += own
        sides += [task, *[""] * (len(own) - 1)]
    if rows:
        yield Figure(file, title, caption, sheet([Head(column) for column in columns], rows, sides))


def _place(column: str) -> tuple[bool, bool, bool, str]:
    """The measurement first, ours after the baselines, the truth last."""
    return column == reconstructions.TRUTH, column in OURS, column != reconstructions.MEASUREMENT, column
