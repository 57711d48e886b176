"""The features of a drawn face: eyes, nose, mouth, brows and glasses."""

import math

import numpy as np

from flowsearch.data.canvas import (
    Colour,
    Plane,
    Window,
    bump,
    clamp,
    ellipse,
    length,
    mix,
    noise,
    rounded_box,
    scaled,
    segment,
    smoothstep,
)
from flowsearch.data.people import darker
from flowsearch.data.sitter import Sitter

EYE_V = -0.05


def _column(colour: Colour) -> Plane:
    return np.array(colour, dtype=np.float32)[:, None, None]


def paint_eyes(sitter: Sitter) -> None:
    """Lids, white, iris with limbal ring, pupil and catchlight, lashes, crease and the shadow of the lid."""
    person, canvas = sitter.person, sitter.canvas
    width, height = person.half
    reach = person.eye_width * width
    light = 0.55 + 0.5 * person.ambient
    for side in (-1.0, 1.0):
        window = sitter.window(side * person.eye_gap, EYE_V, 1.7 * person.eye_width, 0.19)
        x = (sitter.u[window] - (side * person.eye_gap)) * width
        y = (sitter.v[window] - EYE_V) * height
        y = y + x * (side * person.eye_slant)
        inside = canvas.cover(sitter.outline[window])
        t = x * (1.0 / reach)
        arch = np.maximum(1.0 - np.abs(t) ** 2.3, -0.6)
        upper = (-person.eye_open * reach * 1.12) * arch
        lower = (person.eye_open * reach * 0.78) * arch
        shape = np.maximum(upper - y, y - lower)
        tone = light * (1.0 + 0.18 * side * person.light[0])
        socket = bump(x, y, 0.0, -0.3 * reach, 1.25 * reach, 0.75 * reach)
        makeup = mix(darker(person.skin, 0.75), scaled(person.clothes, 0.8), 0.25 * person.liner)
        canvas.paint(socket * inside * (0.20 + 0.24 * person.liner), scaled(makeup, tone), window)
        bag = bump(x, y, 0.0, 0.75 * reach, 0.9 * reach, 0.16 * reach) * (0.10 + 0.22 * person.age)
        canvas.paint(bag * inside, scaled(darker(person.skin, 0.6), tone), window)
        opened = canvas.cover(shape) * inside
        shaded = clamp(0.62 + (0.5 / reach) * (y - upper), 0.5, 1.0)
        rounding = 1.0 - 0.22 * t * t
        canvas.paint(opened, _column((0.93, 0.91, 0.90)) * (shaded * rounding * min(tone * 1.12, 1.05)), window)
        gx, gy = person.gaze[0] * reach * 0.8, person.gaze[1] * reach - 0.06 * reach
        radius = 0.47 * reach
        distance = length(x - gx, y - gy)
        ring = distance * (1.0 / radius)
        glow = clamp(1.25 - 0.75 * ring**2 + (0.45 / reach) * (y - gy), 0.3, 1.7)
        canvas.paint(canvas.cover(distance - radius) * opened, _column(person.iris) * (glow * shaded), window)
        canvas.paint(canvas.cover(distance - (0.44 * radius)) * opened, (0.02, 0.015, 0.02), window)
        glint = ellipse(x, y, gx + 0.40 * radius * person.light[0], gy - 0.38 * radius, 0.24 * radius, 0.24 * radius)
        canvas.paint(canvas.cover(glint) * opened * 0.95, (1.0, 1.0, 1.0), window)
        edge = np.abs(y - upper)
        lash = (0.10 + 0.10 * person.liner) * reach * clamp(1.0 + (0.5 * side) * t, 0.4, 1.6)
        span = smoothstep(1.22, 0.95, np.abs(t - (0.08 * side)))
        canvas.paint(canvas.cover(edge - lash) * span * inside * 0.92, scaled((0.10, 0.07, 0.06), tone), window)
        below = smoothstep(0.09 * reach, 0.0, np.abs(y - lower)) * smoothstep(1.05, 0.7, np.abs(t))
        canvas.paint(below * inside * (0.30 + 0.3 * person.liner), darker(person.skin, 0.8), window)
        crease = smoothstep(0.08 * reach, 0.0, np.abs(y - upper * 1.0 + (0.30 * reach)))
        canvas.paint(crease * smoothstep(1.1, 0.5, np.abs(t)) * inside * 0.32, darker(person.skin, 0.7), window)


