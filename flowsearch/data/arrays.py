"""Sources of pixels: a `.npy` or `.npz` file of all images, and the `.npy` of one. Nothing is unpickled, and no more
than a few images are in memory.

Legend of the shapes: N images, C channels (1 or 3), H rows, W columns.
"""

import io
import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flowsearch.checks import check_choice
from flowsearch.data.source import Member, Read, Source, mark_of

SMALLEST = 8
"""Rows and columns that an image has at least: tells (N, H, W) from one image of three channels alone."""


NPY = b"\x93NUMPY"
"""How a .npy begins."""
PIXELS = "uint8, uint16, or floating-point in [0, 1]"


_DAMAGED = (ValueError, TypeError, EOFError, OverflowError, SyntaxError, TokenError, RecursionError, MemoryError)
"""What a damaged header can lead to: it is evaluated, if only as a literal."""


def in_words(channels: int) -> str:
    """What images of 1 or 3 channels are: grey or in colour."""
    return "grey" if channels == 1 else "in colour"


def channels_last(pixels: NDArray) -> NDArray:
    """An image (H, W), (H, W, C) or (C, H, W) as (H, W) or (H, W, C); ValueError where it is neither or may be both."""
    layout = _layout((1, *pixels.shape))
    if layout is None:
        raise ValueError(f"an array of shape {pixels.shape}; an image is (H, W), (H, W, 1 or 3) or (1 or 3, H, W)")
    return pixels.transpose(1, 2, 0) if layout == "NCHW" else pixels


def is_pixels(dtype: np.dtype) -> bool:
    """Whether numbers of this type can be pixels: uint8, uint16 of either order of bytes, floating-point."""
    return (dtype.kind == "u" and dtype.itemsize <= 2) or np.issubdtype(dtype, np.floating)


def no_pixels(dtype: np.dtype) -> str:
    """What is wrong with numbers of another type, and what to do."""
    return (
        f"pixels are {PIXELS}, not {dtype}; bring all images of the source there in the same way: "
        "images.astype(np.uint8) where they are 0 to 255, else by a window (docs/data.md)"
    )


def image_in(content: bytes) -> NDArray:
    """The image of a `.npy` file's bytes, (H, W) or (H, W, C); ValueError where it is none, broken or too large."""
    file = io.BytesIO(content)
    try:
        shape, dtype, fortran = _read_header(file)
        # Not np.load: that first makes room for as many numbers as a damaged header may say.
        numbers = np.frombuffer(content, dtype, math.prod(shape), file.tell()).reshape(
            shape, order="F" if fortran else "C"
        )
        if numbers.shape != shape:
            raise ValueError(f"its shape is {shape}")
    except _DAMAGED as error:
        raise ValueError(f"a broken array ({error})") from None
    image = channels_last(numbers)
    if image.shape[0] * image.shape[1] > _most_pixels():
        raise ValueError(too_large())
    return image


def too_large() -> str:
    """Why an image is refused that would take more memory than any: Pillow's bound."""
    return f"too large an image: it has more than {_most_pixels() // 10**6} million pixels"


def _most_pixels() -> int:
    return 2 * (Image.MAX_IMAGE_PIXELS or 0)


class NpySource(Source):
    """The images of a `.npy` file, memory-mapped; they are named by their place: 0, 1, 2, ..."""

    def __init__(self, path: Path) -> None:
        try:
            self._images = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, OverflowError) as error:
            raise ValueError(f"{path} is no readable .npy file of numbers ({error})") from None
        _check_images(self._images.shape, self._images.dtype, str(path))
        self.skipped = []
        self.members = [Member(str(place), "") for place in range(len(self._images))]
        self._mark = mark_of(path)

    def digest(self, *settings: str | None) -> str:
        """The file's own mark stands for all of its images."""
        return super().digest(self._mark, *settings)

    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, Read]]:
        """An image is taken from the map by the thread that decodes it."""
        for place in wanted:
            yield place, partial(self._image, place)

    def _image(self, place: int) -> NDArray:
        return channels_last(np.array(self._images[place]))


