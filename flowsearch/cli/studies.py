"""`flowsearch study list`, `show` and `export`: how studies stand and what they found; they change nothing."""

import shlex
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flowsearch.cli.errors import told_warnings, user_errors
from flowsearch.cli.options import local

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from flowsearch.study.ledger import Ledger
    from flowsearch.study.progress import Progress, TrialState

_LIVE_SECONDS = 1.0
_LIVE_SHARE = 0.1
"""At most this share of the time goes into reading: of thousands of trials a ledger takes seconds."""

_Dir = Annotated[
    str, typer.Argument(metavar="DIR", help="A study's results, e.g. results/quickstart.", show_default=False)
]


def show(
    path: _Dir,
    trials: Annotated[bool, typer.Option("--trials", help="A row for each trial.")] = False,
    trial: Annotated[
        str | None, typer.Option(metavar="ID", help="One trial: its configuration, numbers, reason and trace.")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Follow the study while it runs.")] = False,
) -> None:
    """Print how a study stands, also while it runs: trials by status, the best, what failed."""
    with user_errors():
        from flowsearch.analysis.wording import plural
        from flowsearch.cli.live import counts, summarize
        from flowsearch.cli.terminal import terminal
        from flowsearch.study.listing import opened

        console = terminal()
        if live:
            _follow(console, path)
        progress, ledger = opened(path)
        if trial is not None:
            _one(console, progress, ledger, trial)
            return
        console.print(f"{progress.study.name}: {counts(progress)}")
        for prior in progress.priors.values():
            done = f"{prior.epoch} of {plural(prior.config['prior']['epochs'], 'epoch')}"
            console.print(f"pre-training {prior.id}: {done}", soft_wrap=True)
        if trials:
            console.print(_trials(progress))
        else:
            summarize(console, progress)


def list_studies(
    root: Annotated[
        str, typer.Argument(metavar="ROOT", help="Folder or URI that holds the results of all studies.")
    ] = "results",
) -> None:
    """List the studies in the results' folder: trials done, states, the best so far."""
    with user_errors():
        from flowsearch.cli.terminal import table, terminal
        from flowsearch.results.forms import written
        from flowsearch.study.listing import listed

        console, studies = terminal(), listed(root)
        if not studies:
            console.print(f"no studies in {root}")
            return
        heads = ("study", "mode", "done", "trials", "best", "changed")
        made = table(heads, right=("done", "changed"), wrapped=heads)
        for one in studies:
            if one.problem:
                made.add_row(one.name, "", "", one.problem, "", "")
                continue
            states = ", ".join(f"{count} {status}" for status, count in sorted(one.states.items()))
            best = "" if one.best is None else f"{written(one.metric, one.best, unit=True)} (trial {one.best_trial})"
            done = f"{one.done}/{one.trials}"
            made.add_row(one.name, one.mode, done, states or "nothing yet", best, _age(one.changed))
        console.print(made)


def export(
    path: _Dir,
    form: Annotated[
        Literal["csv", "latex", "json"], typer.Option("--format", help="csv, json: all trials; latex: the best ones.")
    ] = "csv",
    out: Annotated[
        Path | None,
        typer.Option(parser=local, metavar="PATH", help="File to write. Default: print it.", show_default=False),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            parser=local,
            metavar="FOLDER",
            help="Write the best model there, for evaluate and reconstruct.",
            show_default=False,
        ),
    ] = None,
    trial: Annotated[
        str | None, typer.Option(metavar="ID", help="With --model: another trial than the best.", show_default=False)
    ] = None,
) -> None:
    """Write the trials' table for elsewhere, or the best model as a folder."""
    with user_errors(), told_warnings():
        import flowsearch
        from flowsearch.results import export as exports

        results = flowsearch.load(path)
        if model is not None:
            from flowsearch.study.model_folder import export_model

            chosen = export_model(results, model, trial)
            typer.echo(f"trial {chosen} of {results.name}: {model}")
            typer.echo(f"try it:  flowsearch evaluate {shlex.quote(str(model))}")
            return
        if trial is not None:
            raise ValueError("--trial goes with --model FOLDER; a table has all trials")
        text = {"csv": exports.to_csv, "json": exports.to_json, "latex": exports.to_latex}[form](results)
        if out is None:
            typer.echo(text, nl=False)
            return
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
        typer.echo(f"{form}: {out}")


