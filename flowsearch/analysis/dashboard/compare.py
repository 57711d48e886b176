"""Chosen trials side by side: what differs, their curves, their pictures, and their difference image by image."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
from dash import dcc, html
from dash.development.base_component import Component

from flowsearch.analysis.comparisons import ALPHA
from flowsearch.analysis.dashboard import bits, pictures, trial_figures
from flowsearch.analysis.dashboard.address import Address
from flowsearch.analysis.dashboard.places import all_live, titled
from flowsearch.analysis.dashboard.watch import View, Watched
from flowsearch.analysis.wording import described, head, not_finite
from flowsearch.results import schema
from flowsearch.results.forms import (
    interval_ends,
    missing,
    number,
    signed,
    written,
)
from flowsearch.results.scores import Score, Scores, non_finite
from flowsearch.statistics import holm

MOST = 8
"""More trials than this side by side are not legible."""
_NUMBERS = ("val_psnr", "test_psnr", "ood_psnr", "test_ssim", "parameters", "epochs_run", "seconds")


class Compare:
    """The page's sections for the trials of the address that there are, `ids`, in its order. `asked` are those too that
    are still to come."""

    def __init__(self, watched: Watched, address: Address) -> None:
        self.watched, self.address = watched, address
        self.view: View = watched.view()
        labelled = self.view.labelled.set_index("trial_id", drop=False)
        self.ids = list(chosen(self.view, address))
        self.asked = [one for one in dict.fromkeys(address.chosen) if one in self.ids or one not in labelled.index]
        self.trials: pd.DataFrame = labelled.loc[self.ids]

    @property
    def by_task(self) -> dict[str, list[str]]:
        """The trials of each task: only within one can a PSNR be better than another."""
        found: dict[str, list[str]] = {}
        for one, task in self.trials["task"].items():
            found.setdefault("" if missing(task) else str(task), []).append(str(one))
        return found

    @property
    def sections(self) -> dict[str, Callable[[], bits.Children]]:
        """The sections by name, in order."""
        return {
            "compare-table": partial(self._section, "What differs", self.table),
            "compare-differences": partial(self._section, "Difference", self.differences),
            "compare-pictures": partial(self._section, "Reconstructions", self.pictures),
        }

    def table(self) -> bits.Children:
        """What differs in the configuration, and what came of it."""
        links = [bits.trial_link(self.address, one) for one in self.ids]
        rows: list[Sequence[Any]] = [("status", *(bits.badge(str(one)) for one in self.trials["status"]))]
        for one in schema.CONFIG_COLUMNS:
            values = [None if missing(value) else value for value in self.trials[one.name]]
            if len(set(values)) > 1:
                texts = [number(value) for value in values]
                exact = [text if value is None else str(value) for text, value in zip(texts, values, strict=True)]
                # Rates that a search proposed may differ beyond the digits that are shown elsewhere.
                rows.append((one.name, *(texts if len(set(texts)) == len(set(values)) else exact)))
        for name in _NUMBERS:
            values = list(self.trials[name])
            if all(missing(value) for value in values):
                continue
            best = [one for own in self.by_task.values() for one in _best(name, self.trials.loc[own, name])]
            shown = zip(self.ids, (written(name, value) for value in values), strict=True)
            cells = [html.B(text) if one in best else text for one, text in shown]
            rows.append((head(name, unit=True), *cells))
        shared = "Everything else in their configuration is the same." if len(rows) > 1 else ""
        made = bits.table(("", *links), rows, label="What differs and what came of it")
        return [made, bits.note(shared)]

    def differences(self) -> bits.Children:
        """PSNR of the first trial of a task against each other's, paired by image."""
        few = self.watched.view(self.ids)
        chosen = few.trials.set_index("trial_id", drop=False).loc[self.ids]
        chosen = chosen.assign(trials=pd.Series([(one,) for one in self.ids], chosen.index, dtype=object))
        found: list[tuple[str, str, Score]] = []
        for split, title in pictures.SPLITS.items():
            scores = Scores(few, chosen, f"{split}_psnr")
            for first, *others in self.by_task.values():
                for other in others:
                    score = scores.difference(chosen.loc[first], chosen.loc[other])
                    if score is not None and score.images:
                        found.append((f"{first} against {other}", title.lower(), score))
        failed = non_finite(few)
        unknown = f"Not finite, so that means over them are unknown: {not_finite(failed, len(failed))}. "
        unknown = unknown if len(failed) else ""
        if not found and unknown:
            return bits.empty(unknown)
        if not found:
            apart = len(self.by_task) == len(self.ids)
            none = "These trials are of different tasks" if apart else "These trials share no test image"
            return bits.empty(f"{none}, so they cannot be paired.")
        corrected = holm([score.interval.p for *_, score in found])
        rows = [(*what, *_told(score, p)) for (*what, score), p in zip(found, corrected, strict=True)]
        several = "Trials of different tasks are not paired. " if len(self.by_task) > 1 else ""
        return [
            bits.table(
                ("trials", "images", "difference (dB)", "95% interval", "n", ""),
                rows,
                numeric=(2, 3, 4),
                label="Paired differences",
            ),
            bits.note(
                f"{unknown}{several}Mean PSNR of the first trial minus the other's over the images that both saw, "
                "with a bootstrap interval over images. It says nothing of other seeds. Better and worse are said "
                "where the p-value, corrected for all rows of this table (Holm), is at most 0.05; the intervals are "
                "not corrected."
            ),
        ]

    def pictures(self) -> bits.Children:
        """The same images by each trial; those of each task beside its own measurements."""
        panels = pictures.panels_of(self.watched, self.ids)
        found = []
        for split, title in pictures.SPLITS.items():
            for task, own in self.by_task.items():
                columns = [(one, f"trial {one}") for one in own]
                made = pictures.grid(self.address, panels[panels["trial_id"].isin(own)], split, columns)
                heading = f"{title}, {task or 'unknown task'}" if len(self.by_task) > 1 else title
                if made is not None:
                    found.append(html.Div([html.H3(heading), made]))
        return html.Div(found, className="splits") if found else bits.empty("None of them kept pictures.")

    def _section(self, title: str, content: Callable[[], bits.Children]) -> bits.Children:
        """A section under its title, once there are trials to compare; before, the first says what it waits for."""
        if len(self.ids) > 1:
            return bits.section(title, html.Div(content()), wide=True)
        if content != self.table:
            return None
        text = f"Choose two to {MOST} trials here, or by their boxes in the table of trials."
        if len(self.asked) > 1:
            text = "They are compared as soon as two of them have been recorded."
        return html.Section(bits.empty(text), className="card wide")


