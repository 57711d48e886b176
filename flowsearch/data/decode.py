"""From an image, as the bytes of a file, an array or a Pillow image, to pixels of the size asked for."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from flowsearch.data.arrays import NPY, image_in, is_pixels, no_pixels, too_large

CELEBA_SIZE = (178, 218)
CELEBA_BOX = (15, 40, 163, 188)
"""The crop published with VAE/GAN (Larsen et al., 2016) for `img_align_celeba`: 148x148, left 15, top 40. It is centred
across, and lies 5 pixels below the centre, so that it holds hair to chin."""
CROPS = ("celeba",)

HEAD = 512
"""Bytes of a file that tell what it is."""
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How a TIFF of either order of bytes begins, and such a BigTIFF."""
_OTHERS = {
    "DICOM": (128, b"DICM"),
    "NIfTI": (344, b"n+1\0"),
    "a MATLAB file": (0, b"MATLAB"),
    "a file compressed by gzip": (0, b"\x1f\x8b"),
}
"""Files that images come in elsewhere: what they have, and where."""
_BITS, _COMPRESSION, _PHOTOMETRIC, _PLANES, _SUBFILE = 258, 259, 262, 284, 254
"""Tags of TIFF 6.0: BitsPerSample, Compression, PhotometricInterpretation, PlanarConfiguration, NewSubfileType."""


class OutOfRangeError(ValueError):
    """Numbers that cannot be pixels: the whole source is meant otherwise, so leaving out one image would not help."""


@contextmanager
def without_warnings() -> Iterator[None]:
    """Keep Pillow's warnings of large images and of odd metadata from the terminal: what cannot be used is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def decode(content: bytes | NDArray, *, size: int, crop: str | None, grey: bool) -> NDArray[np.uint8]:
    """Pixels of an image file's bytes, or of an array (H, W) or (H, W, 1 or 3): uint8 (C, size, size).

    A file is turned upright (EXIF), its transparent pixels are laid on white, more bits a channel are brought to 8
    (`eight_bits`). An array, or a `.npy` file's, is uint8, uint16 or floating-point in [0, 1]. All then go the same
    way: see `fitted`.

    Raises:
        ValueError: the reason why it cannot be used, in a few words.
        OutOfRangeError: floating-point numbers outside [0, 1], an array of another type, or integers of a file that are
            beyond 16 bits or may be of 8 (`wide_pixels`).
    """
    if isinstance(content, bytes) and content.startswith(NPY):
        content = image_in(content)
    if isinstance(content, np.ndarray):
        return fitted(from_array(content), size=size, crop=crop, grey=grey)
    try:
        with Image.open(io.BytesIO(content)) as opened:
            check_file(opened)
            if crop is None:
                # A JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the time; twice the size is kept for Lanczos.
                opened.draft(None, (size * 2, size * 2))
            else:
                _check_crop(opened)
            opened.load()
            ImageOps.exif_transpose(opened, in_place=True)
            return fitted(opened, size=size, crop=crop, grey=grey)
    except UnidentifiedImageError:
        raise ValueError(unread(content[:HEAD])) from None
    except Image.DecompressionBombError:
        raise ValueError(too_large()) from None
    except (OSError, SyntaxError, EOFError, IndexError, TypeError) as error:
        raise ValueError(f"a broken image ({error})") from None


def unread(head: bytes) -> str:
    """What a file is that Pillow does not know, by its first bytes (`HEAD`)."""
    if not head:
        return "an empty file"
    if head.startswith(_TIFF):
        return (
            "a TIFF of a kind that cannot be read, such as floating-point numbers in colour or of 16 or 64 bits; save "
            "it as grey of 16 bits or of float32"
        )
    for kind, (place, mark) in _OTHERS.items():
        if head[place:].startswith(mark):
            return _not_read(kind)
    return "not an image"


def _not_read(kind: str) -> str:
    return f"{kind}, which is not read; save its images as .npy (docs/data.md)"


def fitted(image: Image.Image, *, size: int, crop: str | None, grey: bool) -> NDArray[np.uint8]:
    """Crop to the largest centred square (or by `crop`) and resize by Lanczos with antialiasing.

    Raises ValueError where `crop` is for images of another size.
    """
    mode = "L" if grey else "RGB"
    image = eight_bits(image)
    if image.mode != mode:
        image = image.convert(mode)
    if crop is not None:
        _check_crop(image)
        box = CELEBA_BOX
    else:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
    if box != (0, 0, *image.size):
        # Cropped first: `resize(box=...)` would let the filter see pixels outside the box.
        image = image.crop(box)
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    return np.ascontiguousarray(pixels[None] if grey else pixels.transpose(2, 0, 1))


def from_array(pixels: NDArray) -> Image.Image:
    """A Pillow image of an array (H, W) or (H, W, 1 or 3), uint8, uint16 or floating-point in [0, 1].

    Raises:
        ValueError: another shape, or a number that is not finite.
        OutOfRangeError: floating-point numbers outside [0, 1], or numbers of another type.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if not pixels.size or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(f"an array of shape {pixels.shape}; an image is (H, W) or (H, W, 1 or 3)")
    if pixels.dtype != np.uint8:
        pixels = np.rint(of_numbers(pixels)).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _check_crop(image: Image.Image) -> None:
    if image.size != CELEBA_SIZE:
        raise ValueError(f"{image.width}x{image.height} pixels; the celeba crop is for 178x218")


