"""`flowsearch dashboard`: a study, or a folder of them, live in the browser."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowsearch.cli.errors import user_errors

if TYPE_CHECKING:
    from flowsearch.analysis.dashboard import Used


def dashboard(
    path: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="A study's folder or URI, or one with studies in it, such as results or s3://bucket/results.",
            show_default=False,
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on. Any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8050,
    token: Annotated[
        str | None,
        typer.Option(help="What a browser has to know. Default: none, a new one with --host.", show_default=False),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser.")] = True,
) -> None:
    """Show a study, running or finished, or a folder of studies, in the browser. It changes nothing; Ctrl-C ends it."""
    with user_errors():
        from flowsearch.analysis.dashboard import prepare
        from flowsearch.study.lease import is_held

        served = prepare(path, host=host, port=port, token=token, spent=_spent, held=is_held)
    typer.echo(f"dashboard: {served.url}")
    typer.echo("Ctrl-C ends it")
    if open_browser:
        import webbrowser

        webbrowser.open(served.url)
    try:
        served.run()
    except KeyboardInterrupt:
        pass
    finally:
        served.close()


def _spent(path: Path, running: bool) -> "Sequence[Used]":
    """What the study in `path` has used of its budget, by its ledger; nothing where that cannot be told."""
    from flowsearch.analysis.dashboard import Used
    from flowsearch.results import load, schema
    from flowsearch.study.budget import Meter
    from flowsearch.study.ledger import STARTED, STUDY, Ledger
    from flowsearch.study.moment import between
    from flowsearch.study.sections import Budget

    declared = load(path).study.get("budget")
    if not isinstance(declared, dict) or not any(value is not None for value in declared.values()):
        return ()
    try:
        budget = Budget(**declared)
        ledger = Ledger(path / schema.LEDGER)
        meter = Meter(budget, ledger)
    except (ValueError, OSError):
        return ()
    # A run that is over used nothing after its last event; the meter has forgotten how long it took.
    now = None if running or not ledger.events else ledger.events[-1].at
    found = []
    if budget.hours is not None:
        began = [one.at for one in ledger.events if (one.event, one.subject) == (STARTED, STUDY)]
        hours = meter.hours() if now is None else between(began[-1], now) / 3600 if began else 0.0
        found.append(Used("wall-clock time of the last run", "hours", hours, budget.hours))
    if budget.gpu_hours is not None or meter.gpu_hours(now) > 0:
        found.append(Used("GPU time of all runs", "GPU-hours", meter.gpu_hours(now), budget.gpu_hours))
    if budget.usd is not None or meter.usd(now) > 0:
        found.append(Used("cost of all runs", "USD", meter.usd(now), budget.usd))
    return found
