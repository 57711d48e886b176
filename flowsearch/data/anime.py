"""The built-in source `anime`: drawn characters, out of the distribution of `faces` on purpose.

Eyes three to four times as tall, a nose of a few pixels, flat cel shading in two tones, outlines and pointed locks of
coloured hair: the differences that the paper's Appendix B names between its two test sets.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowsearch.data.canvas import (
    Canvas,
    Colour,
    Plane,
    Window,
    clamp,
    ellipse,
    length,
    mix,
    noise,
    scaled,
    segment,
    smoothstep,
)
from flowsearch.data.people import any_colour

INK: Colour = (0.16, 0.09, 0.12)
SKINS: tuple[Colour, ...] = ((1.0, 0.92, 0.87), (0.99, 0.88, 0.80), (0.97, 0.83, 0.72), (0.80, 0.60, 0.46))
HAIRS: tuple[Colour, ...] = (
    (0.98, 0.85, 0.45),
    (0.98, 0.66, 0.72),
    (0.60, 0.75, 0.95),
    (0.70, 0.52, 0.86),
    (0.52, 0.32, 0.22),
    (0.20, 0.18, 0.26),
    (0.86, 0.88, 0.93),
    (0.86, 0.26, 0.24),
    (0.42, 0.76, 0.58),
    (0.95, 0.58, 0.28),
    (0.25, 0.32, 0.58),
)
EYES: tuple[Colour, ...] = (
    (0.22, 0.45, 0.85),
    (0.78, 0.20, 0.25),
    (0.25, 0.62, 0.38),
    (0.52, 0.28, 0.72),
    (0.85, 0.58, 0.16),
    (0.45, 0.26, 0.16),
)


@dataclass
class Character:
    """A drawn character: head coordinates (u, v), 1 at the outline, and its traits."""

    canvas: Canvas
    rng: np.random.Generator

    def __post_init__(self) -> None:
        rng, canvas = self.rng, self.canvas
        scale = rng.uniform(0.90, 1.12)
        self.width, self.height = 0.52 * scale * rng.uniform(0.95, 1.05), 0.54 * scale
        self.tilt = float(rng.uniform(-0.18, 0.18))
        self.turn = float(rng.uniform(-0.28, 0.28))
        self.cx, self.cy = float(rng.uniform(-0.08, 0.08)), float(rng.uniform(0.05, 0.2))
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        dx, dy = canvas.x - self.cx, canvas.y - self.cy
        self.u: Plane = (dx * cos + dy * sin) * (1.0 / self.width)
        self.v: Plane = (dy * cos - dx * sin) * (1.0 / self.height)
        self.skin = SKINS[int(rng.choice(4, p=(0.4, 0.35, 0.18, 0.07)))]
        base = HAIRS[int(rng.integers(len(HAIRS)))]
        self.hair = mix(base, any_colour(rng, 0.3, 0.8, 1.0), float(rng.uniform(0.0, 0.25)))
        iris = EYES[int(rng.integers(len(EYES)))]
        self.iris = mix(iris, any_colour(rng, 0.2, 0.7, 1.0), float(rng.uniform(0.0, 0.3)))
        self.light = float(rng.choice((-1.0, 1.0)))
        self.line = max(0.013 * scale, 0.7 * canvas.step)

    def window(self, u: float, v: float, ru: float, rv: float) -> Window:
        """The part of the canvas within (ru, rv) of (u, v)."""
        x, y = u * self.width, v * self.height
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        rx, ry = ru * self.width, rv * self.height
        reach = rx * cos + ry * abs(sin), ry * cos + rx * abs(sin)
        return self.canvas.window(self.cx + x * cos - y * sin, self.cy + y * cos + x * sin, *reach)

    def outline(self) -> Plane:
        """Signed distance to the head: round above, a pointed chin below."""
        below = np.maximum(self.v, 0.0)
        half = 1.0 - 0.46 * below**2 - 0.10 * below
        return (length(self.u / half, self.v) - 1.0) * (0.8 * self.width)


def draw_anime(size: int, seed: int, index: int) -> NDArray[np.uint8]:
    """Image `index` of the source `anime`: uint8 (3, size, size), RGB, a function of (size, seed, index) alone."""
    rng = np.random.default_rng([seed, index, 2])
    canvas = Canvas(size)
    character = Character(canvas, rng)
    _paint_background(character)
    _paint_hair_behind(character)
    _paint_body(character)
    outline = character.outline()
    _inked(character, outline, character.skin)
    _paint_shadow(character, outline)
    _paint_eyes(character)
    _paint_nose_and_mouth(character)
    _paint_fringe(character, outline)
    return canvas.image()


def _inked(
    character: Character, shape: Plane, colour: Colour, ink: Colour = INK, window: Window | None = None
) -> Plane:
    """A flat shape with an outline; returns where the flat colour lies."""
    canvas = character.canvas
    inside = canvas.cover(shape)
    canvas.paint(canvas.cover(shape - character.line), ink, window)
    canvas.paint(inside, colour, window)
    return inside


def _paint_background(character: Character) -> None:
    canvas, rng = character.canvas, character.rng
    plain = rng.random() < 0.45
    first = (1.0, 1.0, 1.0) if plain else any_colour(rng, 0.5, 0.98, 0.8)
    second = mix(first, any_colour(rng, 0.3, 0.95, 0.9), 0.0 if plain else float(rng.uniform(0.2, 0.8)))
    t = smoothstep(-1.0, 1.0, canvas.y + rng.uniform(-0.6, 0.6) * canvas.x)
    for channel in range(3):
        canvas.rgb[channel] = (first[channel]) + t * (second[channel] - first[channel])
    if not plain and rng.random() < 0.6:
        for _ in range(int(rng.integers(2, 7))):
            x, y, r = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.12, 0.22)
            disc = canvas.cover(ellipse(canvas.x, canvas.y, x, y, r, r))
            canvas.paint(disc * 0.4, scaled(second, float(rng.uniform(0.7, 1.3))))


def _paint_hair_behind(character: Character) -> None:
    canvas, rng, u, v = character.canvas, character.rng, character.u, character.v
    kind = rng.random()
    dark = scaled(character.hair, 0.72)
    ink = scaled(character.hair, 0.30)
    if kind < 0.5:
        spread = (1.16 + 0.2 * rng.random()) + rng.uniform(0.0, 0.25) * np.maximum(v, 0.0)
        wave = 0.07 * np.sin(v * rng.uniform(3, 8) + rng.uniform(0, 6))
        shape = np.maximum(np.abs(u) - spread - wave, -v - 0.2) * character.width
        shape = np.minimum(shape, ellipse(u, v, 0.0, -0.15, 1.2, 1.1) * character.width)
    elif kind < 0.75:
        shape = ellipse(u, v, 0.0, -0.02, 1.28, 1.12) * character.width
        tips = np.abs((u * 2.3 + rng.uniform(0, 1)) % 1.0 - 0.5)
        shape += tips * 0.25 * smoothstep(0.1, 0.8, v)
    else:
        shape = ellipse(u, v, 0.0, -0.15, 1.15, 1.08) * character.width
        drop = float(rng.uniform(0.3, 1.0))
        for side in (-1.0, 1.0):
            tail = ellipse(u + v * (0.15 * side), v, side * 1.35, drop - 0.1, 0.36, 0.75 + 0.3 * drop)
            shape = np.minimum(shape, tail * character.width)
    inside = _inked(character, shape, dark, ink)
    strands = np.sin(u * 26.0 + np.sin(v * 3.0) * 2.0) > 0.72
    canvas.paint(inside * strands.astype(np.float32) * 0.5, scaled(character.hair, 0.5))


def _paint_body(character: Character) -> None:
    canvas, rng = character.canvas, character.rng
    x = canvas.x - (character.cx - 0.3 * character.tilt)
    y = canvas.y - (character.cy + 0.86 * character.height)
    neck = np.maximum(np.abs(x) - 0.15, -y - 0.1)
    _inked(character, neck, scaled(character.skin, 0.85))
    slope = 0.15 + 0.5 * np.maximum(np.abs(x) - 0.13, 0.0)
    cloth = any_colour(rng, 0.1, 0.95, 0.9)
    vee = np.abs(x) - 0.34 + y * 0.7
    inside = _inked(character, np.maximum(slope - y, -vee), cloth)
    canvas.paint(inside * smoothstep(0.0, 0.03, x * (-character.light) - 0.35), scaled(cloth, 0.72))
    trim = canvas.cover(np.maximum(np.abs(vee - 0.07) - 0.022, slope - y))
    canvas.paint(trim, any_colour(rng, 0.1, 1.0, 0.9))
    if rng.random() < 0.45:
        bow = any_colour(rng, 0.2, 0.8, 1.2)
        for side in (-1.0, 1.0):
            loop = ellipse(x, y - x * (0.4 * side), side * 0.13, 0.36, 0.12, 0.08)
            _inked(character, loop, bow)


def _paint_shadow(character: Character, outline: Plane) -> None:
    """Cel shading: one hard step on the side away from the light and under the fringe; two round blushes."""
    canvas, u, v = character.canvas, character.u, character.v
    inside = canvas.cover(outline)
    tone = mix(scaled(character.skin, 0.88), (0.85, 0.55, 0.58), 0.22)
    side = length(u + (-0.32 * character.light), v) - 0.98
    canvas.paint(inside * canvas.cover(side * (-character.width)), tone)
    strength = 0.35 * character.rng.random()
    for hand in (-1.0, 1.0):
        blush = smoothstep(0.06, -0.06, ellipse(u, v, hand * 0.52 + 0.3 * character.turn, 0.50, 0.17, 0.09))
        canvas.paint(blush * inside * strength, (0.96, 0.45, 0.45))


def _paint_eyes(character: Character) -> None:
    canvas, rng = character.canvas, character.rng
    gap, tall = float(rng.uniform(0.42, 0.48)), float(rng.uniform(0.25, 0.34))
    wide = tall * float(rng.uniform(0.78, 0.95))
    closed = rng.random() < 0.05
    slant, gaze = float(rng.uniform(-0.15, 0.2)), float(rng.uniform(-0.12, 0.12))
    lid = float(rng.uniform(0.0, 0.35))
    brow_lift, brow_slant = float(rng.uniform(0.0, 0.08)), float(rng.uniform(-0.2, 0.2))
    place = 0.20
    for side in (-1.0, 1.0):
        centre = side * gap + 0.45 * character.turn
        squeeze = 1.0 - 0.35 * max(side * character.turn, 0.0)
        window = character.window(centre, place - 0.12, 1.35 * wide, 1.7 * tall + 0.12)
        u, v = character.u[window], character.v[window]
        x = (u - centre) * (1.0 / (wide * squeeze))
        y = (v - place) * (1.0 / tall) + x * (side * slant * 0.5)
        unit = tall * character.height
        arc = (-0.95 + lid) + 0.55 * x * x
        if closed:
            curve = np.abs(y - 0.3 + 0.35 * (1.0 - x * x)) - 0.10
            canvas.paint(canvas.cover(np.maximum(curve, np.abs(x) - 1.0) * unit), INK, window)
        else:
            white = np.maximum(np.maximum((length(x * 0.95, y) - 1.0), arc - y), y - 0.92) * unit
            inside = canvas.cover(white)
            canvas.paint(inside, (0.99, 0.98, 0.99), window)
            _paint_iris(character, window, x - gaze, y, inside, unit)
            lash = np.maximum(np.abs(y - arc) - 0.13 * (1.2 + side * x * 0.5), np.abs(x) - 1.12)
            canvas.paint(canvas.cover(lash * unit), INK, window)
            lower = np.maximum(np.abs(y - 0.92 + 0.12 * x * x) - 0.045, np.abs(x) - 0.55)
            canvas.paint(canvas.cover(lower * unit) * 0.8, scaled(character.skin, 0.5), window)
        by = v - (place - tall - 0.13 - brow_lift) + (u - centre) * (side * brow_slant)
        bend = by + 0.05 - 0.6 * (u - centre) ** 2
        brow = np.maximum(np.abs(bend) - 0.022, np.abs(u - centre) - 0.24)
        canvas.paint(canvas.cover(brow * character.height), scaled(character.hair, 0.42), window)


def _paint_iris(character: Character, window: Window, x: Plane, y: Plane, inside: Plane, unit: float) -> None:
    """A tall iris, dark above and bright below, with two highlights."""
    canvas = character.canvas
    shape = (length(x * 1.45, y) - 0.88) * unit
    mask = canvas.cover(shape) * inside
    ramp = clamp(0.75 + 0.62 * y, 0.25, 1.5)
    colour = np.array(character.iris, dtype=np.float32)[:, None, None]
    canvas.paint(mask, np.minimum(colour * ramp + 0.16 * np.maximum(y, 0.0), 1.0), window)
    rim = canvas.cover(np.abs(shape) - 0.07 * unit) * inside
    canvas.paint(rim, scaled(character.iris, 0.30), window)
    canvas.paint(canvas.cover((length(x * 1.6, y + 0.05) - 0.42) * unit) * mask, scaled(character.iris, 0.18), window)
    spark = length(x - (0.24 * character.light), (y + 0.42) * 0.9) - 0.24
    canvas.paint(canvas.cover(spark * unit) * inside, (1.0, 1.0, 1.0), window)
    small = length(x + (0.22 * character.light), y - 0.45) - 0.13
    canvas.paint(canvas.cover(small * unit) * inside * 0.9, (1.0, 1.0, 1.0), window)


def _paint_nose_and_mouth(character: Character) -> None:
    canvas, rng = character.canvas, character.rng
    window = character.window(0.5 * character.turn, 0.66, 0.35, 0.32)
    u, v = character.u[window] - 0.5 * character.turn, character.v[window]
    nose = segment(u, v, (0.0, 0.50), (0.02 * character.light, 0.535), 0.012)
    canvas.paint(canvas.cover(nose * character.width) * 0.75, scaled(character.skin, 0.55), window)
    kind, half = rng.random(), float(rng.uniform(0.07, 0.16))
    curve = v - 0.70 + rng.uniform(-0.3, 1.6) * (u * u - (half * half))
    line = np.maximum(np.abs(curve) - 0.014, np.abs(u) - half) * character.height
    if kind < 0.4:
        low = (0.70 + 0.6 * half + 0.05) - (0.5 / half) * u * u
        opened = np.maximum(0.69 - v, v - low) * character.height
        inside = _inked(character, opened, (0.72, 0.25, 0.28), window=window)
        canvas.paint(inside * smoothstep(0.0, 0.02, v - (0.69 + 0.5 * half)), (0.94, 0.52, 0.52), window)
    else:
        canvas.paint(canvas.cover(line), (0.45, 0.16, 0.18), window)


def _paint_fringe(character: Character, outline: Plane) -> None:
    """Pointed locks over the forehead, two longer ones beside the face, a ring of gloss and inked strands."""
    canvas, rng, u, v = character.canvas, character.rng, character.u, character.v
    locks, phase = float(rng.uniform(1.4, 2.6)), float(rng.random())
    deep, sides = float(rng.uniform(0.28, 0.5)), float(rng.uniform(0.3, 1.3))
    lean = float(rng.uniform(-0.35, 0.35))
    hook = u + lean * (v + 0.9)
    saw = (hook * locks + phase) % 1.0
    point = np.abs(saw - (0.5 + math.copysign(0.3, lean))) * (1.0 / (0.5 + 0.3))
    lock = np.floor(hook * locks + phase)
    uneven = np.sin(lock * 2.4 + 6.0 * phase) * 0.07
    edge = -0.02 + uneven - deep * point
    wide = smoothstep(0.70, 0.98, np.abs(u - (0.15 * character.turn)))
    edge = edge + sides * wide * (1.2 - np.abs(np.abs(u) - 1.0) * 2.5)
    volume = float(rng.uniform(1.12, 1.24))
    cap = ellipse(u, v, 0.0, -0.12, volume, volume * 0.98) * character.width
    spikes = np.abs(np.sin(u * (7.0 + 3.0 * phase) + (6.0 * phase)))
    cap += 0.05 * spikes * smoothstep(-0.4, -1.0, v)
    hang = np.minimum(cap, np.maximum(np.abs(u) - 1.14, -v) * character.width)
    front = np.maximum((v - edge) * (0.55 * character.height), hang)
    canvas.paint(
        canvas.cover(outline) * canvas.cover((v - edge - 0.09) * character.height),
        mix(scaled(character.skin, 0.85), (0.8, 0.5, 0.55), 0.25),
    )
    inside = _inked(character, front, character.hair, scaled(character.hair, 0.32))
    along = length(u * 0.9, v + 1.0)
    angle = np.arctan2(u - (0.25 * lean), v + 1.25)
    strand = noise("grain", angle * 0.11, along * 0.012, (lean % 1.0, phase))
    canvas.paint(inside * (strand > 0.9).astype(np.float32) * 0.8, scaled(character.hair, 0.62))
    away = canvas.cover((0.62 - u * (-character.light) + 0.05 * strand) * character.width)
    canvas.paint(inside * away, scaled(character.hair, 0.78))
    ring = np.abs(along - 0.52 - 0.09 * np.abs(np.sin(angle * 11.0))) - 0.05
    gloss = canvas.cover(ring * character.width) * (strand < 0.6) * smoothstep(0.85, 0.6, np.abs(u))
    canvas.paint(inside * gloss * 0.75, mix(character.hair, (1.0, 1.0, 1.0), 0.65))
    if rng.random() < 0.25:
        band = any_colour(rng, 0.2, 0.9, 1.2)
        x, y = float(rng.choice((-0.75, 0.75))), -0.55
        for hand in (-1.0, 1.0):
            _inked(character, ellipse(u, v, x + 0.16 * hand, y, 0.16, 0.12) * character.width, band)
