"""Many images on one picture, and in few numbers."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def contact_sheet(images: NDArray[np.uint8], columns: int, *, zoom: int = 1, gap: int = 2) -> Image.Image:
    """Images side by side, row by row, on white.

    Args:
        images: uint8 (N, C, H, W) with C = 1 or 3.
        columns: images in a row.
        zoom: pixels of the sheet for each pixel of an image, along a side.
        gap: pixels between two images.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not len(images):
        raise ValueError(f"a contact sheet takes at least one image, (N, 1 or 3, H, W), not {images.shape}")
    if columns < 1 or zoom < 1:
        raise ValueError(f"columns and zoom are at least 1, not {columns} and {zoom}")
    count, channels, height, width = images.shape
    columns = min(columns, count)
    high, wide = height * zoom + gap, width * zoom + gap
    sheet = Image.new("RGB", (columns * wide - gap, -(-count // columns) * high - gap), (255, 255, 255))
    for place, image in enumerate(images):
        tile = Image.fromarray(np.ascontiguousarray(image[0] if channels == 1 else image.transpose(1, 2, 0)))
        if zoom > 1:
            tile = tile.resize((width * zoom, height * zoom), Image.Resampling.BICUBIC)
        sheet.paste(tile.convert("RGB"), (place % columns * wide, place // columns * high))
    return sheet


def write_sheet(path: Path, images: NDArray[np.uint8]) -> None:
    """Write the images as one picture, wider than high, in which each is up to 128 pixels across.

    Raises ValueError where that cannot be written.
    """
    sheet = contact_sheet(images, max(1, round(len(images) ** 0.5 * 1.25)), zoom=max(1, 128 // images.shape[-1]))
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        sheet.save(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"the picture cannot be written to {path}: {error}") from None


def spread_over(images: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """`count` images (all, where there are fewer) at even distances: some of each part, where it has parts."""
    places = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int))
    return images[places]


def channel_statistics(images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel's pixels, of 0 to 1, over uint8 (N, C, H, W): two arrays (C,)."""
    bins = np.arange(256) / 255.0
    shares = np.stack([np.bincount(images[:, c].ravel(), minlength=256) for c in range(images.shape[1])])
    shares = shares / shares.sum(axis=1, keepdims=True)
    mean = shares @ bins
    return mean, np.sqrt(np.maximum(shares @ bins**2 - mean**2, 0.0))


def grey_levels(images: NDArray[np.uint8]) -> tuple[int, int]:
    """Between which two of 0 to 255 the pixels of uint8 (N, C, H, W) lie, but for 0.1% at either end."""
    below = np.cumsum(sum(np.bincount(image.ravel(), minlength=256) for image in images))
    low, high = np.searchsorted(below, below[-1] * np.array([0.001, 0.999]))
    return int(low), int(high)
