"""`flowsearch report`: what a study found, as one HTML file."""

import warnings
from pathlib import Path
from typing import Annotated

import typer

from flowsearch.cli.errors import user_errors


def report(
    path: Annotated[str, typer.Argument(metavar="DIR", help="The study's folder, such as results/quickstart.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where to write it. Default: report.html in DIR.")] = None,
) -> None:
    """Write a study's report: one HTML file that opens offline. The study may still be running."""
    with user_errors(), warnings.catch_warnings(record=True) as caught:
        from flowsearch.analysis import write_report

        written = write_report(path, out)
    for warning in caught:
        if warning.category is UserWarning:
            typer.echo(f"warning: {warning.message}", err=True)
    typer.echo(f"report: {written}")
