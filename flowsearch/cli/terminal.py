"""What commands print to, and the tables that they print there."""

from collections.abc import Collection, Iterable

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}
_CONTROLS |= {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(128, 256)}  # of file names that are no UTF-8


def visible(text: str) -> str:
    """`text` with control characters written out, as `\\x1b`: in results of somebody else's, or in the name of a file,
    they would be commands to the terminal. So are bytes of a name that are no UTF-8, which cannot be printed."""
    return text.translate(_CONTROLS)


def say(text: object, *, err: bool = False) -> None:
    """Print a line of text that may be somebody else's (`visible`)."""
    typer.echo(visible(str(text)), err=err)


class _Terminal(Console):
    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See `Console.render`."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text), style, control)


def terminal() -> Console:
    """Prints text as it is: a folder `results/[old]` is not taken for markup, nor `:key:` for a picture. Control
    characters are written out (`visible`)."""
    return _Terminal(highlight=False, markup=False, emoji=False)


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
