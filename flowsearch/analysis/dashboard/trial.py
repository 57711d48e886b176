"""A trial's page: how it ended and why, its configuration and numbers, its curves and pictures, how to run it again."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
from dash import dcc, html
from dash.development.base_component import Component

from flowsearch.analysis.dashboard import bits, pictures, trial_figures
from flowsearch.analysis.dashboard.address import COMPARE, TRIAL, TRIALS, Address
from flowsearch.analysis.dashboard.again import retry_command, train_command
from flowsearch.analysis.dashboard.places import all_live, titled
from flowsearch.analysis.dashboard.standing import so_far
from flowsearch.analysis.dashboard.watch import View, Watched
from flowsearch.analysis.trials_table import varying
from flowsearch.analysis.wording import described, not_finite
from flowsearch.results import schema
from flowsearch.results.forms import duration, missing, number, signed, written
from flowsearch.results.scores import Scores, non_finite


class TrialPage:
    """The page's sections, each called again when the study has changed.

    Raises `KeyError` where there is no such trial."""

    def __init__(self, watched: Watched, address: Address) -> None:
        self.watched, self.address = watched, address
        self.view: View = watched.view()
        trials = self.view.labelled
        found = trials[trials["trial_id"] == address.trial]
        if found.empty:
            raise KeyError(address.trial)
        self.trial: pd.Series = found.iloc[0]

    @property
    def sections(self) -> dict[str, Callable[[], bits.Children]]:
        """The sections by name, in order."""
        return {
            "trial-head": self.head,
            "trial-error": self.error,
            "trial-pictures": self.pictures,
            "trial-configuration": self.configuration,
            "trial-numbers": self.numbers,
            "trial-again": self.again,
        }

    def head(self) -> bits.Children:
        """Its state, its task and configuration in a line, where and when it ran."""
        trial = self.trial
        task = "" if missing(trial["task"]) else f"{trial['task']}: "
        where = []
        if not missing(trial["started"]):
            where.append(f"started {pd.Timestamp(trial['started']):%Y-%m-%d %H:%M:%S} UTC")
        if not missing(trial["seconds"]) and trial["status"] in schema.ENDED:
            where.append(f"took {duration(trial['seconds'])}")
        if not missing(trial["host"]):
            where.append(f"on {trial['host']}" + ("" if missing(trial["device"]) else f", {trial['device']}"))
        if not missing(trial["attempt"]) and trial["attempt"] > 1:
            where.append(f"attempt {trial['attempt']}")
        if not missing(trial["micro_batch"]):
            where.append(f"in micro-batches of {trial['micro_batch']}")
        going = so_far(self.view)
        going = going[going["trial_id"] == trial["trial_id"]]
        bar: list[Component] = []
        if len(going) and not missing(going.iloc[0]["epoch"]):
            row = going.iloc[0]
            of = "" if missing(row["of"]) else f" of {row['of']}"
            share = 0.0 if missing(row["of"]) else float(row["epoch"]) / max(1.0, float(row["of"]))
            phase = "pre-training, epoch" if row["phase"] == schema.PRIOR_PHASE else "epoch"
            bar = [html.P([bits.meter(share, "epochs"), html.Small(f"{phase} {row['epoch']}{of}")], className="going")]
        return [
            html.H2([f"Trial {trial['trial_id']} ", bits.badge(str(trial["status"]))], className="title"),
            html.P(f"{task}{described(trial)}", className="lead"),
            bits.note(", ".join(where)),
            *bar,
            bits.note(self._neighbours()),
        ]

    def error(self) -> bits.Children:
        """Why it did not complete, with the traceback, and what it warned of; None without either."""
        trial = self.trial
        warned: list[Any] = []
        if not missing(trial["warnings"]):
            warned = [html.H2("What it warned of"), *map(html.P, str(trial["warnings"]).splitlines())]
        if missing(trial["reason"]):
            return html.Section(warned, className="card wide") if warned else None
        trace = self.view.traceback(str(trial["trial_id"]))
        heading = "Why it failed" if trial["status"] == schema.FAILED else f"Why it is {trial['status']}"
        parts: list[Any] = [html.H2(heading), html.P(str(trial["reason"]), className="reason")]
        if trace:
            parts.append(bits.tagged(html.Pre(trace, className="trace", tabIndex=0), aria_label="Traceback"))
            parts.append(bits.note(f"from {schema.ERRORS}/{trial['trial_id']}.txt"))
        elif trial["status"] == schema.FAILED:
            parts.append(bits.note("No traceback was kept."))
        return html.Section([*parts, *warned], className="card wide")

    def pictures(self) -> bits.Children:
        """Measurement, reconstruction and truth of the images that it kept."""
        panels = pictures.panels_of(self.watched, [str(self.trial["trial_id"])])
        columns = [(str(self.trial["trial_id"]), "reconstruction")]
        found: list[Component] = []
        for split, title in pictures.SPLITS.items():
            made = pictures.grid(self.address, panels, split, columns)
            if made is not None:
                found.append(html.Div([html.H3(title), made]))
        found += pictures.fold_by_fold(self.address, panels)
        return html.Div(found, className="splits") if found else bits.empty("No pictures yet.")

    def configuration(self) -> bits.Children:
        """Everything that decides its numbers; what differs between the study's trials first."""
        differs = varying(self.view.trials)
        known = [one for one in schema.CONFIG_COLUMNS if not missing(self.trial[one.name])]
        known.sort(key=lambda one: one.name not in differs)
        entries = []
        for one in known:
            mark = "own" if one.name in differs else None
            entries.append((one.name, html.Span(number(self.trial[one.name]), title=one.label, className=mark)))
        return bits.facts(entries, "columns")

    def numbers(self) -> bits.Children:
        """What was measured, with the gain over the measurements and its interval."""
        trial = self.trial
        entries: list[tuple[str, Any]] = []
        for one in schema.METRIC_COLUMNS:
            if not missing(value := trial[one.name]):
                entries.append((one.about, written(one.name, value, unit=True)))
        own = self.watched.view([str(trial["trial_id"])])
        chosen = own.trials.assign(trials=pd.Series([(str(trial["trial_id"]),)], dtype=object))
        for split, title in (("test", "gain over the measurements"), ("ood", "gain out of distribution")):
            found = Scores(own, chosen, f"{split}_psnr").gain(chosen.iloc[0])
            if found is not None:
                ends = f"{signed(found.interval.low)} to {signed(found.interval.high)}, {found.images} images"
                entries.append((title, f"{signed(found.interval.mean)} dB ({ends})"))
        if len(failed := non_finite(own)):
            said = not_finite(failed, 1).partition(": ")[2]
            entries.append(("not finite", f"{said}; means over them are unknown"))
        return bits.facts(entries) if entries else bits.empty("Nothing has been measured yet.")

    def again(self) -> bits.Children:
        """Command lines."""
        retry = retry_command(self.watched.where, self.trial)
        return [
            *([html.P("In its study, with the same id:"), bits.command(retry)] if retry else []),
            html.P("Alone, without a cluster, with the same numbers on the same machine and thread count:"),
            bits.command(train_command(self.view, self.trial)),
        ]

    def _neighbours(self) -> list[Any]:
        ids = list(self.view.trials["trial_id"])
        place = ids.index(self.trial["trial_id"])
        chosen = [*(one for one in self.address.chosen if one != self.address.trial), self.address.trial]
        ranked = list(self.view.ranked(task=self.trial["task"])["trial_id"])
        if ranked and self.trial["trial_id"] != ranked[0] and ranked[0] not in chosen:
            chosen = [ranked[0], *chosen]
        parts: list[Any] = [dcc.Link("all trials", href=self.address.at(TRIALS).href)]
        for step, word in ((-1, "previous"), (1, "next")):
            if 0 <= place + step < len(ids):
                other = ids[place + step]
                parts += [" · ", dcc.Link(f"{word}, {other}", href=self.address.at(TRIAL, other).href)]
        if len(chosen) > 1:
            text = "compare with the best" if len(chosen) == 2 and ranked and chosen[0] == ranked[0] else "compare"
            parts += [" · ", dcc.Link(text, href=replace(self.address.at(COMPARE), chosen=tuple(chosen)).href)]
        return parts


def layout(page: TrialPage) -> Component:
    """The page."""
    made = all_live(page.sections)
    curves = [titled(f"trial/{name}", one.title) for name, one in trial_figures.TRIAL.items()]
    return bits.cards(
        bits.tagged(html.Section(made["trial-head"], className="card wide head"), aria_label="State"),
        made["trial-error"],
        bits.section("Curves and folds", html.Div(curves, className="plots"), wide=True),
        bits.section("Reconstructions", made["trial-pictures"], wide=True),
        bits.section("Configuration", made["trial-configuration"]),
        bits.section("Numbers", made["trial-numbers"]),
        bits.section("Run it again", made["trial-again"], wide=True),
    )
