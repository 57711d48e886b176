"""What a running study looks like: a live view in a terminal, one line an event elsewhere; and the closing summary."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import mean
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flowsearch.analysis.wording import plural
from flowsearch.cli.terminal import table
from flowsearch.results.forms import decibels, duration, written

if TYPE_CHECKING:
    from flowsearch.study.progress import Event, Listener, Progress, TrialState

_REFRESH_SECONDS = 0.2
_SHARE = 0.05
"""The share of the driver's time that drawing may take: with thousands of trials it is done less often."""
_BARE = ("method", "prox", "task", "weights")
"""Names whose value says enough by itself."""
_OF_BEST = ("test_psnr", "ood_psnr", "parameters")


@contextmanager
def view(console: Console, *, plain: bool) -> "Iterator[Listener]":
    """A listener for `study.run`: the live view where `console` is a terminal, else plain lines."""
    if plain or not console.is_terminal:
        yield PlainLines(console)
        return
    with Live(Text("starting Ray ..."), console=console, auto_refresh=False, transient=True) as live:
        console.show_cursor()  # Live hides it, and a process that is killed could not bring it back
        yield LiveView(live)


class PlainLines:
    """One line for each trial and each prior that starts or ends."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, event: "Event") -> None:
        """Called by the study's driver."""
        progress, trial = event.progress, event.trial
        if event.kind == "changed":
            self._say(event.note)
        elif event.kind == "begun":
            left = plural(progress.total - progress.done, "trial")
            self._say(f"study {progress.study.name}: {left} to run, {progress.slots} at once")
        elif event.kind == "prior":
            self._say(event.note)
        elif event.kind == "started" and trial is not None:
            again = f", attempt {trial.attempt}" if trial.attempt > 1 else ""
            self._say(f"trial {trial.id} started{again}: {short(trial.values)}")
        elif event.kind == "again" and trial is not None:
            self._say(f"trial {trial.id} runs again: {event.note}")
        elif event.kind == "ended" and trial is not None:
            done = f"{progress.done} of {progress.total} done"
            self._say(
                f"trial {trial.id} {outcome(trial, progress.study.metric)} in {duration(trial.seconds)} "
                f"({done}{left_text(progress)})"
            )

    def _say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)


class LiveView:
    """Counts, the running trials with their progress, the best so far; drawn anew a few times a second."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._due = 0.0

    def __call__(self, event: "Event") -> None:
        """Called by the study's driver."""
        now = time.monotonic()
        if event.kind == "changed":
            self._live.console.print(event.note, soft_wrap=True)
        elif event.kind == "stopping":
            self._live.update(Text("stopping ..." if event.note else "finishing ..."), refresh=True)
        elif now >= self._due:
            self._live.update(draw(event.progress), refresh=True)
            self._due = now + max(_REFRESH_SECONDS, (time.monotonic() - now) / _SHARE)


def draw(progress: "Progress") -> RenderableType:
    """The live view at this moment."""
    study, by_status = progress.study, progress.counts
    head = Text.assemble(
        (study.name, "bold"),
        f"  {progress.done} of {progress.total} done  ",
        (f"{len(progress.running)} running  ", "cyan"),
        (f"{by_status['pruned']} pruned  ", "yellow"),
        (f"{by_status['failed']} failed", "red" if by_status["failed"] else "dim"),
        (f"  {by_status['diverged']} diverged" if by_status["diverged"] else "", "red"),
        (left_text(progress), "dim"),
    )
    running = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(4):
        running.add_column(no_wrap=True, min_width=4)
    running.add_column()  # gives way where all do not fit, and is cut, not wrapped
    for trial in sorted(progress.running, key=lambda one: one.number):
        value = trial.current.get(study.metric)
        running.add_row(
            trial.id,
            ProgressBar(total=1.0, completed=trial.share, width=12),
            Text(f"{trial.phase} {trial.epoch}" if trial.phase else "starting"),
            Text(written(study.metric, value, unit=True, empty="")),
            _cut(short(trial.values)),
        )
    for prior in progress.priors.values():
        if prior.status == "running":
            running.add_row(
                "prior",
                ProgressBar(total=1.0, completed=prior.share, width=12),
                Text(f"prior {prior.epoch}"),
                Text(""),
                _cut(f"{prior.words}, for {plural(len(prior.trials), 'trial')}"),
            )
    whole = Table.grid()
    whole.add_row(ProgressBar(total=progress.total, completed=progress.done, width=60))
    parts: list[RenderableType] = [head, whole, running]
    best = progress.best_configuration
    if best is not None:
        first = best.completed[0]
        text = f"best so far  {written(study.metric, best.mean(study.metric), unit=True)}  trial {first.id}  "
        parts.append(Text.assemble((text, "green"), short(first.values)))
    elif len(study.objective) > 1 and study.tasks is None:
        parts.append(Text(f"on the Pareto front so far  {len(progress.front())}", style="green"))
    return Group(*parts)


