"""`flowsearch doctor`: whether studies will run on this machine."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

_COLOURS = {"ok": typer.colors.GREEN, "note": typer.colors.YELLOW, "problem": typer.colors.RED}


def doctor(
    results: Annotated[str, typer.Option(help="Folder that is to hold results, or its URI.")] = "results",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look whether studies will run here: packages, processor, GPUs, Ray, disk and images are tried; nothing stays.

    Leaves with exit code 0, or 1 where there is a problem.
    """
    from flowsearch.doctor import examine

    found = []
    for finding in examine(results):
        found.append(finding)
        if not as_json:
            state = typer.style(f"{finding.state:8}", fg=_COLOURS[finding.state])
            typer.echo(f"{state} {finding.what:10} {finding.said}" + (f"; {finding.mend}" if finding.mend else ""))
    problems = sum(finding.state == "problem" for finding in found)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in found]))
    elif problems:
        typer.echo(f"{problems} {'problem' if problems == 1 else 'problems'}")
    else:
        typer.echo("studies run here: flowsearch study run studies/quickstart.yaml")
    if problems:
        raise typer.Exit(1)
