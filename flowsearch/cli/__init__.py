"""The command line: each command parses, calls one function and prints."""

import typer

app = typer.Typer(
    name="flowsearch",
    help="Studies over unrolled networks with normalizing flow priors for imaging inverse problems.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