def _cut(text: str) -> Text:
    """A dim line, cut where it does not fit."""
    return Text(text, style="dim", no_wrap=True, overflow="ellipsis")


def summarize(console: Console, progress: "Progress") -> None:
    """Print the closing tables, the best configuration, and what went wrong.

    A search for one objective gets a table by proximal map, where it is of unrolled networks on one task, and else one
    of the best of each method.
    """
    from flowsearch.cli.closing import best_lines, closing_tables, lost_lines, warning_lines

    if progress.counts["completed"]:
        for one in closing_tables(progress) or _by_method(progress):
            console.print(one)
    elif progress.done:
        console.print("no trial was completed, so there is no table")
    for line in best_lines(progress):
        console.print(line, soft_wrap=True)
    best = progress.best
    measured = None if best is None else best.metrics.get("measurement_psnr")
    if measured is not None:
        console.print(f"the measurements themselves, of the test images: {decibels(measured)} dB")
    for line in (*lost_lines(progress), *warning_lines(progress)):
        console.print(line, soft_wrap=True)
    for trial in progress.trouble:
        console.print(f"trial {trial.id} {trial.status}: {trial.reason}", soft_wrap=True)


def _by_method(progress: "Progress") -> list[Table]:
    from flowsearch.cli.closing import standings_tables

    completed = [trial.config for trial in progress.trials.values() if trial.status == "completed"]
    several = {config["task"] for config in completed}, {config["method"] for config in completed} | {"unrolled"}
    return standings_tables(progress) if max(map(len, several)) > 1 else [prox_table(progress)]


def prox_table(progress: "Progress") -> Table:
    """A row for each proximal map with completed trials: how many, best and mean, and the numbers of its best
    configuration, if any keeps to the limits."""
    from flowsearch.cli.closing import best_of
    from flowsearch.study.standing import ranked

    metric = progress.study.metric
    heads = ("prox", "n", f"best\n{metric}", f"mean\n{metric}", "test_psnr", "ood_psnr", "parameters", "mean time")
    made = table(heads, right=heads[1:], title=f"{progress.study.name}: completed trials by proximal map")
    groups: dict[str, list[TrialState]] = {}
    for trial in progress.trials.values():
        if trial.status == "completed" and metric in trial.metrics:
            groups.setdefault(trial.config["prox"] or trial.config["method"], []).append(trial)
    for prox, trials in sorted(groups.items()):
        best = next(iter(ranked(progress.study, trials)), None)
        shown = {name: None if best is None else best.mean(name) for name in (metric, *_OF_BEST)}
        made.add_row(
            prox,
            str(len(trials)),
            written(metric, shown[metric], empty=""),
            written(metric, mean(one.metrics[metric] for one in trials)),
            *(written(name, shown[name], empty="") for name in _OF_BEST),
            duration(mean(one.seconds for one in trials)),
        )
    limits = f"\nthat keeps to {' and '.join(progress.study.constraints)}" if progress.study.constraints else ""
    said = f"PSNR in dB; test_psnr, ood_psnr and parameters are those of {best_of(progress)}{limits}"
    made.caption = said if groups else "no trial completed"
    return made


def counts(progress: "Progress") -> str:
    """`9 completed, 3 pruned of 12 trials`."""
    known = [f"{number} {status}" for status, number in sorted(progress.counts.items())]
    return f"{', '.join(known) or 'nothing yet'} of {plural(progress.total, 'trial')}"


def outcome(trial: "TrialState", metric: str) -> str:
    """A trial's status with its value or its reason."""
    value = written(metric, trial.metrics.get(metric), unit=True, empty="")
    if trial.status == "completed":
        return f"completed at {value}"
    if trial.status == "pruned":
        return f"pruned after epoch {trial.epoch}" + (f" at {value}" if value else "")
    return f"{trial.status}: {trial.reason}"


def short(values: Mapping[str, Any]) -> str:
    """A configuration in a few words: `glow untied folds=3 lr=2.8e-04`."""
    words = []
    for name in sorted(values, key=lambda one: one not in _BARE):
        value = values[name]
        if name == "pretrain":
            words.append("pre-trained" if value else "fresh")
        elif name in _BARE:
            words.append(str(value))
        else:
            words.append(f"{name}={value:.2g}" if isinstance(value, float) else f"{name}={value}")
    return " ".join(words)


def left_text(progress: "Progress") -> str:
    """`, about 3 min left`, or nothing while there is nothing to judge by."""
    seconds = progress.seconds_left
    return "" if not seconds or progress.complete else f", about {duration(seconds)} left"
