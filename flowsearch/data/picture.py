"""Photographs at their own size, and pictures side by side."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from flowsearch.data.arrays import NPY, image_in, too_large
from flowsearch.data.decode import (
    HEAD,
    check_file,
    eight_bits,
    from_array,
    of_numbers,
    unread,
    wide_pixels,
    without_warnings,
)

_GREY = ("1", "L", "LA", "La", "F")
_LUMA = np.array((0.299, 0.587, 0.114))
"""Shares of red, green and blue in grey, by which Pillow makes files of 8 bits grey."""
_CAPTION = 24
_WIDE = 240
"""Pixels of a picture that has room for its caption."""


def files_in(folder: Path, out: Path | None = None) -> list[Path]:
    """The files in a folder and in its subfolders, in order, but for those in `out` where that is such a subfolder:
    what an earlier call wrote there is not given."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    if out is None or folder.resolve() not in out.resolve().parents:
        return list(files)
    return [path for path in files if out.resolve() not in path.resolve().parents]


def find_pictures(paths: Iterable[Path], out: Path | None = None) -> list[Path]:
    """The files among `paths`, and the image files in the folders among them (`files_in`), in order.

    Raises ValueError for a folder without any, or that is `out` itself, where what an earlier call wrote cannot be told
    from what is given, FileNotFoundError for a path that is not there.
    """
    known = {*Image.registered_extensions(), ".npy"}
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        if path.is_dir() and out is not None and path.resolve() == out.resolve():
            raise ValueError(
                f"{path} holds the pictures, so what is made of them cannot go there: the next call would take it for "
                f"pictures, too; name another folder by --out, such as {path / 'reconstructions'}"
            )
        inside = [one for one in files_in(path, out) if one.suffix.lower() in known] if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"the folder {path} holds no image files")
        found += inside
    return found


def read_picture(
    path: Path, channels: int, *, convert: bool = False, measured: bool = False
) -> NDArray[np.uint8] | NDArray[np.float32]:
    """A picture's pixels (C, H, W), 0 to 255, upright; transparent ones on white, as in `decode`.

    They are uint8, or of an array or a grey picture of more than 8 bits float32, not rounded: what is measured may
    differ by less than a step of 8 bits, and by noise go beyond 0 to 255 where they are `measured` (`wide_pixels`).
    `convert` allows colour to become grey and grey three equal channels. Raises ValueError for a file that is no image,
    has another number of channels and may not be converted, or has numbers that cannot be pixels.
    """
    with without_warnings():
        return _read(path, channels, convert, measured)


def _read(path: Path, channels: int, convert: bool, measured: bool) -> NDArray[np.uint8] | NDArray[np.float32]:
    try:
        # By its name Pillow 13 maps an uncompressed TIFF into memory, and a sideways one with its lines torn.
        with path.open("rb") as file:
            head = file.read(HEAD)
            file.seek(0)
            if head.startswith(NPY):
                with _named(path):
                    pixels = image_in(file.read())
                _check_channels(pixels.ndim == 2 or pixels.shape[2] == 1, path, channels, convert)
                with _named(path):
                    return _of_array(pixels, channels, measured)
            with Image.open(file) as opened:
                with _named(path):
                    check_file(opened)
                grey = opened.mode in _GREY or opened.mode.startswith("I")
                _check_channels(grey, path, channels, convert)
                with _named(path):
                    return _pixels(opened, channels, measured)
    except UnidentifiedImageError:
        raise ValueError(f"{path} is {unread(head)}") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{path} is {too_large()}") from None
    except (OSError, SyntaxError, EOFError, IndexError, TypeError) as error:
        raise ValueError(f"{path} is a broken image ({error})") from None


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from None


def _pixels(opened: Image.Image, channels: int, measured: bool) -> NDArray[np.uint8] | NDArray[np.float32]:
    opened.load()
    ImageOps.exif_transpose(opened, in_place=True)
    wide = wide_pixels(opened, measured=measured)
    return _of_eight_bits(opened, channels) if wide is None else _planes(wide, channels)


def _of_array(pixels: NDArray, channels: int, measured: bool) -> NDArray[np.uint8] | NDArray[np.float32]:
    if pixels.dtype == np.uint8:
        return _of_eight_bits(from_array(pixels), channels)
    numbers = of_numbers(pixels, measured=measured)
    if numbers.ndim == 3 and channels == 1:
        numbers = numbers @ _LUMA if numbers.shape[2] == 3 else numbers[:, :, 0]
    return _planes(numbers, channels)


def _planes(numbers: NDArray[np.floating], channels: int) -> NDArray[np.float32]:
    """Numbers (H, W) or (H, W, 1 or 3) as float32 (C, H, W)."""
    planes = numbers[None] if numbers.ndim == 2 else numbers.transpose(2, 0, 1)
    return np.array(np.broadcast_to(planes, (channels, *planes.shape[1:])), dtype=np.float32)


def _of_eight_bits(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    pixels = np.asarray(eight_bits(image).convert("L" if channels == 1 else "RGB"))
    return np.ascontiguousarray(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1))


def _check_channels(grey: bool, path: Path, channels: int, convert: bool) -> None:
    if grey != (channels == 1) and not convert:
        is_, wants = ("grey", "colour") if grey else ("in colour", "grey")
        raise ValueError(f"{path} is {is_}, and the network is for {wants} images; --convert converts it")


def side_by_side(pictures: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures of one size in a row, each over its caption; small ones with each pixel enlarged."""
    width, height = pictures[0][1].size
    zoom = max(1, -(-_WIDE // width))
    wide, high = width * zoom, height * zoom
    row = Image.new("RGB", (len(pictures) * (wide + 8) - 8, high + _CAPTION), "white")
    draw = ImageDraw.Draw(row)
    font = ImageFont.load_default(14)
    for place, (caption, picture) in enumerate(pictures):
        left = place * (wide + 8)
        row.paste(eight_bits(picture).convert("RGB").resize((wide, high), Image.Resampling.NEAREST), (left, 0))
        draw.text((left + 2, high + 3), caption, fill="black", font=font)
    return row
