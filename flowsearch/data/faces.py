"""The built-in source `faces`: people drawn back to front, with light from a side and textured hair and skin."""

import math

import numpy as np
from numpy.typing import NDArray

from flowsearch.data.canvas import (
    Canvas,
    Plane,
    bump,
    clamp,
    ellipse,
    mix,
    noise,
    scaled,
    smoothstep,
)
from flowsearch.data.features import paint_brows, paint_eyes, paint_glasses, paint_mouth, paint_nose
from flowsearch.data.hair import LONG, paint_beard, paint_hair, paint_hair_behind
from flowsearch.data.people import darker, sample_person
from flowsearch.data.sitter import Sitter


def draw_face(size: int, seed: int, index: int) -> NDArray[np.uint8]:
    """Image `index` of the source `faces`: uint8 (3, size, size), RGB, a function of (size, seed, index) alone."""
    rng = np.random.default_rng([seed, index, 1])
    person = sample_person(rng)
    canvas = Canvas(size)
    sitter = Sitter(person, canvas, rng)
    _paint_background(sitter)
    paint_hair_behind(sitter)
    _paint_body(sitter)
    _paint_ears(sitter)
    _paint_head(sitter)
    paint_eyes(sitter)
    paint_nose(sitter)
    paint_beard(sitter)
    paint_mouth(sitter)
    paint_brows(sitter)
    paint_glasses(sitter, lenses=True)
    paint_hair(sitter)
    _develop(sitter)
    return canvas.image()


def _paint_background(sitter: Sitter) -> None:
    person, canvas, rng = sitter.person, sitter.canvas, sitter.rng
    near, far = (np.array(colour, dtype=np.float32) for colour in person.background)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    ramp = canvas.x * math.cos(angle) + canvas.y * math.sin(angle)
    t = smoothstep(-1.3, 1.3, ramp)
    if person.scene == "clouds":
        t = clamp(t * 0.4 + 0.3 + 0.28 * noise("cloud", canvas.x * 0.2, canvas.y * 0.2, sitter.offset()), 0, 1)
    canvas.rgb[:] = near[:, None, None] + t[None] * (far - near)[:, None, None]
    if person.scene == "lights":
        for _ in range(int(rng.integers(4, 9))):
            x, y, r = rng.uniform(-1, 1), rng.uniform(-1, 0.6), rng.uniform(0.06, 0.3)
            soft = rng.uniform(0.03, 0.12)
            part = canvas.window(x, y, r + soft, r + soft)
            disc = smoothstep(soft, -soft, ellipse(canvas.x[part], canvas.y[part], x, y, r, r))
            canvas.paint(disc * rng.uniform(0.2, 0.6), scaled(person.background[0], rng.uniform(0.3, 2.0)), part)
    elif person.scene == "panels":
        for _ in range(int(rng.integers(2, 5))):
            x, half = rng.uniform(-1.1, 1.1), rng.uniform(0.05, 0.4)
            soft, lean = rng.uniform(0.01, 0.08), rng.uniform(-0.1, 0.1)
            band = smoothstep(soft, -soft, np.abs(canvas.x + canvas.y * lean - x) - half)
            canvas.paint(band * rng.uniform(0.3, 0.8), scaled(person.background[1], rng.uniform(0.4, 1.6)))
    grain = noise("cloud", canvas.x * 0.3, canvas.y * 0.3, sitter.offset())
    canvas.shade(1.0 + 0.035 * grain)