def chosen(view: View, address: Address) -> tuple[str, ...]:
    """The trials of the address that there are by now, as many as are legible."""
    known = set(view.trials["trial_id"])
    return tuple(one for one in dict.fromkeys(address.chosen) if one in known)[:MOST]


def options(view: View, address: Address) -> list[dict[str, str]]:
    """The trials that can be chosen, and those of the address that are still to come."""
    known = {str(row["trial_id"]): described(row) for row in view.labelled.to_dict("records")}
    awaited = {one: "not recorded yet" for one in address.chosen if one not in known}
    return [{"label": f"{one}  {text}", "value": one} for one, text in (known | awaited).items()]


def layout(page: Compare) -> Component:
    """The page."""
    picker = html.Section(
        [
            html.Label("Trials", htmlFor="chosen", id="chosen-label"),
            dcc.Dropdown(
                id="chosen",
                options=options(page.view, page.address),
                value=page.asked,
                multi=True,
                placeholder="choose two trials or more",
            ),
            dcc.Store(id="chosen-want"),
        ],
        className="card wide picker",
    )
    made = all_live(page.sections)
    curves = [titled(f"compare/{name}", one.title) for name, one in trial_figures.COMPARE.items()]
    return bits.cards(
        picker,
        made["compare-table"],
        made["compare-differences"],
        *([bits.section("Curves", html.Div(curves, className="plots"), wide=True)] if len(page.asked) > 1 else []),
        made["compare-pictures"],
    )


def _told(found: Score, p: float) -> tuple[str, ...]:
    """A difference, its interval, over how many images, and what that means with its corrected p-value."""
    interval = found.interval
    if not interval.known:
        return signed(interval.mean), "one image only", str(found.images), ""
    verdict = ("better" if interval.mean > 0 else "worse") if p <= ALPHA else "no clear difference"
    return signed(interval.mean), interval_ends(interval.low, interval.high), str(found.images), verdict


def _best(name: str, values: pd.Series) -> list[str]:
    """The trials with the best value of a quality as it is written; costs have none, since more may have been bought
    with them."""
    known = values.dropna()
    if not name.endswith(("psnr", "ssim")) or len(known) < 2:
        return []
    top = written(name, known.max())
    return [str(one) for one, value in known.items() if written(name, value) == top]
