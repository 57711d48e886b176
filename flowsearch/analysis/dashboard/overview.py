"""The first page: how far the study is, the best so far, what runs, what went wrong, what is left of the budget."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from flowsearch.analysis.dashboard import bits, plots
from flowsearch.analysis.dashboard.address import TRIALS, Address
from flowsearch.analysis.dashboard.places import all_live, titled
from flowsearch.analysis.dashboard.standing import Standing, Used, reasons, so_far, standing
from flowsearch.analysis.dashboard.watch import View, Watched
from flowsearch.analysis.selection import by_task
from flowsearch.analysis.wording import described, devices, head, kept, plural
from flowsearch.results import schema
from flowsearch.results.configurations import objectives, ranked
from flowsearch.results.forms import duration, missing, written

_ORDER = (
    schema.COMPLETED,
    schema.PRUNED,
    schema.RUNNING,
    schema.FAILED,
    schema.DIVERGED,
    schema.INTERRUPTED,
    schema.PLANNED,
)
_MOST_REASONS = 8
_MOST_RUNNING = 24
_PICTURES = 4
_NUMBERS = {name: head(name) for name in ("val_psnr", "test_psnr", "ood_psnr")}
_NUMBERS |= {"measurement_psnr": "test, measured", "parameters": "parameters"}


class Overview:
    """The page's sections, each a function of the study that is called again when the study has changed."""

    def __init__(self, watched: Watched, address: Address, spent: Sequence[Used]) -> None:
        self.watched, self.address, self.spent = watched, address, spent
        self.view: View = watched.view()
        self.standing: Standing = standing(self.view, watched.is_running)

    @property
    def sections(self) -> dict[str, Callable[[], bits.Children]]:
        """The sections by name, in order."""
        return {
            "overview-head": self.head,
            "overview-best": self.best,
            "overview-progress": self.progress,
            "overview-running": self.running,
            "overview-trouble": self.trouble,
            "overview-budget": self.budget,
        }

    def head(self) -> bits.Children:
        """Progress in one line and one bar."""
        now, counts = self.standing, self.standing.counts
        if not counts:
            return [html.P("No trial has been recorded yet.", className="lead"), *self._notices()]
        left = "" if now.seconds_left is None else f", about {duration(now.seconds_left)} left"
        text = f"{now.done:,} of {plural(now.total, 'trial')} done{left}"
        legend: list[Component] = [
            dcc.Link(
                [html.B(f"{counts[status]:,}"), f" {status}"],
                href=self._filtered(status),
                className=f"count {status}",
            )
            for status in _ORDER
            if counts.get(status)
        ]
        waiting = now.total - sum(counts.values())
        if waiting > 0:
            legend.append(html.Span([html.B(f"{waiting:,}"), " to come"], className="count"))
        return [
            html.P(text, className="lead"),
            self._bar(),
            html.P(legend, className="counts"),
            *self._notices(),
        ]

    def best(self) -> bits.Children:
        """The best completed trial of each task by the objective, with its first pictures."""
        metric, several = self.view.objective[0], len(objectives(self.view)) > 1
        found = []
        for task in by_task(self.view):
            configurations = ranked(self.view, task)
            if configurations.empty:
                continue
            best = configurations.iloc[0]
            aside = [] if missing(best["task"]) else [str(best["task"])]
            aside += [f"mean of {best['repeats']} repeats"] if best["repeats"] > 1 else []
            aside += [f"best by {metric}, the first of {len(objectives(self.view))} objectives"] if several else []
            found.append(
                html.Article(
                    [
                        html.H3([*bits.trial_links(self.address, best["trials"]), html.Small(", ".join(aside))]),
                        bits.note(described(best)),
                        bits.facts(self._numbers(best, metric), "numbers"),
                        *self._pictures(best),
                    ]
                )
            )
        if not found:
            why = (
                "No trial has been completed yet."
                if self.view.completed.empty
                else f"No completed trial has {metric}{kept(self.view)}."
            )
            return bits.empty(why)
        return html.Div(found, className="bests")

    def progress(self) -> bits.Children:
        """The figure of each task."""
        found = [titled(one.name, one.task) for one in next(plots.sections(self.view)).pieces]
        return bits.section("Best so far, one after the other", html.Div(found, className="plots"), wide=len(found) > 1)

    def running(self) -> bits.Children:
        """What runs now, how far it is."""
        rows = so_far(self.view)
        if rows.empty:
            text = "Nothing runs now." if not self.standing.running else "The next trials are being prepared."
            if self.standing.words == "not finished":
                text = f"Nothing runs now; {self.standing.total - self.standing.done:,} trials are left."
            return bits.empty(text)
        shown = [
            (
                bits.trial_link(self.address, str(row["trial_id"])),
                html.Span(
                    [
                        bits.meter(_share(row), f"epochs of trial {row['trial_id']}"),
                        html.Small(_epochs(row)),
                    ],
                    className="going",
                ),
                written("val_psnr", row["val_psnr"]),
            )
            for row in rows.head(_MOST_RUNNING).to_dict("records")
        ]
        more = len(rows) - len(shown)
        return [
            bits.table(("trial", "epochs", "val PSNR (dB)"), shown, numeric=(2,), label="Running trials"),
            *([bits.note(f"and {more} more")] if more > 0 else []),
        ]

    def trouble(self) -> bits.Children:
        """Why trials failed, the most frequent reason first."""
        found = reasons(self.view.trials)
        if found.empty:
            return bits.empty("No trial failed, diverged or was interrupted.")
        rows = []
        for row in found.head(_MOST_REASONS).to_dict("records"):
            links = bits.trial_links(self.address, row["trials"][:6])
            if row["count"] > 6:
                links.append(f"and {row['count'] - 6} more")
            rows.append((bits.badge(str(row["status"])), str(row["reason"]), html.Span(links)))
        more = len(found) - len(rows)
        return [
            bits.table(("status", "reason", "trials"), rows, label="Why trials went wrong"),
            *([bits.note(f"and {plural(more, 'other reason')}")] if more > 0 else []),
        ]

    def budget(self) -> bits.Children:
        """Time spent, and what is used of the budget."""
        lines: list[tuple[str, Any]] = [("time of all trials together", duration(self.standing.spent_seconds))]
        if self.standing.seconds_left is not None:
            lines.append(("left, about", duration(self.standing.seconds_left)))
        for used in self.spent:
            if used.allowed is None:
                lines.append((used.name, f"{used.used:.3g} {used.unit}"))
                continue
            text = f"{used.used:.3g} of {used.allowed:g} {used.unit}"
            bar = bits.meter(used.used / used.allowed, f"{used.name} used") if used.allowed > 0 else None
            lines.append((used.name, html.Span([html.Span(text), bar], className="going")))
        if not any(used.allowed is not None for used in self.spent):
            lines.append(("budget", "no limit was set"))
        memory = self.view.trials["peak_memory_bytes"].dropna()
        if len(memory):
            lines.append(("largest peak memory of a trial", written("peak_memory_bytes", memory.max())))
        hosts = self.view.trials["host"].dropna().unique()
        if len(hosts):
            lines.append(("hosts", ", ".join(map(str, hosts[:6])) + (" ..." if len(hosts) > 6 else "")))
        if ran_on := devices(self.view):
            lines.append(("devices", ran_on))
        return bits.facts(lines)

    def _bar(self) -> Component:
        now = self.standing
        parts = [
            html.Span(
                className=f"part {status}",
                style={"flexGrow": now.counts[status]},
                title=f"{status}: {now.counts[status]}",
            )
            for status in _ORDER
            if now.counts.get(status)
        ]
        waiting = now.total - sum(now.counts.values())
        if waiting > 0:
            parts.append(html.Span(className="part", style={"flexGrow": waiting}))
        said = ", ".join(f"{now.counts[status]} {status}" for status in _ORDER if now.counts.get(status))
        bar = html.Div(parts, className="progress", role="img")
        return bits.tagged(bar, aria_label=f"{said} of {now.total} trials")

    def _notices(self) -> list[Component]:
        return [bits.notice("Not everything could be read: ", note, ".") for note in self.view.said]

    def _numbers(self, best: Any, metric: str) -> list[tuple[str, Any]]:
        called = ({} if metric in _NUMBERS else {metric: metric}) | _NUMBERS
        known = {name: text for name, text in called.items() if not missing(best[name])}
        return [(text, written(name, best[name], unit=True)) for name, text in known.items()]

    def _pictures(self, best: Any) -> list[Component]:
        from flowsearch.analysis.dashboard.pictures import strip

        return strip(self.watched, self.address, str(best["trials"][0]), images=_PICTURES)

    def _filtered(self, status: str) -> str:
        model = {"status": {"filterType": "text", "type": "equals", "filter": status}}
        return replace(self.address.at(TRIALS), filters=model, figure="", selected=None).href


def layout(overview: Overview) -> Component:
    """The page."""
    made = all_live(overview.sections)
    return bits.cards(
        bits.tagged(html.Section(made["overview-head"], className="card wide head"), aria_label="Progress"),
        bits.section("Best configuration so far", made["overview-best"], wide=True),
        made["overview-progress"],
        html.Div(
            [
                bits.section("Running now", made["overview-running"]),
                bits.section("Time and budget", made["overview-budget"]),
            ],
            className="stack",
        ),
        bits.section("What went wrong", made["overview-trouble"], wide=True),
    )


def _share(row: Mapping[Any, Any]) -> float:
    if missing(row["epoch"]) or missing(row["of"]) or row["phase"] != schema.TRAIN_PHASE:
        return 0.0
    return float(row["epoch"]) / max(1.0, float(row["of"]))


def _epochs(row: Mapping[Any, Any]) -> str:
    if missing(row["epoch"]):
        return "starting"
    if row["phase"] == schema.PRIOR_PHASE:
        return f"pre-training, epoch {row['epoch']}"
    return f"{row['epoch']}" if missing(row["of"]) else f"{row['epoch']} of {row['of']}"
