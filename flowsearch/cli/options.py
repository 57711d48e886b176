"""Options of several commands: those that choose a study, the device, and what a path to be written may be."""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from flowsearch.study.sections import Study

File = Annotated[Path, typer.Argument(help="Study file, e.g. studies/quickstart.yaml.", show_default=False)]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Override a name of the file, e.g. data.source=celeba."),
]
Profile = Annotated[
    str | None, typer.Option(help="One of the file's profiles, e.g. small.", metavar="NAME", show_default=False)
]
Name = Annotated[str | None, typer.Option(help="Name of the study and its results' folder.", show_default=False)]

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


def local(text: str) -> Path:
    """The parser of a path to be written, on this machine; a URI would become a folder of a strange name."""
    from flowsearch.storage import on_disk

    try:
        return on_disk(text, "write it here, and bring it there afterwards")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def overrides(sets: list[str] | None, name: str | None) -> list[str]:
    """What the options change in the file. A name is text, also where YAML reads another thing, as in 42 or true."""
    return [*(sets or []), *([f"name={json.dumps(name, ensure_ascii=False)}"] if name is not None else [])]


def chosen(file: Path, sets: list[str] | None, profile: str | None, name: str | None) -> "Study":
    """The study that the options choose."""
    from flowsearch.study import load

    return load(file, overrides(sets, name), profile)


def trial_text(file: Path | None) -> str:
    """The text of a file of a trial's names, or of an empty one. ValueError for a NAME=VALUE in its place."""
    if file is None:
        return "{}"
    if "=" in str(file) and not file.exists():
        raise ValueError(f"{file} does not exist; a name is set by --set:  --set {shlex.quote(str(file))}")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{file} is not text in UTF-8, so it holds no names") from None