def check_file(opened: Image.Image) -> None:
    """Refuse what Pillow opens and gives other pixels of than are meant; `opened` is not loaded yet.

    Raises ValueError with the reason: HDF5, FITS, several images of one size in a TIFF, and kinds of 16-bit TIFF.
    """
    if opened.format == "HDF5":  # which Pillow knows and cannot read
        raise ValueError(_not_read("HDF5"))
    if opened.format == "FITS":  # BZERO and BSCALE are passed over: an unsigned 0 becomes 32768
        raise ValueError("FITS, whose scale is not read; save its numbers as .npy (docs/data.md)")
    if opened.format != "TIFF":
        return
    tags = opened.tag_v2  # type: ignore[attr-defined]
    if max(tags.get(_BITS, (1,))) > 8:
        if tags.get(_PHOTOMETRIC) == 0:
            raise ValueError("a TIFF of more than 8 bits with 0 as white; save it with 0 as black")
        if tags.get(_PLANES) == 2 and tags.get(_COMPRESSION, 1) == 1 and len(opened.getbands()) > 1:
            raise ValueError("a TIFF of 16 bits with a plane for each colour; save it with the colours pixel by pixel")
    if _is_stack(opened):
        raise ValueError("a stack of images in one TIFF; save each as a file of its own, or all as one .npy")
    opened.seek(0)


def _is_stack(opened: Image.Image) -> bool:
    """Whether a TIFF has another page of the first one's size that is no smaller copy and no mask."""
    size, page = opened.size, 0
    while True:
        page += 1
        try:
            opened.seek(page)
        except (EOFError, OSError, SyntaxError, TypeError, ValueError, LookupError):  # there is none that can be read
            return False
        if opened.size == size and not opened.tag_v2.get(_SUBFILE, 0) & 0b101:  # type: ignore[attr-defined]
            return True


def wide_pixels(image: Image.Image, *, measured: bool = False) -> NDArray[np.floating] | None:
    """Of a grey image of more than 8 bits its pixels (H, W) from 0 to 255, not rounded; None of any other image.

    Floating-point pixels are held to what those of arrays are (`from_array`), but where they are `measured` to [-1, 2]:
    noise goes beyond [0, 1], and cut off there it would have a mean. Integers of 16 bits are divided by 257. So are
    those of 32 bits, where they are within 0 to 65535 and one of them at least is above 255, or all are 0: dark ones
    could as well be of 8 bits, and would then be of another scale than others beside them.

    Raises ValueError for a number that is not finite, OutOfRangeError for numbers that cannot be pixels.
    """
    if image.mode == "F":
        return of_numbers(np.asarray(image), measured=measured)
    if not image.mode.startswith("I"):
        return None
    pixels = np.asarray(image)
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > 65535:
        raise OutOfRangeError(
            f"integer pixels of more than 8 bits are in 0 to 65535, not {low} to {high}; bring all images of the "
            "source there in the same way"
        )
    if 0 < high <= 255 and _bits(image) > 16:
        raise OutOfRangeError(
            f"integer pixels of 32 bits that are in {low} to {high} may be of 8 bits or of 16; save all images of the "
            "source as the one or the other"
        )
    return pixels / 257.0


def eight_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel, transparent pixels on white; raises what `wide_pixels` does."""
    wide = wide_pixels(image)
    if wide is not None:
        return Image.fromarray(np.rint(wide).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image)
    return image


def _bits(image: Image.Image) -> int:
    """Bits of an integer of more than 8. Pillow's mode I also holds 16 bits, signed in a TIFF or scaled to in a PGM."""
    if image.mode != "I" or image.format == "PPM":
        return 16
    return max(image.tag_v2.get(_BITS, (32,))) if image.format == "TIFF" else 32  # type: ignore[attr-defined]


def of_numbers(pixels: NDArray, *, measured: bool = False) -> NDArray[np.floating]:
    """Pixels of an array from 0 to 255, not rounded: of floating-point ones for 0 to 1 (see `wide_pixels` for those
    that are `measured`), of uint16 for 0 to 65535. Raises what `from_array` does for numbers."""
    if not is_pixels(pixels.dtype):
        raise OutOfRangeError(no_pixels(pixels.dtype))
    if pixels.dtype.kind == "u":
        return pixels / (1.0 if pixels.dtype == np.uint8 else 257.0)
    least, most = (-1.0, 2.0) if measured else (0.0, 1.0)
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError("an array with numbers that are not finite")
    if low < least or high > most:
        noise = "" if least == 0.0 else f" ([{least:g}, {most:g}] with noise)"
        raise OutOfRangeError(
            f"floating-point pixels are in [0, 1]{noise}, not {low:.4g} to {high:.4g}; bring all images of the source "
            "there in the same way, such as (x + 1) / 2 from [-1, 1], or by a window (docs/data.md)"
        )
    return pixels * 255.0