def _paint_body(sitter: Sitter) -> None:
    person, canvas = sitter.person, sitter.canvas
    width, height = person.half
    top = person.centre[1] + 0.93 * height
    window = canvas.window(0.0, 0.5 * (1.0 + top - 0.45), 1.1, 0.5 * (1.0 - top + 0.45))
    x = canvas.x[window] - (person.centre[0] - 0.5 * height * math.sin(person.tilt) - 0.05 * person.yaw)
    y = canvas.y[window] - top
    side = person.light[0]
    neck_half = width * (0.46 if person.style in LONG or person.style == "updo" else 0.56)
    flare = 0.35 * np.maximum(y - 0.12, 0.0)
    neck = canvas.cover(np.maximum(np.abs(x) - neck_half - flare, -y - 0.5))
    shadow = 0.46 + 0.36 * smoothstep(-0.05, 0.30, y)
    tone = clamp(shadow + side * x * 0.5, 0.2, 1.1)
    skin = np.array(person.skin, dtype=np.float32)[:, None, None]
    canvas.paint(neck, skin * tone * np.array([1.0, 0.94, 0.90], dtype=np.float32)[:, None, None], window)
    slope = 0.10 + 0.40 * np.maximum(np.abs(x) - neck_half, 0.0) ** 1.35
    shoulders = slope - y
    if person.collar == "round":
        opening = ellipse(x, y, 0.0, 0.08, neck_half * 1.15, 0.20)
    else:
        opening = np.abs(x) - (0.85 * neck_half) * clamp((0.62 - y) * 1.7, 0.0, 1.6)
    cloth = canvas.cover(np.maximum(shoulders, -opening))
    folds = noise("cloud", x * 0.45, y * 0.18, sitter.offset())
    tone = clamp(0.75 + 0.14 * folds + side * x * 0.35, 0.15, 1.2)
    if person.stripes:
        tone *= 1.0 - (0.45 * person.stripes) * (np.sin(y * 60.0 + x * x * 18.0) > 0.2)
    cloth_colour = np.array(person.clothes, dtype=np.float32)[:, None, None]
    if person.collar in ("shirt", "suit"):
        canvas.paint(cloth, cloth_colour * tone * 0.5 + tone * (0.5 if person.collar == "suit" else 0.2), window)
        edge = (0.85 * neck_half + 0.09) - 0.28 * (y - 0.15)
        lapel = canvas.cover(np.maximum(shoulders, edge - np.abs(x)))
        canvas.paint(lapel, cloth_colour * tone * (0.55 if person.collar == "suit" else 1.0), window)
        if person.collar == "suit":
            tie = canvas.cover(np.maximum(np.abs(x) - 0.07 - y * 0.05, 0.30 - y))
            canvas.paint(tie, scaled(person.background[0], 0.7), window)
    else:
        canvas.paint(cloth, cloth_colour * tone, window)
        rim = smoothstep(0.05, 0.0, np.abs(np.maximum(shoulders, -opening)))
        canvas.paint(rim * 0.35, darker(person.clothes, 0.8), window)


def _paint_ears(sitter: Sitter) -> None:
    person, canvas = sitter.person, sitter.canvas
    width = person.half[0]
    for side in (-1.0, 1.0):
        if side * person.yaw > 0.22:
            continue
        window = sitter.window(side, 0.0, 0.36, 0.36)
        x = sitter.p[window] * width - (side * width * (0.99 - 0.10 * side * person.yaw))
        y = sitter.q[window] * (person.half[1]) + (0.02 * person.half[1])
        shape = ellipse(x - y * (0.12 * side), y, 0.0, 0.0, 0.075, 0.135)
        tone = 0.86 + 0.22 * side * person.light[0]
        canvas.paint(canvas.cover(shape), scaled(mix(person.skin, (0.75, 0.35, 0.28), 0.12), tone), window)
        inner = smoothstep(0.02, -0.04, ellipse(x, y, side * 0.012, 0.0, 0.045, 0.10))
        canvas.paint(inner * 0.4, darker(person.skin, 0.6), window)
        if person.earrings:
            canvas.paint(canvas.cover(ellipse(x, y, 0.0, 0.165, 0.026, 0.036)), (0.93, 0.86, 0.62), window)


def _relief(sitter: Sitter) -> Plane:
    """The height of the head toward the viewer, in canvas units."""
    person, u, v = sitter.person, sitter.u[sitter.head], sitter.v[sitter.head]
    base = -0.05 + person.nose_length
    height = sitter.dome[sitter.head] * 0.95
    run = clamp((v + 0.12) * (1.0 / (base + 0.07)), 0.0, 1.0)
    spread = 0.075 + (0.5 * person.nose_width) * run * run
    ridge = np.exp(-((u / spread) ** 2)) * run * smoothstep(base + 0.07, base - 0.04, v)
    height += 0.20 * ridge
    for side in (-1.0, 1.0):
        height -= 0.085 * bump(u, v, side * person.eye_gap, -0.07, 0.26, 0.11)
        height += (0.05 + 0.03 * max(person.smile, 0.0)) * bump(u, v, side * 0.55, 0.22, 0.26, 0.16)
    height += 0.035 * bump(u, v, 0.0, -0.24, 0.75, 0.07)
    height += 0.05 * bump(u, v, 0.0, 0.86, 0.24, 0.10)
    height -= 0.03 * bump(u, v, 0.0, 0.72, 0.26, 0.05)
    return height * (person.half[0])


