"""Made-up image files for the tests of image sets."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Maker = Callable[..., Path]


def encoded(seed: int, *, width: int = 20, height: int = 20, mode: str = "RGB", kind: str = "PNG") -> bytes:
    """A made-up image as the bytes of a file."""
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_zip(path: Path, members: list[tuple[str, bytes]]) -> Path:
    """A zip of these members, names repeated as given."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path