def paint_brows(sitter: Sitter) -> None:
    """Two tapering arcs of short hairs above the eyes."""
    person, canvas = sitter.person, sitter.canvas
    width, height = person.half
    colour = mix(person.hair, (0.10, 0.07, 0.06), 0.45)
    if person.hair[0] > 0.7:
        colour = darker(person.hair, 0.55)
    for side in (-1.0, 1.0):
        place = EYE_V - person.brow_height - 0.02 * max(person.opening * 5.0, 0.0)
        window = sitter.window(side * (person.eye_gap + 0.02), place, 0.40, 0.16)
        x = (sitter.u[window] * side - (person.eye_gap + 0.02)) * (1.0 / 0.31)
        y = (sitter.v[window] - place) * height
        curve = (-0.055 * person.brow_arch) * (1.0 - (x - 0.25) ** 2 * 1.3) + 0.012
        thick = (person.brow * width / 0.45) * clamp(0.95 - 0.45 * x, 0.25, 1.1)
        thick *= np.sqrt(clamp((1.0 - np.abs(x)) * 2.5, 0.0, 1.0))
        shape = np.abs(y - curve) - thick
        hairs = noise("grain", x * 0.10 + y * 0.3, y * 0.35, sitter.offset())
        soft = (
            smoothstep(0.006, -0.016, shape) * smoothstep(1.05, 0.75, np.abs(x)) * clamp(0.82 + 0.22 * hairs, 0.0, 1.0)
        )
        tone = 0.75 + 0.35 * person.ambient + 0.15 * side * person.light[0]
        canvas.paint(soft * canvas.cover(sitter.outline[window]), scaled(colour, tone), window)


def paint_nose(sitter: Sitter) -> None:
    """What the relief does not give: nostrils, wings, the shadow beneath and along the side away from the light."""
    person, canvas = sitter.person, sitter.canvas
    base = EYE_V + person.nose_length
    forward = 0.10 * math.sin(person.yaw)
    window = sitter.window(forward, base - 0.1, 0.42, 0.30)
    u, v = sitter.u[window] - forward, sitter.v[window]
    half = person.nose_width
    dark = darker(person.skin, 0.85)
    away = -1.0 if person.light[0] > 0 else 1.0
    flank = bump(u, v, away * 0.9 * half, base - 0.13, 0.5 * half, 0.16)
    canvas.paint(flank * (0.30 * abs(person.light[0])), darker(person.skin, 0.7), window)
    under = bump(u, v, away * 0.05, base + 0.055, 1.1 * half, 0.035)
    canvas.paint(under * 0.40, darker(person.skin, 0.7), window)
    for side in (-1.0, 1.0):
        wing = np.abs(length((u - (side * 0.70 * half)), (v - (base - 0.03)) * 1.3) - (0.42 * half))
        outer = smoothstep(-0.1, 0.5, (u * side - (0.70 * half)) * (1.0 / half))
        canvas.paint(smoothstep(0.035, 0.0, wing) * outer * 0.42, dark, window)
        nostril = ellipse(u, v, side * 0.50 * half, base + 0.012, 0.27 * half, 0.020)
        canvas.paint(smoothstep(0.016, -0.012, nostril) * 0.85, scaled(dark, 0.55), window)
    tip = bump(u, v, -away * 0.06 * half, base - 0.065, 0.32 * half, 0.035)
    canvas.paint(tip * 0.22, mix(person.skin, (1.0, 0.98, 0.95), 0.7), window)


def paint_mouth(sitter: Sitter) -> None:
    """Two lips around a line that a smile bends, teeth and the dark behind them, and the folds beside."""
    person, canvas = sitter.person, sitter.canvas
    height = person.half[1]
    centre = EYE_V + person.nose_length + 0.235 - 0.02 * person.smile
    forward = 0.05 * math.sin(person.yaw)
    window = sitter.window(forward, centre + 0.03, person.mouth_width + 0.22, 0.30)
    u, v = sitter.u[window] - forward, sitter.v[window] - centre
    t = u * (1.0 / person.mouth_width)
    arch = np.maximum(1.0 - t * t, -0.5)
    line = (0.075 * person.smile) * (0.45 - t * t)
    gap = person.opening * arch * 1.15
    top, bottom = line - gap * 0.35, line + gap * 0.75
    bow = arch * (1.0 - 0.30 * np.exp(-((t / 0.17) ** 2)))
    tight = 1.0 - 0.25 * max(person.smile, 0.0)
    upper = top - (person.lips * 0.85 * tight) * bow
    lower = bottom + (person.lips * 1.25 * tight) * np.sqrt(np.maximum(arch, 0.0)) * clamp(arch * 3.0, 0.0, 1.0)
    scale = height
    light = 0.62 + 0.5 * person.ambient
    inside = canvas.cover(sitter.outline[window]) * smoothstep(1.03, 0.97, np.abs(t))
    natural = mix(scaled(person.skin, 0.82), (0.62, 0.25, 0.24), 0.48)
    colour = scaled(mix(natural, (0.70, 0.10, 0.18), 0.75 * person.lipstick), light)
    if person.smile > 0.2:
        fold = np.abs(np.abs(u) - (person.mouth_width + 0.10) + 0.55 * np.maximum(-v - 0.02, 0.0))
        rows = smoothstep(-0.27, -0.17, v) * smoothstep(0.10, 0.0, v)
        strength = (0.10 + 0.16 * person.smile) * (0.6 + person.age)
        canvas.paint(smoothstep(0.05, 0.0, fold) * rows * strength, darker(person.skin, 0.75), window)
    chin = bump(u, v, 0.0, float(person.lips * 1.3 + person.opening) + 0.055, 0.8 * person.mouth_width, 0.03)
    canvas.paint(chin * 0.28, darker(person.skin, 0.7), window)
    upper_lip = canvas.cover(np.maximum(upper - v, v - top - 0.006) * scale)
    canvas.paint(upper_lip * inside, _column(scaled(colour, 0.80)) * (1.0 + (0.12 * person.light[0]) * t), window)
    lower_lip = canvas.cover(np.maximum(bottom - v - 0.006, v - lower) * scale)
    round_ = 1.06 - 3.0 * (v - bottom)
    canvas.paint(lower_lip * inside, _column(colour) * clamp(round_, 0.7, 1.2), window)
    wet = bump(
        u,
        v,
        0.15 * person.light[0],
        float(person.lips * 0.45 + 0.75 * person.opening + 0.03 * person.smile),
        0.12,
        0.022,
    )
    canvas.paint(wet * (0.22 + 0.2 * person.lipstick) * lower_lip, (1.0, 0.95, 0.93), window)
    if person.opening:
        _paint_teeth(sitter, window, t, v, top, bottom, scale, inside)
    line_width = 0.010 * (1.0 + 0.4 * (1.0 - np.abs(t)))
    seam = canvas.cover((np.abs(v - top) - line_width) * scale) * smoothstep(1.10, 0.92, np.abs(t))
    canvas.paint(seam * inside * (0.75 if not person.opening else 0.45), scaled(darker(colour, 0.85), 0.8), window)
    for side in (-1.0, 1.0):
        corner = bump(u, v, side * (person.mouth_width + 0.015), 0.075 * person.smile * -0.55, 0.045, 0.030)
        canvas.paint(corner * 0.45, darker(person.skin, 0.85), window)


