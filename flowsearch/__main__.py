"""`python -m flowsearch` is the `flowsearch` command."""

from flowsearch.cli import app

app()
