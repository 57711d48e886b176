"""Made-up image files for the tests of image sets."""

import io
import struct
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


def plain_tiff(pixels: np.ndarray, **tags: int) -> bytes:
    """An uncompressed TIFF of pixels (H, W), or of planes (C, H, W), of any type; `tags` by number: `_262=0`."""
    planes = pixels.reshape(-1, *pixels.shape[-2:])
    (height, width), bits, count = pixels.shape[-2:], pixels.dtype.itemsize * 8, len(planes)
    length, start = planes[0].nbytes, 8
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    values = {256: (width,), 257: (height,), 258: (bits,) * count, 259: (1,), 262: (1 if count == 1 else 2,)}
    values |= {273: tuple(start + length * n for n in range(count)), 277: (count,), 278: (height,)}
    values |= {279: (length,) * count, 284: (1 if count == 1 else 2,), 339: (kind,) * count}
    values |= {int(name[1:]): (value,) for name, value in tags.items()}
    after = b""
    listing = struct.pack("<H", len(values))
    for tag, numbers in sorted(values.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        listing += struct.pack("<HHI", tag, 4, len(numbers))
        listing += packed if len(packed) == 4 else struct.pack("<I", start + planes.nbytes + len(after))
        after += packed if len(packed) > 4 else b""
    end = start + planes.nbytes + len(after)
    little = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    return b"II*\0" + struct.pack("<I", end) + little + after + listing + bytes(4)


def fits(pixels: np.ndarray) -> bytes:
    """A FITS file of int16 pixels (H, W) that stand for 16 bits without a sign, as astropy writes them."""
    height, width = pixels.shape
    cards = {"SIMPLE": "T", "BITPIX": 16, "NAXIS": 2, "NAXIS1": width, "NAXIS2": height, "BZERO": 32768}
    header = "".join(f"{name:8}= {value:>20}".ljust(80) for name, value in cards.items()) + "END"
    return header.ljust(2880).encode() + pixels.astype(">i2").tobytes()