def _paint_teeth(
    sitter: Sitter,
    window: Window,
    t: Plane,
    v: Plane,
    top: Plane,
    bottom: Plane,
    scale: float,
    inside: Plane,
) -> None:
    person, canvas = sitter.person, sitter.canvas
    opened = canvas.cover(np.maximum(top - v, v - bottom) * scale) * inside
    canvas.paint(opened, (0.22, 0.07, 0.07), window)
    if person.opening > 0.11:
        tongue = smoothstep(0.03, -0.02, ellipse(t, v, 0.0, person.opening * 0.85, 0.5, person.opening * 0.40))
        canvas.paint(tongue * opened, (0.66, 0.28, 0.28), window)
    edge = top + (bottom - top) * (0.55 if person.opening > 0.11 else 0.85)
    row = canvas.cover((v - edge) * scale) * opened * smoothstep(0.98, 0.80, np.abs(t))
    shade = (0.97 - 0.40 * t * t) * (0.80 + 0.3 * person.ambient)
    shade *= 1.0 - 0.07 * smoothstep(0.85, 1.0, np.cos(t * 25.0))
    canvas.paint(row, _column((0.96, 0.94, 0.89)) * shade, window)


def paint_glasses(sitter: Sitter, *, lenses: bool) -> None:
    """Rims, bridge and temples; tinted lenses for sunglasses, a streak of reflection otherwise."""
    person, canvas = sitter.person, sitter.canvas
    if person.glasses == "none":
        return
    width, height = person.half
    dark = person.glasses == "sun"
    thick = {"thin": 0.008, "thick": 0.018, "sun": 0.014}[person.glasses]
    corner = 0.06 + 0.05 * person.volume
    rx, ry = 0.335 * width, (0.145 + 0.05 * person.volume) * height
    window = sitter.window(0.0, EYE_V + 0.02, 1.15, 0.30)
    x, y = sitter.u[window] * width, (sitter.v[window] - (EYE_V + 0.015)) * height
    head = canvas.cover(sitter.outline[window] - 0.02)
    rims: Plane | None = None
    for side in (-1.0, 1.0):
        lens = rounded_box(x, y, side * 0.43 * width, 0.0, rx, ry, min(corner, 0.95 * rx, 0.95 * ry))
        if lenses:
            streak = smoothstep(0.05, 0.0, np.abs(x - y * 0.6 - (side * 0.43 * width + 0.02)))
            glass = canvas.cover(lens) * head
            canvas.paint(glass * (0.86 if dark else 0.06), (0.06, 0.05, 0.06) if dark else (0.8, 0.85, 0.9), window)
            canvas.paint(glass * streak * 0.16, (1.0, 1.0, 1.0), window)
        rim = np.abs(lens) - thick
        temple = segment(x, y, (side * (0.43 * width + rx), -0.3 * ry), (side * 1.05 * width, -0.45 * ry), thick)
        rim = np.minimum(rim, temple)
        rims = rim if rims is None else np.minimum(rims, rim)
    bridge = segment(x, y, (-0.10 * width, -0.2 * ry), (0.10 * width, -0.2 * ry), thick)
    assert rims is not None
    mask = canvas.cover(np.minimum(rims, bridge)) * head
    canvas.shade(1.0 - 0.22 * np.roll(mask, 1 + canvas.rgb.shape[1] // 64, axis=0), window)
    canvas.paint(mask, person.frame, window)
