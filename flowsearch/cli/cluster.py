"""`flowsearch cluster`: check a cluster's file, and submit a study to a cluster."""

from pathlib import Path
from typing import Annotated

import typer

from flowsearch.cli.errors import user_errors
from flowsearch.cli.options import File, Name, Profile, Sets, overrides
from flowsearch.cli.usage import Settable

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


@app.command(cls=Settable)
def submit(
    file: File,
    results: Annotated[
        str, typer.Option(help="Where the cluster keeps results: a URI, or a folder that all its machines see.")
    ],
    address: Annotated[
        str, typer.Option(help="The cluster's job server.", envvar="RAY_API_SERVER_ADDRESS")
    ] = "http://127.0.0.1:8265",
    sets: Sets = None,
    profile: Profile = None,
    name: Name = None,
    environment: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="Set this for the study's processes.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show its log until it ends; Ctrl-C only looks away.")
    ] = False,
) -> None:
    """Run a study on a cluster. It goes on there without this computer; submitted again, it is resumed."""
    with user_errors():
        from flowsearch.cluster import submit as jobs

        pairs = dict(_pair(one) for one in environment or [])
        submitted = jobs.submit(file, results, address, sets=overrides(sets, name), profile=profile, environment=pairs)
    if submitted.stay:
        typer.echo(
            f"not sent, as it does not lie beside the study file: {', '.join(submitted.stay)}; it has to be installed "
            "on every machine there",
            err=True,
        )
    typer.echo(f"submitted as {submitted.job}; it runs on without this computer. To look at it:")
    for what, command in jobs.hints(submitted).items():
        typer.echo(f"  {what + ':':11}{command}")
    if follow:
        try:
            for text in jobs.follow(submitted):
                typer.echo(text, nl=False)
        except KeyboardInterrupt:
            return
        if jobs.failed(submitted):
            raise typer.Exit(1)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"--env is NAME=VALUE, such as AWS_REGION=eu-west-1, not {text!r}")
    return name, value
