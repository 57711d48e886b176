"""From an image, as the bytes of a file, an array or a Pillow image, to pixels of the size asked for."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

CELEBA_SIZE = (178, 218)
CELEBA_BOX = (15, 40, 163, 188)
"""The crop published with VAE/GAN (Larsen et al., 2016) for `img_align_celeba`: 148x148, left 15, top 40. It is centred
across, and lies 5 pixels below the centre, so that it holds hair to chin."""
CROPS = ("celeba",)


class OutOfRangeError(ValueError):
    """Numbers that cannot be pixels: the whole source is meant otherwise, so leaving out one image would not help."""


def decode(content: bytes | NDArray, *, size: int, crop: str | None, grey: bool) -> NDArray[np.uint8]:
    """Pixels of an image file's bytes, or of an array (H, W) or (H, W, 1 or 3): uint8 (C, size, size).

    A file is turned upright (EXIF), its transparent pixels are laid on white, more bits a channel are brought to 8
    (`eight_bits`). An array is uint8, or floating-point in [0, 1]. Both then go the same way: see `fitted`.

    Raises:
        ValueError: the reason why it cannot be used, in a few words.
        OutOfRangeError: floating-point numbers outside [0, 1], an array that is neither uint8 nor floating-point, or
            integers of a file beyond 16 bits.
    """
    if isinstance(content, np.ndarray):
        return fitted(from_array(content), size=size, crop=crop, grey=grey)
    try:
        with Image.open(io.BytesIO(content)) as opened:
            if crop is None:
                # A JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the time; twice the size is kept for Lanczos.
                opened.draft(None, (size * 2, size * 2))
            else:
                _check_crop(opened)
            opened.load()
            ImageOps.exif_transpose(opened, in_place=True)
            return fitted(opened, size=size, crop=crop, grey=grey)
    except UnidentifiedImageError:
        if content.startswith(b"\x93NUMPY"):
            raise ValueError("not an image but an array; np.stack all of them into one .npy") from None
        raise ValueError("not an image") from None
    except Image.DecompressionBombError:
        raise ValueError("too large an image") from None
    except (OSError, SyntaxError, EOFError, IndexError, TypeError) as error:
        raise ValueError(f"a broken image ({error})") from None


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
    """A Pillow image of an array (H, W) or (H, W, 1 or 3), uint8 or floating-point in [0, 1].

    Raises:
        ValueError: another shape, or a number that is not finite.
        OutOfRangeError: numbers outside [0, 1], or neither uint8 nor floating-point.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if not pixels.size or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise ValueError(f"an array of shape {pixels.shape}; an image is (H, W) or (H, W, 1 or 3)")
    if pixels.dtype != np.uint8:
        if not np.issubdtype(pixels.dtype, np.floating):
            raise OutOfRangeError(f"pixels are uint8, or floating-point in [0, 1], not {pixels.dtype}")
        low, high = float(pixels.min()), float(pixels.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise ValueError("an array with numbers that are not finite")
        if low < 0.0 or high > 1.0:
            raise OutOfRangeError(
                f"floating-point pixels are in [0, 1], not {low:.4g} to {high:.4g}; bring all images of the source "
                "there in the same way, such as (x + 1) / 2 from [-1, 1]"
            )
        pixels = np.rint(pixels * 255.0).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _check_crop(image: Image.Image) -> None:
    if image.size != CELEBA_SIZE:
        raise ValueError(f"{image.width}x{image.height} pixels; the celeba crop is for 178x218")


def eight_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel, transparent pixels on white.

    Floating-point pixels are held to what those of arrays are (`from_array`). Pixels of 32-bit integers are taken as
    they are where all are within 0 to 255, and as 16 bits where they are within 0 to 65535.

    Raises ValueError for a number that is not finite, OutOfRangeError for numbers that cannot be pixels.
    """
    if image.mode == "F":
        return from_array(np.asarray(image))
    if image.mode.startswith("I"):  # 16 or 32 bits of grey: Pillow's own conversion clips instead of scaling
        pixels = np.asarray(image)
        low, high = int(pixels.min()), int(pixels.max())
        if low < 0 or high > 65535:
            raise OutOfRangeError(
                f"32-bit integer pixels are in 0 to 255 or in 0 to 65535, not {low} to {high}; bring all images of the "
                "source there in the same way"
            )
        if image.mode == "I" and high <= 255:
            return Image.fromarray(pixels.astype(np.uint8))
        return Image.fromarray((pixels / 257.0 + 0.5).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image)
    return image
