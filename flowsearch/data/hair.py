"""The hair of a drawn face, behind and before the head, and beards."""

import math
from dataclasses import dataclass

import numpy as np

from flowsearch.data.canvas import (
    Plane,
    Window,
    clamp,
    ellipse,
    length,
    mix,
    noise,
    rounded_box,
    smoothstep,
)
from flowsearch.data.sitter import Sitter

LONG = ("long", "bob", "curly", "fringe")


@dataclass
class _Part:
    """The sitter's coordinates in the window that the hair can reach."""

    window: Window
    p: Plane
    q: Plane
    u: Plane
    v: Plane
    outline: Plane


def _part(sitter: Sitter, bottom: float) -> _Part:
    """The window around the head, from above the hair down to `q = bottom`."""
    person = sitter.person
    lean = abs(math.sin(person.tilt))
    wide = 1.62 * person.half[0] + 1.5 * lean * person.half[1]
    top, low = -1.55 * person.half[1], (bottom + 0.1) * person.half[1] + 1.6 * lean * person.half[0]
    window = sitter.canvas.window(
        person.centre[0] + 0.5 * math.sin(person.tilt) * person.half[1],
        person.centre[1] + 0.5 * (top + low),
        wide,
        0.5 * (low - top),
    )
    planes = (sitter.p, sitter.q, sitter.u, sitter.v, sitter.outline)
    return _Part(window, *(np.ascontiguousarray(plane[window]) for plane in planes))


def _hair_colour(sitter: Sitter, part: _Part, flow_a: Plane, flow_b: Plane, along: Plane) -> Plane:
    """Strands: noise stretched along the hair's flow, with a band of gloss and the light's side brighter."""
    person = sitter.person
    offset = sitter.offset()
    fine = noise("grain", flow_a, flow_b, offset)
    locks = noise("cloud", flow_a * 0.9, flow_b * 1.2, (offset[1], offset[0]))
    shape = 0.72 + (0.30 * person.light[0]) * part.p - 0.16 * part.q
    tone = shape + 0.10 * fine + 0.17 * locks
    gloss = np.exp(-(((along - 0.55) / 0.17) ** 2))
    gloss *= 0.16 * clamp(0.7 + 0.5 * fine, 0.0, 2.0)
    colour = np.array(person.hair, dtype=np.float32)[:, None, None]
    warm = np.array([1.0, 0.93, 0.84], dtype=np.float32)[:, None, None]
    return colour * np.maximum(tone, 0.18) + gloss * warm * (0.25 + colour)


def _flow(sitter: Sitter, part: _Part) -> tuple[Plane, Plane, Plane]:
    """Coordinates across and along the hair, which falls from the parting, and the distance from it."""
    person = sitter.person
    dx = part.p - (person.parting * 0.8 + 0.5 * math.sin(person.yaw))
    dy = part.q + 1.25
    along = length(dx, dy)
    wave = 0.35 if person.style == "curly" else 0.10 * person.volume
    angle = np.arctan2(dx, dy) + wave * np.sin(along * 7.0)
    if person.style == "curly":
        return part.p * 0.22, part.q * 0.26, along
    return angle * 0.55, along * 0.05, along


def paint_hair_behind(sitter: Sitter) -> None:
    """What hangs behind the face, or the bun above it."""
    person, canvas = sitter.person, sitter.canvas
    if person.style in ("bald", "short", "swept", "beanie"):
        return
    width, height = person.half
    part = _part(sitter, 3.0 if person.style != "updo" else -0.5)
    p = part.p + (0.25 * person.yaw)
    rough = noise("cloud", part.p * 0.25, part.q * 0.25, sitter.offset())
    grow = 0.10 * person.volume
    if person.style == "updo":
        shape = ellipse(p * width, part.q * height, 0.0, -0.95 * height, 0.42 * width, 0.30 * height)
    else:
        bottom = {"bob": 0.75, "curly": 0.85, "fringe": 1.7, "long": 2.2}[person.style]
        half = 1.12 + grow + (0.28 if person.style == "curly" else 0.0)
        shape = rounded_box(
            p * width,
            part.q * height,
            0.0,
            0.5 * (bottom - 1.05) * height,
            half * width,
            0.5 * (bottom + 1.15) * height,
            0.95 * width,
        )
        shape += rough * (0.05 if person.style == "curly" else 0.018)
    colour = _hair_colour(sitter, part, *_flow(sitter, part)) * 0.72
    canvas.paint(
        smoothstep(0.015, -0.02, shape) if person.style == "curly" else canvas.cover(shape), colour, part.window
    )


