"""`flowsearch data`: prepare image sets, list them and look at them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flowsearch.cli.errors import user_errors
from flowsearch.cli.options import local

app = typer.Typer(help="Prepare image sets, list them and look at them.", no_args_is_help=True)

_SHOWN = 10
_SAMPLE = 4096
_FEW = 64
"""Steps of 255 from the darkest to the brightest: of 14 bits stored as 16, or fewer, there are no more."""
_CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="What a study file will call the data set.")],
    source: Annotated[
        Path,
        typer.Argument(
            help="A folder (searched recursively), a zip or tar, Parquet (a file or a folder), .npy or .npz."
        ),
    ],
    size: Annotated[int, typer.Option(help="Height and width in pixels.")] = 64,
    crop: Annotated[
        str | None,
        typer.Option(help="celeba: 148x148 at (15, 40) of img_align_celeba's images. Default: the centred square."),
    ] = None,
    grey: Annotated[bool, typer.Option("--grey", help="One channel instead of three.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the stored order; studies with this data seed need no copy.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Stop after this many usable images.")] = None,
    column: Annotated[
        str | None, typer.Option(help="Of Parquet or .npz, where several columns may be the images: which.")
    ] = None,
    partition: Annotated[
        Path | None,
        typer.Option(
            help="Which image is for train (0), val (1) and test (2), such as CelebA's list_eval_partition.txt."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another set of this name and size.")] = False,
) -> None:
    """Turn images into one memory-mapped file with a fingerprint.

    How many of them go to train, val and test is for the study file to say (data.train, data.val, data.test); the last
    line printed is one that fits.
    """
    from flowsearch import data

    with user_errors(), _progress(f"preparing {name}") as progress:
        manifest = data.prepare(
            name,
            source,
            size=size,
            crop=crop,
            grey=grey,
            seed=seed,
            limit=limit,
            column=column,
            partition=partition,
            overwrite=overwrite,
            progress=progress,
        )
    done = "prepared" if progress.called else "kept, as the same source is already prepared"
    typer.echo(f"{name}: {_describe(manifest)}, {done}")
    _print_skipped(manifest)
    _print_doubts(data.spread_over(data.open_images(data.folder_of(name, size), manifest), _SAMPLE))
    typer.echo(f"fingerprint {manifest.fingerprint}")
    typer.echo(f"in {data.folder_of(name, size)}")
    typer.echo(f"in a study file: {_in_a_study(manifest)}")


@app.command(name="list")
def list_() -> None:
    """The built-in sources and the prepared sets."""
    from rich.table import Table

    from flowsearch import data
    from flowsearch.cli.terminal import terminal

    with user_errors():
        manifests = [*data.list_datasets(), *data.list_own()]
    table = Table("name", "size", "channels", "images", "skipped", "source", "fingerprint")
    for name in data.BUILT_IN:
        table.add_row(name, "any", "3", "any", "", "built in, drawn when needed", "")
    for manifest in manifests:
        table.add_row(
            manifest.name,
            str(manifest.size),
            str(manifest.channels),
            str(manifest.count),
            str(len(manifest.skipped)),
            manifest.source,
            manifest.fingerprint[:12],
        )
    console = terminal()
    console.print(table if console.is_terminal else _plain(table, console), soft_wrap=not console.is_terminal)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A prepared set, faces or anime, or module:name.")],
    size: Annotated[
        int | None,
        typer.Option(
            help="Height and width in pixels. Default: the one that it is prepared at, else 64.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=local, metavar="PATH", help="Where the contact sheet goes. Default: NAME-SIZE.png."),
    ] = None,
    count: Annotated[int, typer.Option(help="How many images the sheet shows.", min=1)] = 64,
    seed: Annotated[int, typer.Option(help="Seed of a built-in source, or of module:name.")] = 0,
) -> None:
    """Write a contact sheet and print counts, fingerprint, mean and spread."""
    from flowsearch import data
    from flowsearch.parts import beside

    with user_errors(), beside(Path.cwd()):
        size = _only_size(name) if size is None else size
        images, manifest = _images(name, size, seed, count)
        if data.fingerprint_images(images) != manifest.fingerprint:
            raise ValueError(f"the pixels of {name} at size {size} are not those of its manifest; prepare it again")
        path = out or Path(f"{name.replace(':', '-')}-{size}.png")
        shown = data.spread_over(images, count)
        data.write_sheet(path, shown)
    sample = data.spread_over(images, _SAMPLE)
    typer.echo(f"{name}: {_describe(manifest)}")
    _print_skipped(manifest)
    _print_doubts(sample)
    typer.echo(f"fingerprint {manifest.fingerprint}")
    of = "" if len(sample) == len(images) else f", of {len(sample)} images at even distances"
    typer.echo(f"mean and standard deviation of pixels of 0 to 1{of}:")
    for channel, mean, spread in zip(_CHANNELS[len(sample[0])], *data.channel_statistics(sample), strict=True):
        typer.echo(f"  {channel:5s} mean {mean:.3f}, standard deviation {spread:.3f}")
    typer.echo(f"sheet of {len(shown)}: {path}")


def _only_size(name: str) -> int:
    """The size at which a set is prepared, if that is one; 64 for what is made at any size, or not there."""
    from flowsearch import data

    sizes = [manifest.size for manifest in data.list_datasets() if manifest.name == name]
    if len(sizes) > 1:
        raise ValueError(f"{name} is prepared at sizes {', '.join(map(str, sizes))}; choose one by --size")
    return sizes[0] if sizes else 64


def _images(name: str, size: int, seed: int, count: int) -> Any:
    """Images and manifest of a source by its name."""
    from flowsearch import data

    if name in data.BUILT_IN or data.is_own(name):
        data.DataConfig(source=name, size=size, seed=seed)
    if name in data.BUILT_IN:
        return data.drawn(name, size, seed, count)
    if data.is_own(name):
        from flowsearch.data.own import own

        manifest, folder = own(name, size, seed, count)
    else:
        manifest, folder = data.find_dataset(name, size)
    return data.open_images(folder, manifest), manifest


def _describe(manifest: Any) -> str:
    text = f"{manifest.count} images of {manifest.channels}x{manifest.size}x{manifest.size} from {manifest.source}"
    if manifest.parts is None:
        return text
    train, val, test = manifest.parts
    return f"{text}; by {manifest.partition} {train} train, {val} val, {test} test"


def _in_a_study(manifest: Any) -> str:
    """A split of all the images in the proportions of the default one, or in thirds where there are very few; fewer
    than three can only stand beside another set."""
    if manifest.parts is not None:
        from flowsearch.data.partition import PARTS

        train, val, test = manifest.parts
        empty = [part for part, count in zip(PARTS, manifest.parts, strict=True) if not count]
        if empty:
            return f"not as data.source, as {manifest.partition} gives no image to {' and '.join(empty)}"
    elif manifest.count < 3:
        return f"data.ood: {manifest.name}; train, val and test take three images at least"
    else:
        part = max(1, round(manifest.count * 200 / 1392)) if manifest.count < 1392 else 200
        train, val, test = manifest.count - 2 * part, part, part
    counts = f"train: {train}, val: {val}, test: {test}"
    return f"data: {{source: {manifest.name}, size: {manifest.size}, {counts}}}"


def _print_skipped(manifest: Any) -> None:
    from flowsearch.cli.terminal import say

    if manifest.skipped:
        typer.echo(f"skipped {len(manifest.skipped)}:")
    for member, reason in manifest.skipped[:_SHOWN]:
        say(f"  {member}: {reason}")
    if len(manifest.skipped) > _SHOWN:
        typer.echo(f"  ... and {len(manifest.skipped) - _SHOWN} more (all in its manifest.json)")


def _print_doubts(sample: Any) -> None:
    """A warning where images (N, C, H, W) of three channels are all grey, and where they have few grey levels."""
    from flowsearch import data

    if sample.shape[1] == 3 and all((image_CHW == image_CHW[:1]).all() for image_CHW in sample):
        typer.echo(
            "warning: all images are grey, in three equal channels: a task measures each with noise of its own, which "
            "their mean takes away; prepare them with --grey"
        )
    low, high = data.grey_levels(sample)
    if high - low <= _FEW:
        typer.echo(
            f"warning: but for a few pixels the images lie within {low} to {high} of 255; where they have more than 8 "
            "bits, as 12 stored as 16, finer differences are lost: window all of them first (docs/data.md)"
        )


def _plain(table: Any, console: Any) -> str:
    """The table as tab-separated lines, for pipes and logs."""
    cells = [[str(column.header), *map(str, column.cells)] for column in table.columns]
    return "\n".join("\t".join(row) for row in zip(*cells, strict=True))


class _progress:
    """A bar on a terminal, a line every tenth otherwise; `called` tells whether there was anything to do."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self.called = False
        self.title = title
        console = Console(stderr=True)
        self.bar = Progress(console=console, transient=True) if console.is_terminal else None
        self.task: Any = None

    def __enter__(self) -> "_progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, done: int, total: int) -> None:
        if self.bar is None:
            if done == total or done * 10 // total > (done - 1) * 10 // total:
                typer.echo(f"{self.title}: {done} of {total} images", err=True)
        elif not self.called:
            self.bar.start()
            self.task = self.bar.add_task(self.title, total=total, completed=done)
        else:
            self.bar.update(self.task, completed=done, total=total)
        self.called = True
