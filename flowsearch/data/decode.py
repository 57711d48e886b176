"""From the bytes of an image file to pixels of the size asked for."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

CELEBA_SIZE = (178, 218)
CELEBA_BOX = (15, 40, 163, 188)
"""The crop published with VAE/GAN (Larsen et al., 2016) for `img_align_celeba`: 148x148, left 15, top 40. It is centred
across, and lies 5 pixels below the centre, so that it holds hair to chin."""
CROPS = ("celeba",)


def decode(content: bytes, *, size: int, crop: str | None, grey: bool) -> NDArray[np.uint8]:
    """An image file's pixels, uint8 (C, size, size).

    Turned upright (EXIF), cropped to the largest centred square (or by `crop`), resized by Lanczos with antialiasing.
    Transparent pixels are laid on white, 16 bits a channel are brought to 8.

    Raises:
        ValueError: the reason why the bytes cannot be used, in a few words.
    """
    try:
        with Image.open(io.BytesIO(content)) as opened:
            if crop == "celeba" and opened.size != CELEBA_SIZE:
                width, height = opened.size
                raise ValueError(f"{width}x{height} pixels; the celeba crop is for 178x218")
            if crop is None:
                # A JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the time; twice the size is kept for Lanczos.
                opened.draft(None, (size * 2, size * 2))
            image = _eight_bits(ImageOps.exif_transpose(opened)).convert("L" if grey else "RGB")
    except UnidentifiedImageError:
        raise ValueError("not an image") from None
    except Image.DecompressionBombError:
        raise ValueError("too large an image") from None
    except (OSError, SyntaxError, EOFError, IndexError, TypeError) as error:
        raise ValueError(f"a broken image ({error})") from None
    if crop == "celeba":
        box = CELEBA_BOX
    else:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
    # Cropped first: `resize(box=...)` would let the filter see pixels outside the box.
    pixels = np.asarray(image.crop(box).resize((size, size), Image.Resampling.LANCZOS))
    return np.ascontiguousarray(pixels[None] if grey else pixels.transpose(2, 0, 1))


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit greyscale: Pillow's own conversion clips instead of scaling
        return Image.fromarray((np.clip(np.asarray(image), 0, 65535) / 257.0 + 0.5).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image)
    return image