def paint_hair(sitter: Sitter) -> None:
    """What falls over the forehead and beside the face, or the beanie."""
    person, canvas = sitter.person, sitter.canvas
    if person.style == "bald" and person.volume < 0.6:
        return
    sides = {"long": 1.6, "fringe": 1.5, "bob": 0.62, "curly": 0.6}.get(person.style, -0.02)
    part = _part(sitter, 3.0 if sides > 1.0 else sides + 0.5)
    u, v = part.u, part.v
    width, height = person.half
    curly = person.style == "curly"
    lift = 0.06 + 0.10 * person.volume + (0.16 if curly else 0.0)
    if person.style in ("bald", "updo"):
        lift = 0.03
    rough = noise("cloud", part.p * 0.3, part.q * 0.3, sitter.offset())
    jag = noise("grain", u * 0.28, v * 0.05, sitter.offset())
    p = part.p + (0.12 * person.yaw)
    outer = ellipse(p * width, part.q * height, 0.0, -0.10 * height, (1.02 + lift) * width, (0.94 + lift) * height)
    outer += rough * (0.05 if curly else 0.014)
    across = np.abs(u)
    hairline = person.hairline + 0.10 * across * across
    if person.style == "fringe":
        hairline = (-0.33 + 0.10 * person.volume) + 0.12 * across * across
    elif person.style in ("long", "bob", "curly", "swept"):
        hairline += (0.24 if person.style != "swept" else 0.13) * np.abs(u - person.parting)
    elif person.style == "bald":
        hairline = -0.55 + 0.3 * across
    start = 0.66 if person.style in ("long", "bob", "fringe") else 0.80
    hairline += (sides - person.hairline) * smoothstep(start, start + 0.34, across) ** 1.5
    fall = v - hairline + jag * (0.022 if person.style in ("fringe", "short") else 0.012)
    hang = outer if sides < 0.1 else np.minimum(outer, np.maximum(np.abs(p) - (1.06 + lift), -part.q) * width)
    mask = smoothstep(0.022, -0.022, fall) * (smoothstep(0.02, -0.02, hang) if curly else canvas.cover(hang))
    head = canvas.cover(part.outline)
    shade = smoothstep(0.16, 0.0, fall) * head * 0.34
    canvas.shade(1.0 - shade, part.window)
    if person.style == "beanie":
        _paint_beanie(sitter, part, outer)
        return
    strength = 0.45 if person.style == "bald" else 1.0
    canvas.paint(mask * strength, _hair_colour(sitter, part, *_flow(sitter, part)), part.window)


def _paint_beanie(sitter: Sitter, part: _Part, outer: Plane) -> None:
    person, canvas = sitter.person, sitter.canvas
    edge = part.v + 0.44 - 0.06 * part.u * part.u
    ribs = 0.82 + 0.13 * np.sin(part.u * 42.0) + (0.3 * person.light[0]) * part.p
    ribs -= 0.22 * smoothstep(0.03, 0.0, np.abs(edge + 0.17))
    wool = np.array(person.clothes, dtype=np.float32)[:, None, None] * 0.9 + 0.04
    mask = canvas.cover(outer - 0.02) * canvas.cover(edge * (person.half[1]))
    canvas.paint(mask, wool * clamp(ribs, 0.2, 1.3), part.window)


def paint_beard(sitter: Sitter) -> None:
    """Stubble, a moustache, a goatee or a full beard."""
    person, canvas, window = sitter.person, sitter.canvas, sitter.head
    if person.beard == "none":
        return
    u, v = sitter.u[window], sitter.v[window]
    base = -0.05 + person.nose_length
    mouth = base + 0.23
    moustache = smoothstep(0.05, -0.03, ellipse(u, v, 0.0, mouth - 0.085, 0.37, 0.062))
    line = (mouth + 0.16) - 0.62 * np.maximum(np.abs(u) - 0.2, 0.0)
    jaw = smoothstep(-0.05, 0.07, v - line)
    goatee = smoothstep(0.06, -0.05, ellipse(u, v, 0.0, mouth + 0.15, 0.34, 0.25)) * smoothstep(
        mouth - 0.02, mouth + 0.06, v
    )
    kinds = {"moustache": moustache, "goatee": np.maximum(moustache, goatee)}
    area = kinds.get(person.beard, np.maximum(np.maximum(moustache, jaw), goatee))
    strands = noise("grain", u * 0.45, v * 0.22, sitter.offset())
    strength = 0.34 if person.beard == "stubble" else 0.82
    reach = 0.0 if person.beard != "full" else 0.05
    mask = area * canvas.cover(sitter.outline[window] - reach * smoothstep(0.2, 0.9, v))
    mask *= clamp(strength + 0.16 * strands, 0.0, 1.0)
    colour = np.array(mix(person.hair, (0.12, 0.09, 0.08), 0.35), dtype=np.float32)[:, None, None]
    tone = 0.8 + 0.22 * strands + (0.3 * person.light[0]) * sitter.p[window]
    canvas.paint(mask, colour * clamp(tone, 0.3, 1.5), window)
