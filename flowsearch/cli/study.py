"""`flowsearch study`: run a study file, go on with a study, look at one."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowsearch.cli.errors import user_errors

if TYPE_CHECKING:
    from flowsearch.study import Ending, Study
    from flowsearch.study.progress import Listener, Progress

app = typer.Typer(
    name="study", help="Run studies: search for the best unrolled network, many trials at once.", no_args_is_help=True
)

_Plain = Annotated[bool, typer.Option("--plain", help="Plain lines instead of the live view.")]
_Address = Annotated[
    str | None,
    typer.Option(help="Run on a Ray cluster: `auto` on one of its machines, or its address.", show_default=False),
]
_Verbose = Annotated[bool, typer.Option("--verbose", help="Show Ray's own messages too.")]


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="Study file, e.g. studies/quickstart.yaml.", show_default=False)],
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Override a name of the file, e.g. data.source=celeba."),
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder that holds the results of all studies.")] = Path("results"),
    name: Annotated[
        str | None, typer.Option(help="Name of the study and its results' folder.", show_default=False)
    ] = None,
    address: _Address = None,
    plain: _Plain = False,
    verbose: _Verbose = False,
) -> None:
    """Run a study and leave its tables, checkpoints and report in RESULTS/NAME."""
    with user_errors():
        from flowsearch.study import load
        from flowsearch.study import run as run_study

        overrides = [*(sets or []), *([f"name={name}"] if name is not None else [])]
        study = load(file, overrides)
        _go(
            lambda listener: run_study(study, results, listener, address=address, verbose=verbose),
            results / study.name,
            plain,
            verbose,
        )


@app.command()
def resume(
    path: Annotated[Path, typer.Argument(help="A study's results, e.g. results/quickstart.", show_default=False)],
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
    path: Annotated[Path, typer.Argument(help="A study's results, e.g. results/quickstart.", show_default=False)],
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


@app.command()
def show(
    path: Annotated[Path, typer.Argument(help="A study's results, e.g. results/quickstart.", show_default=False)],
) -> None:
    """Print how a study stands: its trials by status, the best of each method, what failed."""
    with user_errors():
        from rich.console import Console

        from flowsearch.cli.live import summarize

        progress = _read(path)
        console = Console()
        console.print(f"{progress.study.name}: {_counts(progress)}", highlight=False)
        summarize(console, progress)


@app.command("list")
def list_studies(
    results: Annotated[Path, typer.Option(help="Folder that holds the results of all studies.")] = Path("results"),
) -> None:
    """List the studies in the results' folder."""
    with user_errors():
        from rich.console import Console

        from flowsearch.cli.live import number

        console = Console()
        folders = sorted(path.parent for path in results.glob("*/study.yaml"))
        if not folders:
            console.print(f"no studies in {results}", highlight=False)
        for folder in folders:
            try:
                progress = _read(folder)
            except ValueError as error:
                console.print(f"{folder.name}: {error}", highlight=False, markup=False, soft_wrap=True)
                continue
            best, metric = progress.best, progress.study.metric
            single = None if best is None else progress.best_of(None)
            mean = None if single is None else single.mean(metric)
            text = "" if best is None else f", best {metric} {number(mean, metric)} (trial {best.id})"
            console.print(f"{folder.name}: {_counts(progress)}{text}", highlight=False, soft_wrap=True)


def _go(start: "Callable[[Listener], Ending]", root: Path, plain: bool, verbose: bool) -> None:
    """Run or resume with the view, then print the end and leave with its exit code."""
    from rich.console import Console

    from flowsearch.cli.live import duration, summarize, view

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO if verbose else logging.WARNING)
    console = Console()
    try:
        with view(console, plain=plain) as listener:
            ending = start(listener)
    except KeyboardInterrupt:
        typer.echo("interrupted before anything ran", err=True)
        raise typer.Exit(130) from None
    go_on = f"flowsearch study resume {root}"
    if ending.stopped == "signal":
        console.print(
            f"interrupted: {_counts(ending.progress)}; everything so far is in {root}", highlight=False, soft_wrap=True
        )
        console.print(f"go on with:  {go_on}", highlight=False, soft_wrap=True)
        raise typer.Exit(130)
    summarize(console, ending.progress)
    console.print(f"{_counts(ending.progress)} in {duration(ending.seconds)}", highlight=False)
    if ending.stopped == "budget":
        hours = ending.progress.study.budget.hours
        console.print(
            f"stopped after the budget of {hours:g} hours; go on with:  {go_on}", highlight=False, soft_wrap=True
        )
    if ending.stopped == "ray":
        typer.echo(f"Ray died, so nothing more could run; go on with:  {go_on}", err=True)
        raise typer.Exit(1)
    if ending.stopped == "failures":
        typer.echo(f"stopped: {ending.said}; mend it, then:  flowsearch study retry {root}", err=True)
    _report(root)
    failed = [trial.id for trial in ending.progress.trials.values() if trial.status == "failed"]
    if failed:
        typer.echo(f"failed: {', '.join(failed)} (tracebacks are in {root / 'errors'})", err=True)
        raise typer.Exit(1)


def _report(root: Path) -> None:
    """Write the report. A study is not worth less for a report that cannot be drawn, so that only says so."""
    try:
        from flowsearch.analysis import write_report

        typer.echo(f"report: {write_report(root)}")
    except Exception as error:
        typer.echo(
            f"the report could not be written ({type(error).__name__}: {error}); the results are in {root}", err=True
        )


def _read(path: Path) -> "Progress":
    from flowsearch.results import schema
    from flowsearch.study import load
    from flowsearch.study.ledger import Ledger
    from flowsearch.study.progress import replay

    file = path / schema.STUDY_FILE
    if not file.is_file():
        raise ValueError(
            f"{path} holds no study (there is no {schema.STUDY_FILE}); name its folder, such as results/quickstart"
        )
    study: Study = load(file)
    return replay(study, Ledger(path / schema.LEDGER))


def _counts(progress: "Progress") -> str:
    """`9 completed, 3 pruned of 12 trials`."""
    known = [f"{number} {status}" for status, number in sorted(progress.counts.items())]
    return f"{', '.join(known) or 'nothing yet'} of {progress.total} trials"