def _paint_head(sitter: Sitter) -> None:
    person, canvas, window = sitter.person, sitter.canvas, sitter.head
    u, v = sitter.u[window], sitter.v[window]
    relief = _relief(sitter)
    slope_x, slope_y = np.zeros_like(relief), np.zeros_like(relief)
    scale = 0.5 / canvas.step
    slope_x[:, 1:-1] = (relief[:, 2:] - relief[:, :-2]) * scale
    slope_y[1:-1] = (relief[2:] - relief[:-2]) * scale
    lx, ly, lz = (value for value in person.light)
    facing = 1.0 / np.sqrt(slope_x * slope_x + slope_y * slope_y + 1.0)
    lit = clamp((lz - slope_x * lx - slope_y * ly) * facing, -0.25, 1.0)
    diffuse = np.maximum((lit + 0.25) * 0.8, 0.0)
    ambient = person.ambient * (0.55 + 0.45 * facing)
    half_z = (person.light[2] + 1.0) / math.sqrt(2.0 + 2.0 * person.light[2])
    half_n = 1.0 / math.sqrt(2.0 + 2.0 * person.light[2])
    gloss = np.maximum((half_z - slope_x * lx * half_n - slope_y * ly * half_n) * facing, 0.0)
    gloss = gloss**2 * gloss
    gloss = ((gloss**2) ** 2) ** 2
    bright = (1.06 - person.ambient) * diffuse
    skin = np.empty((3, *relief.shape), dtype=np.float32)
    mottle = noise("cloud", u * 0.35, v * 0.35, sitter.offset()) * 0.02
    pores = noise("grain", u * 0.30, v * 0.42, sitter.offset()) * (0.012 + 0.012 * person.age)
    tone = 1.06 * (1.0 + mottle + pores)
    red = np.zeros_like(u)
    for side in (-1.0, 1.0):
        red += bump(u, v, side * 0.52, 0.25, 0.24, 0.16)
    red += 0.7 * bump(u, v, 0.0, -0.08 + person.nose_length, 0.17, 0.09)
    red *= 0.10 * person.blush
    for channel, (warm, bleed, flush) in enumerate(((1.03, 0.055, 0.5), (1.0, 0.0, -0.75), (0.96, -0.02, -0.6))):
        shade = ambient * (0.97 + 0.03 * channel) + bright * warm
        shade += bleed * (1.0 - diffuse)
        skin[channel] = (person.skin[channel]) * tone * shade * (1.0 + flush * red)
    skin += 0.16 * gloss
    if person.freckles:
        spots = np.maximum(noise("grain", u * 0.55, v * 0.75, sitter.offset()) - 1.2, 0.0)
        spots *= bump(u, v, 0.0, 0.16, 0.62, 0.18) * (0.35 * person.freckles)
        skin *= 1.0 - spots * np.array([0.35, 0.55, 0.65], dtype=np.float32)[:, None, None]
    if person.age > 0.4:
        lines = np.sin(v * 95.0 + u * u * 9.0) * bump(u, v, 0.0, -0.46, 0.5, 0.10)
        skin *= 1.0 + (0.07 * (person.age - 0.4)) * lines
    canvas.paint(canvas.cover(sitter.outline[window]), skin, window)


def _develop(sitter: Sitter) -> None:
    """Exposure, contrast, white balance, vignette and a little grain, as a camera would add."""
    person, canvas = sitter.person, sitter.canvas
    rgb = canvas.rgb
    away = canvas.x * canvas.x + canvas.y * canvas.y
    rgb *= person.exposure - 0.05 * away
    rgb -= 0.45
    rgb *= person.contrast
    rgb += 0.45
    rgb += noise("grain", canvas.x * 0.25, canvas.y * 0.25, sitter.offset()) * 0.006
    rgb[0] *= 1.0 + person.warmth
    rgb[2] *= 1.0 - person.warmth
