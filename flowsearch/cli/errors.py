"""One way for every command to tell a person what is wrong."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def told_warnings() -> Iterator[None]:
    """Print what is warned of, as a line on stderr without the place in the code."""
    from flowsearch.cli.terminal import say

    with warnings.catch_warnings(record=True) as caught:
        try:
            yield
        finally:
            for warning in caught:
                if warning.category is UserWarning:
                    say(f"warning: {warning.message}", err=True)


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
        raise _refused(what) from None
    except ValueError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno is not None and str(cause) == str(error):
            raise _refused(_said(cause)) from None  # such as of a trial's images
        raise _refused(str(error)) from None
    except OSError as error:
        if error.errno is None or isinstance(error, BrokenPipeError):
            raise
        raise _refused(_said(error)) from None


def _refused(what: str) -> typer.Exit:
    from flowsearch.cli.terminal import say

    say(f"error: {what}", err=True)
    return typer.Exit(2)


def _said(error: OSError) -> str:
    """What the system says, and of which files: a rename has two."""
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    said = f"{error.strerror}: {' to '.join(files)}" if files else str(error.strerror)
    from flowsearch.doctor import SET_HOME, is_of_home

    return f"{said}; {SET_HOME}" if is_of_home(error) else said
