"""`flowsearch reconstruct`: photographs through a trained network."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowsearch.cli.errors import told_warnings, user_errors
from flowsearch.cli.options import Device, local

if TYPE_CHECKING:
    from flowsearch.training.reconstruct import Progress

_NAMED = 5
"""Files that are named where a folder holds others than images."""


def reconstruct(
    model: Annotated[
        str,
        typer.Argument(
            help="A trial's checkpoints, a best.safetensors, or a study's results: its best trial.", show_default=False
        ),
    ],
    images: Annotated[list[Path], typer.Argument(help="Pictures of any size, or folders of them.", show_default=False)],
    out: Annotated[Path, typer.Option(parser=local, metavar="FOLDER", help="Folder for the PNG files.")] = Path(
        "reconstructions"
    ),
    task: Annotated[
        str | None, typer.Option(help="Another task, e.g. denoise-0.2. Default: the trial's own.", show_default=False)
    ] = None,
    measured: Annotated[
        bool, typer.Option("--measured", help="The pictures are measurements already; nothing is simulated.")
    ] = False,
    convert: Annotated[
        bool, typer.Option("--convert", help="Make pictures grey, or colour, as the network needs them.")
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Seed of the simulated noise, and of what a map of one's own draws.", min=0)
    ] = 0,
    device: Device = "auto",
) -> None:
    """Measure pictures as the trial's task does, reconstruct them, and write both as PNG, alone and side by side."""
    with user_errors():
        from flowsearch.cli.model import find_model, parts_folder, say_code
        from flowsearch.cli.terminal import say, visible
        from flowsearch.data.picture import find_pictures, read_picture
        from flowsearch.parts import beside

        with told_warnings():
            file = find_model(model)
        paths = find_pictures(images, out)
        _check_can_hold(out)  # before what may take minutes
        with beside(parts_folder(file)):
            say_code(file, images=False)
            from flowsearch.training.gallery import picture_row
            from flowsearch.training.saved import load_saved

            saved = load_saved(file, device)
            saved = saved if task is None else saved.with_task(task)
            names: set[str] = set()
            left_out = []
            for number, path in enumerate(paths, 1):
                try:
                    pixels = read_picture(path, saved.channels, convert=convert, measured=measured)
                except (ValueError, OSError) as error:
                    if len(paths) == 1:
                        raise
                    left_out.append(str(error))
                    continue
                with _bar(visible(path.name) + (f", {number} of {len(paths)}" if len(paths) > 1 else "")) as progress:
                    row = picture_row(saved, pixels, seed, measured=measured, progress=progress)
                name = _unused(path.stem, names)
                say(f"{path}: {_line(row)}{'' if name == path.stem else f', as {name}'}")
                _write(out, name, row)
        for why in left_out:
            say(f"left out: {why}", err=True)
        for folder in images:
            _say_passed_over(folder, set(paths), out)
        if names:
            typer.echo(f"pictures: {out}")
        if left_out:
            raise typer.Exit(1)


@contextmanager
def _bar(title: str) -> "Iterator[Progress | None]":
    """While a picture is reconstructed, a bar of its windows with their pace and the time left; none where errors do
    not go to a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    title_column = TextColumn("{task.description}", markup=False)
    columns = (title_column, BarColumn(), MofNCompleteColumn(), TextColumn("windows,"), TimeRemainingColumn())
    with Progress(*columns, TextColumn("left"), console=console, transient=True) as shown:
        task = shown.add_task(title, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def _say_passed_over(folder: Path, taken: set[Path], out: Path) -> None:
    """Name the files of a folder that are not `taken` for images, but hidden ones."""
    from flowsearch.cli.terminal import say
    from flowsearch.data.picture import files_in

    files = [path for path in files_in(folder, out) if not path.name.startswith(".")]
    names = [str(path.relative_to(folder)) for path in files if path not in taken]
    if names:
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        say(f"passed over in {folder}, by their suffix no images: {', '.join(names[:_NAMED])}{more}", err=True)


def _check_can_hold(out: Path) -> None:
    """Refuse a folder that cannot be there, and make none."""
    place = next(one for one in (out, *out.absolute().parents) if one.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        why = "may not be written to" if place.is_dir() else "is no folder"
        raise ValueError(f"the pictures cannot be written to {out}: {place} {why}; name another folder by --out")


def _write(out: Path, name: str, row: Any) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for kind, picture in row.pictures.items():
            if kind != "truth":
                picture.save(out / f"{name}-{kind}.png")
        row.side_by_side().save(out / f"{name}-side-by-side.png")
    except OSError as error:
        raise ValueError(f"the pictures cannot be written to {out}: {error}") from None


def _unused(stem: str, names: set[str]) -> str:
    """A name for a picture's files that no earlier picture has."""
    name, number = stem, 1
    while name in names:
        number += 1
        name = f"{stem}-{number}"
    names.add(name)
    return name


def _line(row: Any) -> str:
    from flowsearch.results.forms import decibels, similarity

    size = f"{row.width}x{row.height}"
    if row.psnr is None:
        return f"{size}, reconstructed"
    ssim = "unknown" if row.ssim is None else similarity(row.ssim)
    return f"{size}, PSNR {decibels(row.psnr)} dB (measurement {decibels(row.measurement_psnr)} dB), SSIM {ssim}"
