"""`flowsearch cluster`: check a cluster's file, and submit a study to a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from flowsearch.cli.errors import user_errors

app = typer.Typer(name="cluster", help="Clusters: check the file of one, submit studies to one.", no_args_is_help=True)


@app.command()
def check(
    files: Annotated[
        list[Path], typer.Argument(help="Files for `ray up`, or a RayCluster for Kubernetes.", show_default=False)
    ],
) -> None:
    """Find what Ray would refuse, and what it would not, before any machine costs money.

    Leaves with exit code 0 where nothing was found, 1 with findings, 2 where a file cannot be read.
    """
    with user_errors():
        from flowsearch.cluster.check import check as look

        found = {file: look(file) for file in files}
    for file, findings in found.items():
        for finding in findings:
            typer.echo(f"{file}, {finding}")
        if not findings:
            typer.echo(f"{file}: nothing found")
    if any(found.values()):
        raise typer.Exit(1)