class NpzSource(Source):
    """The images of one array of a `.npz` file, inflated as they are read."""

    def __init__(self, path: Path, key: str | None) -> None:
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, zipfile.LargeZipFile) as error:
            raise ValueError(f"{path} is no readable .npz file ({error})") from None
        try:
            self._choose(key)
        except BaseException:
            self._archive.close()
            raise

    def _choose(self, key: str | None) -> None:
        stored = {name.removesuffix(".npy"): name for name in self._archive.namelist() if name.endswith(".npy")}
        headers = {name: self._header(member) for name, member in stored.items()}
        if key is None:
            fitting = [name for name, (shape, dtype, _) in headers.items() if _is_images(shape, dtype)]
            if len(fitting) != 1:
                shapes = ", ".join(f"{name} {dtype}{list(shape)}" for name, (shape, dtype, _) in headers.items())
                rule = "which of them are the images? give --column" if fitting else f"none holds images, as {PIXELS}"
                raise ValueError(f"{self._path} holds {shapes or 'no array'}: {rule}")
            key = fitting[0]
        check_choice("column", key, list(stored))
        shape, self._dtype, fortran = headers[key]
        _check_images(shape, self._dtype, f"{key} of {self._path}")
        if fortran:
            raise ValueError(f"{key} of {self._path} lies in Fortran order; save np.ascontiguousarray of it")
        self._member, self._shape = stored[key], shape[1:]
        info = self._archive.getinfo(self._member)
        if math.prod(shape) * self._dtype.itemsize > info.file_size:  # before there is a name for each of them
            raise ValueError(f"{key} of {self._path} is damaged: it holds fewer numbers than its shape {shape} says")
        self._mark = f"{info.file_size}:{info.CRC}"
        self.skipped = []
        self.members = [Member(str(place), "") for place in range(shape[0])]

    def digest(self, *settings: str | None) -> str:
        """The checksum of the array stands for all of its images."""
        return super().digest(self._mark, *settings)

    def read(self, wanted: Sequence[int]) -> Iterator[tuple[int, Read]]:
        """Images are inflated here, one after another; those between are passed over."""
        length = int(np.prod(self._shape)) * self._dtype.itemsize
        at = 0
        try:
            with self._archive.open(self._member) as file:
                _read_header(file)
                for place in wanted:
                    while at < place:
                        file.read(length)
                        at += 1
                    content = file.read(length)
                    at += 1
                    if len(content) < length:
                        raise EOFError("it ends too early")
                    image = np.frombuffer(content, self._dtype).reshape(self._shape)
                    yield place, partial(channels_last, image)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise ValueError(f"{self._path} is damaged ({error}); fetch or make it again") from None

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def _header(self, member: str) -> tuple[tuple[int, ...], np.dtype, bool]:
        try:
            with self._archive.open(member) as file:
                return _read_header(file)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
            raise ValueError(f"{member} in {self._path} cannot be read ({error})") from None


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Shape, type and whether in Fortran order, of the `.npy` that begins here."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return shape, dtype, fortran


def _layout(shape: tuple[int, ...]) -> str | None:
    """NHW, NHWC or NCHW, or None where the shape is none of them or may be two of them."""
    if len(shape) == 3:
        return "NHW" if min(shape[1:]) >= SMALLEST else None
    if len(shape) != 4:
        return None
    last = shape[3] in (1, 3) and min(shape[1:3]) >= SMALLEST
    first = shape[1] in (1, 3) and min(shape[2:]) >= SMALLEST
    return "NHWC" if last else "NCHW" if first else None


def _is_images(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    return _layout(shape) is not None and is_pixels(dtype)


def _check_images(shape: tuple[int, ...], dtype: np.dtype, what: str) -> None:
    if _layout(shape) is None:
        raise ValueError(
            f"{what} is {dtype} {shape}; images are (N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1 or 3, "
            f"at least {SMALLEST} pixels high and wide, as {PIXELS}"
        )
    if not is_pixels(dtype):
        raise ValueError(f"{what}: {no_pixels(dtype)}")
