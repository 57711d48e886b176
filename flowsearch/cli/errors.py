"""One way for every command to tell a person what is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a `ValueError`, or what the system says of a file, into `error: ...` on stderr and exit code 2.

    An `OSError` without a number is not the system's word on a file, and goes on as it is; so does a closed pipe, which
    typer ends quietly.
    """
    try:
        yield
    except FileNotFoundError as error:
        what = f"{error.filename} does not exist" if error.filename is not None and error.strerror else str(error)
        typer.echo(f"error: {what}", err=True)
        raise typer.Exit(2) from None
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        if error.errno is None or isinstance(error, BrokenPipeError):
            raise
        typer.echo(f"error: {_said(error)}", err=True)
        raise typer.Exit(2) from None


def _said(error: OSError) -> str:
    """What the system says, and of which files: a rename has two."""
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    said = f"{error.strerror}: {' to '.join(files)}" if files else str(error.strerror)
    from flowsearch.doctor import SET_HOME, is_of_home

    return f"{said}; {SET_HOME}" if is_of_home(error) else said
