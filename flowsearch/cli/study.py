"""`flowsearch study run` and `resume`; the commands that only look are in `plan` and `studies`."""

import logging
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowsearch.cli.errors import user_errors
from flowsearch.cli.options import File, Name, Profile, Sets, chosen
from flowsearch.cli.usage import Settable

if TYPE_CHECKING:
    from flowsearch.study import Ending
    from flowsearch.study.progress import Listener

app = typer.Typer(
    name="study", help="Run studies: search for the best unrolled network, many trials at once.", no_args_is_help=True
)

_Plain = Annotated[bool, typer.Option("--plain", help="Plain lines instead of the live view.")]
_Address = Annotated[
    str | None,
    typer.Option(help="Run on a Ray cluster: `auto` on one of its machines, or its address.", show_default=False),
]
_Verbose = Annotated[bool, typer.Option("--verbose", help="Show Ray's own messages too.")]


@app.command(cls=Settable)
def run(
    file: File,
    sets: Sets = None,
    profile: Profile = None,
    results: Annotated[str, typer.Option(help="Folder that holds the results of all studies, or its URI.")] = "results",
    name: Name = None,
    address: _Address = None,
    plain: _Plain = False,
    verbose: _Verbose = False,
) -> None:
    """Run a study and leave its tables, checkpoints and report in RESULTS/NAME."""
    with user_errors():
        from flowsearch.storage import inside
        from flowsearch.study import run as run_study

        study = chosen(file, sets, profile, name)
        _go(
            lambda listener: run_study(study, results, listener, address=address, verbose=verbose),
            inside(results, study.name),
            plain,
            verbose,
        )


@app.command(cls=Settable)
def resume(
    path: Annotated[str, typer.Argument(help="A study's results, e.g. results/quickstart.", show_default=False)],
    file: Annotated[
        Path | None, typer.Option(help="The study file as it is now, with more trials, say.", show_default=False)
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a name, e.g. search.trials=40.")
    ] = None,
    address: _Address = None,
    plain: _Plain = False,
    verbose: _Verbose = False,
) -> None:
    """Go on with a study that was interrupted; finished trials are left alone."""
    with user_errors():
        from flowsearch.study import resume as resume_study

        _go(
            lambda listener: resume_study(path, listener, file=file, sets=sets or (), address=address, verbose=verbose),
            path,
            plain,
            verbose,
        )


@app.command()
def retry(
    path: Annotated[str, typer.Argument(help="A study's results, e.g. results/quickstart.", show_default=False)],
    ids: Annotated[
        list[str] | None, typer.Option("--trial", metavar="ID", help="Only this trial; may be given several times.")
    ] = None,
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only trials with this in their reason.", show_default=False)
    ] = None,
    address: _Address = None,
    plain: _Plain = False,
    verbose: _Verbose = False,
) -> None:
    """Run the failed and diverged trials of a study again, and go on with it."""
    with user_errors():
        from flowsearch.study import retry as retry_trials

        _go(
            lambda listener: retry_trials(
                path, listener, ids=ids or (), reason=reason, address=address, verbose=verbose
            ),
            path,
            plain,
            verbose,
        )


def _go(start: "Callable[[Listener], Ending]", root: Path | str, plain: bool, verbose: bool) -> None:
    """Run or resume with the view, then print the end and leave with its exit code."""
    from flowsearch.cli.live import counts, summarize, view
    from flowsearch.cli.terminal import terminal

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO if verbose else logging.WARNING)
    console = terminal()
    try:
        with view(console, plain=plain) as listener:
            ending = start(listener)
    except KeyboardInterrupt:
        typer.echo("interrupted before anything ran", err=True)
        raise typer.Exit(130) from None
    quoted = shlex.quote(str(root))
    go_on = f"flowsearch study resume {quoted}"
    if ending.stopped == "signal":
        console.print(f"interrupted: {counts(ending.progress)}; everything so far is in {root}", soft_wrap=True)
        console.print(f"go on with:  {go_on}", soft_wrap=True)
        raise typer.Exit(130)
    summarize(console, ending.progress)
    console.print(_end(ending))
    if ending.stopped == "budget":
        budget = ending.progress.study.budget
        whole = [name for name in ("gpu_hours", "usd") if getattr(budget, name) is not None]
        more = "".join(f" --set budget.{name}=MORE" for name in whole)
        console.print(f"stopped: {ending.reason}", soft_wrap=True)
        console.print(f"go on with:  {go_on}{more}", soft_wrap=True)
    if ending.stopped == "ray":
        typer.echo(f"Ray died, so nothing more could run; go on with:  {go_on}", err=True)
        raise typer.Exit(1)
    if ending.stopped == "taken":
        typer.echo(f"{ending.reason}; nothing more was written to {root}", err=True)
        raise typer.Exit(1)
    if ending.stopped == "disk":
        typer.echo(f"stopped: {ending.reason}; once the disk takes it, go on with:  {go_on}", err=True)
        raise typer.Exit(1)
    if ending.stopped == "failures":
        typer.echo(f"stopped: {ending.reason}; mend it, then:  flowsearch study retry {quoted}", err=True)
    _report(root)
    failed = [trial.id for trial in ending.progress.trials.values() if trial.status == "failed"]
    if failed:
        typer.echo(f"failed: {', '.join(failed)}{_tracebacks(root, failed)}", err=True)
        raise typer.Exit(1)


def _tracebacks(root: Path | str, failed: list[str]) -> str:
    """Where the tracebacks are; nothing where no trial has one, as those that lost their workers have none."""
    from flowsearch.results import schema
    from flowsearch.storage import inside, store_at

    where = inside(root, schema.ERRORS)
    try:
        found = {f"{one}.txt" for one in failed}.intersection(store_at(where).names())
    except OSError:
        return ""
    return f" (tracebacks are in {where})" if found else ""


def _end(ending: "Ending") -> str:
    """How many trials ended how, and in what time; or that they had before."""
    from flowsearch.cli.live import counts
    from flowsearch.results.forms import duration

    said = counts(ending.progress)
    return f"nothing was left to do: {said}" if ending.nothing_left else f"{said} in {duration(ending.seconds)}"


def _report(root: Path | str) -> None:
    """Write the report. A study is not worth less for a report that cannot be drawn, so that only says so."""
    try:
        from flowsearch.analysis import write_report

        typer.echo(f"report: {write_report(root)}")
    except KeyboardInterrupt:
        again = f"flowsearch report {shlex.quote(str(root))}"
        typer.echo(f"interrupted while the report was written; write it with:  {again}", err=True)
        raise typer.Exit(130) from None
    except Exception as error:
        typer.echo(
            f"the report could not be written ({type(error).__name__}: {error}); the results are in {root}", err=True
        )
