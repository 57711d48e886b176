"""What commands print to, and the tables that they print there."""

from collections.abc import Collection, Iterable

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


def terminal() -> Console:
    """Prints text as it is: a folder `results/[old]` is not taken for markup, nor `:key:` for a picture."""
    return Console(highlight=False, markup=False, emoji=False)


def table(
    heads: Iterable[str], *, right: Collection[str] = (), wrapped: Collection[str] = (), title: str | None = None
) -> Table:
    """An empty table; columns `right` are set to the right, `wrapped` ones take several lines where they must."""
    made = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in heads:
        made.add_column(
            head, justify="right" if head in right else "left", no_wrap=head not in wrapped, overflow="fold"
        )
    return made