def _follow(console: "Console", path: str) -> None:
    """Draw the live view from the ledger until the study's driver is gone."""
    from rich.live import Live

    from flowsearch.cli.live import draw
    from flowsearch.study.listing import is_running, opened
    from flowsearch.study.place import Place

    began = time.monotonic()
    with Live(draw(opened(path)[0]), console=console, auto_refresh=False, transient=True) as view:
        while is_running(Place(path)):
            time.sleep(max(_LIVE_SECONDS, (time.monotonic() - began) * (1 / _LIVE_SHARE - 1)))
            began = time.monotonic()
            view.update(draw(opened(path)[0]), refresh=True)


def _trials(progress: "Progress") -> "Table":
    """A row for each trial."""
    from flowsearch.cli.live import short
    from flowsearch.cli.terminal import table
    from flowsearch.results.forms import duration, written

    metric = progress.study.metric
    heads = ("trial", "status", metric, "epochs", "time", "configuration")
    made = table(heads, right=heads[2:5], wrapped=heads[5:])
    for trial in sorted(progress.trials.values(), key=lambda one: one.number):
        words = short(trial.values) + (f"  [{trial.reason}]" if trial.reason and trial.status != "pruned" else "")
        made.add_row(
            trial.id,
            trial.status,
            written(metric, trial.metrics.get(metric, trial.current.get(metric)), unit=True, empty=""),
            str(trial.metrics.get("epochs_run") or trial.epoch or ""),
            duration(trial.seconds) if trial.started is not None else "",
            words,
        )
    return made


def _one(console: "Console", progress: "Progress", ledger: "Ledger", asked: str) -> None:
    """Everything about one trial."""
    from flowsearch.cli.live import short
    from flowsearch.results.forms import duration
    from flowsearch.study.listing import trace

    known = {trial.id: trial for trial in progress.trials.values()}
    trial: TrialState | None = known.get(asked.zfill(4))
    if trial is None:
        raise ValueError(f"{progress.study.name} has no trial {asked}; it has {len(known)}, 0000 and on")
    again = f", attempt {trial.attempt}" if trial.attempt > 1 else ""
    took = f" in {duration(trial.seconds)}" if trial.started is not None else ""
    lines = [f"trial {trial.id} {trial.status}{took}{again}: {short(trial.values)}"]
    if trial.reason:
        lines.append(f"reason: {trial.reason}")
    lines += [f"warning: {text}" for text in (trial.warnings or "").splitlines()]
    if trial.host:
        lines.append(f"host: {trial.host}" + (f", {trial.device}" if trial.device else ""))
    lines += ["", "configuration"]
    nested = {name: trial.config[name] for name in ("data", "prior")}
    for section, values in [("", {k: v for k, v in trial.config.items() if k not in nested}), *nested.items()]:
        if section == "prior" and not trial.config.get("pretrain"):
            continue
        prefix = f"{section}." if section else ""
        lines += [f"  {prefix}{name}: {value}" for name, value in values.items() if value is not None]
    if trial.metrics:
        lines += ["", "numbers", *(f"  {name}: {value}" for name, value in trial.metrics.items() if value is not None)]
    traced = trace(ledger, trial.id)
    if traced:
        lines += ["", traced.rstrip()]
    console.print("\n".join(lines), soft_wrap=True)


def _age(then: datetime | None) -> str:
    """`3 min ago`; nothing where nothing has happened."""
    from flowsearch.results.forms import duration

    if then is None:
        return ""
    seconds = max(0.0, (datetime.now(UTC) - then).total_seconds())
    if seconds < 86400:
        return f"{duration(seconds)} ago"
    return f"{int(seconds // 86400)} days ago"
