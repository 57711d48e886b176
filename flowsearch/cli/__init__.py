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

app = typer.Typer(
    name="flowsearch",
    help="Studies over unrolled networks with normalizing flow priors for imaging inverse problems.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
study.app.command()(plan)
study.app.command()(studies.show)
study.app.command("list")(studies.list_studies)
study.app.command()(studies.export)
app.add_typer(study.app, name="study")
app.add_typer(prior.app, name="prior")
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")
app.add_typer(cluster.app, name="cluster")
app.command()(train)
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
