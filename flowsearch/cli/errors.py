"""One way for every command to tell a person what is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a `ValueError` or `FileNotFoundError` of the body into `error: ...` on stderr and exit code 2."""
    try:
        yield
    except FileNotFoundError as error:
        what = f"{error.filename} does not exist" if error.filename is not None and error.strerror else str(error)
        typer.echo(f"error: {what}", err=True)
        raise typer.Exit(2) from None
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
