"""What the drawn sources paint with: an anti-aliased canvas, signed distances and noise.

Coordinates are (x, y) in [-1, 1], x to the right and y down. A distance is negative inside its shape; `Canvas.cover`
turns it into the share of each sample that the shape covers. Small pictures are painted at twice their size and
averaged, so that an image of any size shows the same picture. All planes are float32.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.floating[Any]]
Colour = tuple[float, float, float]
Window = tuple[slice, slice]

_TILE = 512


@cache
def noise_tile(kind: str) -> Plane:
    """A periodic 512x512 noise texture, mean 0 and standard deviation 1: `cloud` (1/f^1.6), `grain` (short range)."""
    rng = np.random.default_rng([8191, len(kind)])
    spectrum = np.fft.rfft2(rng.standard_normal((_TILE, _TILE)))
    frequency = np.hypot(np.fft.fftfreq(_TILE)[:, None], np.fft.rfftfreq(_TILE)[None, :]) * _TILE
    weight = np.maximum(frequency, 1.0) ** -1.6 if kind == "cloud" else np.exp(-((frequency / 110.0) ** 2))
    weight[0, 0] = 0.0
    tile = np.fft.irfft2(spectrum * weight, s=(_TILE, _TILE))
    return np.ascontiguousarray((tile / tile.std()).astype(np.float32))


def noise(kind: str, a: Plane, b: Plane, offset: tuple[float, float]) -> Plane:
    """The noise texture at (a, b), in units of its tile, moved by `offset`."""
    tile = noise_tile(kind)
    row = ((b + (offset[1])) * _TILE).astype(np.int32)
    column = ((a + (offset[0])) * _TILE).astype(np.int32)
    row &= _TILE - 1
    column &= _TILE - 1
    row *= _TILE
    row += column
    return tile.ravel().take(row)


def clamp(x: Plane, low: float, high: float) -> Plane:
    """`x` held between `low` and `high`, without the overhead of `numpy.clip` on small arrays."""
    return np.minimum(np.maximum(x, low), high)


def length(x: Plane, y: Plane) -> Plane:
    """`sqrt(x^2 + y^2)`, several times faster than `numpy.hypot`."""
    return np.sqrt(x * x + y * y)


def smoothstep(low: float, high: float, x: Plane) -> Plane:
    """0 below `low`, 1 above `high`, a cubic between; `high < low` turns it round."""
    t = clamp((x - low) * (1.0 / (high - low)), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def bump(x: Plane, y: Plane, cx: float, cy: float, rx: float, ry: float) -> Plane:
    """A Gaussian of height 1: `exp(-((x - cx) / rx)^2 - ((y - cy) / ry)^2)`."""
    dx = (x - cx) * (1.0 / rx)
    dy = (y - cy) * (1.0 / ry)
    return np.exp(-(dx * dx + dy * dy))


def ellipse(x: Plane, y: Plane, cx: float, cy: float, rx: float, ry: float) -> Plane:
    """Signed distance to an ellipse (first order, exact for a circle)."""
    dx = (x - cx) * (1.0 / rx)
    dy = (y - cy) * (1.0 / ry)
    return (np.sqrt(dx * dx + dy * dy) - 1.0) * min(rx, ry)


def rounded_box(x: Plane, y: Plane, cx: float, cy: float, rx: float, ry: float, corner: float) -> Plane:
    """Signed distance to a box with half sides (rx, ry) and rounded corners."""
    dx = np.abs(x - cx) - (rx - corner)
    dy = np.abs(y - cy) - (ry - corner)
    outside = length(np.maximum(dx, 0.0), np.maximum(dy, 0.0))
    return outside + np.minimum(np.maximum(dx, dy), 0.0) - corner


def segment(x: Plane, y: Plane, start: tuple[float, float], end: tuple[float, float], radius: float) -> Plane:
    """Signed distance to a line from `start` to `end` with round ends."""
    ex, ey = end[0] - start[0], end[1] - start[1]
    px, py = x - (start[0]), y - (start[1])
    t = clamp((px * ex + py * ey) * (1.0 / (ex * ex + ey * ey + 1e-12)), 0.0, 1.0)
    return length(px - t * ex, py - t * ey) - radius


def mix(a: Colour, b: Colour, t: float) -> Colour:
    """The colour a share `t` of the way from `a` to `b`."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def scaled(colour: Colour, factor: float) -> Colour:
    """The colour made darker or lighter, within [0, 1]."""
    return tuple(min(max(channel * factor, 0.0), 1.0) for channel in colour)  # type: ignore[return-value]


class Canvas:
    """A square picture in linear steps of [0, 1], painted back to front.

    `rgb` is (3, n, n) with n samples a side; `x` and `y` are (n, n), the coordinates of the samples.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.samples = 2 if size <= 160 else 1
        n = size * self.samples
        self.step = 2.0 / n
        line = ((np.arange(n, dtype=np.float32) + 0.5) * self.step) - 1.0
        self.x = np.ascontiguousarray(np.broadcast_to(line[None, :], (n, n)))
        self.y = np.ascontiguousarray(np.broadcast_to(line[:, None], (n, n)))
        self.rgb = np.zeros((3, n, n), dtype=np.float32)

    def cover(self, distance: Plane) -> Plane:
        """The share of each sample inside a shape, from the signed distance to it."""
        return clamp(0.5 - distance * (1.0 / self.step), 0.0, 1.0)

    def window(self, cx: float, cy: float, rx: float, ry: float) -> Window:
        """The rows and columns around a point, so that small features cost little."""
        n = self.rgb.shape[1]

        def span(centre: float, radius: float) -> slice:
            low, high = (int((centre + side * radius + 1.0) / self.step) for side in (-1, 1))
            return slice(min(max(low, 0), n - 1), max(min(high + 1, n), 1))

        return span(cy, ry), span(cx, rx)

    def paint(self, mask: Plane, colour: Colour | Plane, window: Window | None = None) -> None:
        """Lay a colour (one, or (3, ...) planes) over the picture where `mask` is 1."""
        if window is not None:
            part = self.rgb[:, window[0], window[1]]
            flat = np.array(colour, dtype=np.float32)[:, None, None] if isinstance(colour, tuple) else colour
            part += mask * (flat - part)
            return
        scratch = np.empty_like(mask)
        for channel in range(3):
            plane = self.rgb[channel]
            np.subtract(colour[channel], plane, out=scratch)
            scratch *= mask
            plane += scratch

    def shade(self, factor: Plane, window: Window | None = None) -> None:
        """Multiply the picture."""
        target = self.rgb if window is None else self.rgb[:, window[0], window[1]]
        target *= factor

    def image(self) -> NDArray[np.uint8]:
        """The finished picture, uint8 (3, size, size)."""
        s = self.samples
        total = np.zeros((3, self.size, self.size), dtype=np.float32)
        for row in range(s):
            for column in range(s):
                total += self.rgb[:, row::s, column::s]
        return (np.clip(total * (255.0 / (s * s)), 0.0, 255.0) + 0.5).astype(np.uint8)
