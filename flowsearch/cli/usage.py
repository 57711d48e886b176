"""What is said of a command or an option that there is not, to people who come from tools with other habits."""

from difflib import get_close_matches
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

HELP = {"help_option_names": ["--help", "-h"]}

_UsageError: Any = typer.BadParameter.__mro__[1]
"""Click's, or that of the part of it which newer versions of typer hold."""


class Commands(TyperGroup):
    """A group that says of an unknown command where one of its name is, which is nearest, or else which there are."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """See `TyperGroup`."""
        asked = args[0]
        if asked not in self.commands and not ctx.resilient_parsing:
            groups = [name for name, one in self.commands.items() if asked in getattr(one, "commands", ())]
            meant = [f"{name} {asked}" for name in groups] or get_close_matches(asked, self.commands)
            hint = (
                f"Did you mean {' or '.join(map(repr, meant))}?" if meant else f"There are {', '.join(self.commands)}."
            )
            ctx.fail(f"No such command {asked!r}. {hint}")
        return super().resolve_command(ctx, args)


class Settable(TyperCommand):
    """A command with `--set`: said where a name of the file came as an option or a word of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """See `TyperCommand`."""
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            if hasattr(error, "possibilities"):  # no such option
                error.possibilities = [one for one in error.possibilities or () if one != "--help"]
            elif type(error) is not _UsageError:  # anything but a word too many
                raise
            error.message += "; names are set by --set NAME=VALUE"
            raise
