"""The same grids of pictures as `grid` makes, as one PNG: for documents that hold no HTML."""

import io
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from flowsearch.analysis.figures.grid import Head, Picture

_SIDE: Final = 112
"""Pixels across, about, that a picture is enlarged to: each of its pixels by the same whole number."""
_GAP: Final = 6
_FONT: Final = 14
_LINE: Final = 20
_INK: Final = "#1a1a1a"


def sheet(heads: list[Head], rows: list[list[Picture | None]], sides: list[str]) -> bytes:
    """Rows of pictures under `heads`, each with its text below, and `sides` at the left, as PNG bytes.

    What is no picture leaves its cell empty.
    """
    opened = [[_opened(picture) for picture in row] for row in rows]
    sizes = [image.size for row in opened for image in row if image is not None]
    wide, high = (max(of, default=_SIDE) for of in ([width for width, _ in sizes], [height for _, height in sizes]))
    zoom = max(1, round(_SIDE / wide))
    font = ImageFont.load_default(_FONT)
    across, down = wide * zoom + _GAP, high * zoom + _GAP + _LINE * any(p.under for row in rows for p in row if p)
    left = round(max((font.getlength(side) for side in sides), default=0)) + 2 * _GAP
    page = Image.new("RGB", (left + across * max(map(len, rows)), _LINE + down * len(rows)), "white")
    draw = ImageDraw.Draw(page)
    for column, head in enumerate(heads):
        draw.text((left + column * across, 2), head.title, _INK, font)
    for place, (row, images) in enumerate(zip(rows, opened, strict=True)):
        top = _LINE + place * down
        draw.text((_GAP, top), sides[place], _INK, font)
        for column, (picture, image) in enumerate(zip(row, images, strict=True)):
            at = left + column * across, top
            if image is not None:
                page.paste(image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST), at)
            if picture is not None:
                draw.text((at[0], top + high * zoom + 1), picture.under, _INK, font)
    written = io.BytesIO()
    page.save(written, "PNG", optimize=True)
    return written.getvalue()


def _opened(picture: Picture | None) -> Image.Image | None:
    try:
        return None if picture is None else Image.open(io.BytesIO(picture.png), formats=["PNG"]).convert("RGB")
    except (OSError, SyntaxError, TypeError):
        return None
