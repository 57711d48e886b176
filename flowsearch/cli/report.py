"""`flowsearch report`: what a study found, as one HTML file, or its tables for a paper."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from flowsearch.cli.errors import told_warnings, user_errors
from flowsearch.cli.options import local

_STDOUT = Path("-")


def report(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="DIR...", help="The study's folder, such as results/quickstart; md, latex: several."),
    ],
    form: Annotated[
        Literal["html", "md", "latex"],
        typer.Option("--format", help="html: the whole report; md, latex: the tables of a paper, with intervals."),
    ] = "html",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=local,
            metavar="PATH",
            help="Where to write it; - prints it. Default: report.html, .md or .tex in the first DIR.",
        ),
    ] = None,
    pictures: Annotated[
        bool | None,
        typer.Option(
            "--pictures/--no-pictures",
            help="md, latex: put the paper's figures 2 to 5 beside the file, as PNG. Default: of drawn faces only.",
        ),
    ] = None,
) -> None:
    """Write a study's report: one HTML file that opens offline, or the tables. The study may still be running."""
    with user_errors(), told_warnings():
        from flowsearch.analysis import report_text, write_report

        said = report_text(paths, form) if out == _STDOUT else f"report: {write_report(paths, out, form, pictures)}\n"
    typer.echo(said, nl=False)
