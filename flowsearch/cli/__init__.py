"""The command line: each command parses, calls one function and prints."""

import typer

from flowsearch.cli import bench, cluster, data, prior, studies, study
from flowsearch.cli.dashboard import dashboard
from flowsearch.cli.doctor import doctor
from flowsearch.cli.evaluate import evaluate
from flowsearch.cli.plan import plan
from flowsearch.cli.reconstruct import reconstruct
from flowsearch.cli.report import report
from flowsearch.cli.train import train
from flowsearch.cli.usage import HELP, Commands, Settable

app = typer.Typer(
    name="flowsearch",
    cls=Commands,
    context_settings=HELP,
    help="Studies over unrolled networks with normalizing flow priors for imaging inverse problems.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
study.app.command(cls=Settable)(plan)
study.app.command()(studies.show)
study.app.command("list")(studies.list_studies)
study.app.command()(studies.export)
app.add_typer(study.app, name="study", cls=Commands)
app.add_typer(prior.app, name="prior", cls=Commands)
app.add_typer(data.app, name="data", cls=Commands)
app.add_typer(bench.app, name="bench", cls=Commands)
app.add_typer(cluster.app, name="cluster", cls=Commands)
app.command(cls=Settable)(train)
app.command()(evaluate)
app.command()(reconstruct)
app.command()(report)
app.command()(dashboard)
app.command()(doctor)


@app.callback(invoke_without_command=True)
def _version(
    version: bool = typer.Option(False, "--version", help="Print the version and stop.", is_eager=True),
) -> None:
    if version:
        from flowsearch import __version__

        typer.echo(f"flowsearch {__version__}")
        raise typer.Exit
