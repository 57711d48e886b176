"""Who is drawn: the traits of a person, and how they are distributed."""

from dataclasses import dataclass

import numpy as np

from flowsearch.data.canvas import Colour, mix, scaled

SKINS: tuple[Colour, ...] = (
    (0.98, 0.86, 0.78),
    (0.94, 0.77, 0.65),
    (0.88, 0.68, 0.53),
    (0.75, 0.53, 0.38),
    (0.56, 0.36, 0.24),
    (0.38, 0.23, 0.16),
)
HAIRS: tuple[Colour, ...] = (
    (0.07, 0.06, 0.07),
    (0.17, 0.11, 0.08),
    (0.33, 0.20, 0.12),
    (0.48, 0.24, 0.12),
    (0.62, 0.46, 0.27),
    (0.85, 0.70, 0.46),
    (0.62, 0.60, 0.58),
    (0.88, 0.86, 0.84),
    (0.55, 0.16, 0.22),
)
IRISES: tuple[Colour, ...] = (
    (0.25, 0.14, 0.07),
    (0.38, 0.23, 0.10),
    (0.42, 0.40, 0.20),
    (0.28, 0.46, 0.32),
    (0.30, 0.48, 0.66),
    (0.46, 0.54, 0.58),
)
STYLES = ("short", "swept", "fringe", "long", "bob", "curly", "updo", "bald", "beanie")


@dataclass(frozen=True, kw_only=True)
class Person:
    """One drawn person. Lengths are in units of the canvas, angles in radians, colours in [0, 1]."""

    centre: tuple[float, float]
    half: tuple[float, float]
    """Half width and half height of the head."""
    tilt: float
    yaw: float
    pitch: float
    jaw: float
    """How much the head narrows toward the chin."""
    chin: float
    """Exponent of the outline: 2 is an ellipse, above is squarer."""
    skin: Colour
    blush: float
    freckles: float
    age: float
    style: str
    hair: Colour
    hairline: float
    parting: float
    volume: float
    iris: Colour
    eye_gap: float
    eye_width: float
    eye_open: float
    eye_slant: float
    gaze: tuple[float, float]
    liner: float
    brow: float
    brow_height: float
    brow_arch: float
    nose_length: float
    nose_width: float
    mouth_width: float
    lips: float
    lipstick: float
    smile: float
    opening: float
    beard: str
    glasses: str
    frame: Colour
    earrings: bool
    clothes: Colour
    collar: str
    stripes: float
    light: tuple[float, float, float]
    ambient: float
    warmth: float
    background: tuple[Colour, Colour]
    scene: str
    exposure: float
    contrast: float


def _one_of(rng: np.random.Generator, names: tuple[str, ...], weights: tuple[float, ...]) -> str:
    place = rng.random() * sum(weights)
    for name, weight in zip(names, weights, strict=True):
        place -= weight
        if place < 0.0:
            return name
    return names[-1]


def _between(rng: np.random.Generator, colours: tuple[Colour, ...], place: float) -> Colour:
    low = min(int(place), len(colours) - 2)
    colour = mix(colours[low], colours[low + 1], place - low)
    jitter = rng.normal(0.0, 0.015, 3)
    return tuple(min(max(c + float(j), 0.02), 1.0) for c, j in zip(colour, jitter, strict=True))  # type: ignore[return-value]


def any_colour(rng: np.random.Generator, low: float = 0.05, high: float = 0.95, vivid: float = 0.6) -> Colour:
    """A colour of random hue, with a random brightness between `low` and `high`."""
    grey = rng.uniform(low, high)
    hue = rng.uniform(0.0, 2.0 * np.pi)
    chroma = vivid * rng.uniform(0.0, 1.0) * min(grey, 1.0 - grey) * 1.4
    return tuple(min(max(float(grey + chroma * np.cos(hue - k * 2.0944)), 0.0), 1.0) for k in range(3))  # type: ignore[return-value]


def sample_person(rng: np.random.Generator) -> Person:
    """Draw a person's traits, always in the same order."""

    def normal(mean: float, deviation: float, low: float, high: float) -> float:
        return min(max(float(rng.normal(mean, deviation)), low), high)

    uniform = rng.uniform
    scale = uniform(0.90, 1.10)
    womanly = rng.random() < 0.55
    tone = float(_one_of(rng, ("0.3", "0.9", "1.5", "2.3", "3.4", "4.5"), (0.20, 0.24, 0.20, 0.13, 0.13, 0.10)))
    tone += uniform(-0.3, 0.4)
    age = float(rng.beta(1.3, 2.2))
    style_weights = (
        (0.5, 1.2, 1.6, 4.0, 1.6, 1.5, 1.5, 0.02, 0.25) if womanly else (4, 3, 1.3, 0.5, 0.2, 1.1, 0.05, 1.1, 0.5)
    )
    fair = tone < 1.9
    hair_place = float(rng.beta(1.1, 1.6)) * 5.0 if fair else float(rng.beta(1.0, 4.0)) * 2.5
    hair = _between(rng, HAIRS[:6], hair_place)
    turn_grey, dyed = rng.random(), rng.random()
    if age > 0.5 and turn_grey < 0.55:
        hair = mix(hair, HAIRS[6 + int(turn_grey < 0.25)], uniform(0.4, 1.0))
    elif dyed < 0.05:
        hair = mix(HAIRS[8], any_colour(rng, 0.3, 0.6, 1.0), uniform(0.0, 0.7))
    side, height = uniform(-1.0, 1.0), uniform(-0.75, -0.1)
    depth = uniform(0.45, 1.0)
    length = float(np.sqrt(side * side + height * height + depth * depth))
    smiling = rng.random() < 0.6
    beards = ("none", "stubble", "moustache", "goatee", "full")
    first = any_colour(rng, 0.03, 0.95, 0.45)
    return Person(
        centre=(normal(0.0, 0.035, -0.1, 0.1), normal(0.06, 0.03, 0.0, 0.13)),
        half=(0.50 * scale * uniform(0.93, 1.07) * (0.97 if womanly else 1.02), 0.685 * scale * uniform(0.96, 1.05)),
        tilt=normal(0.0, 0.10, -0.28, 0.28),
        yaw=normal(0.0, 0.24, -0.58, 0.58),
        pitch=normal(0.0, 0.05, -0.12, 0.12),
        jaw=uniform(0.16, 0.34) if womanly else uniform(0.06, 0.26),
        chin=uniform(2.0, 2.35) if womanly else uniform(2.1, 2.7),
        skin=_between(rng, SKINS, min(max(tone, 0.0), 4.99)),
        blush=uniform(0.2, 1.0),
        freckles=float(rng.random() < 0.15 and fair) * uniform(0.3, 1.0),
        age=age,
        style=_one_of(rng, STYLES, style_weights),
        hair=hair,
        hairline=uniform(-0.70, -0.52),
        parting=float(_one_of(rng, ("-0.42", "0.0", "0.42"), (0.4, 0.2, 0.4))) + uniform(-0.1, 0.1),
        volume=uniform(0.0, 1.0),
        iris=_between(rng, IRISES, uniform(0.0, 5.0) if fair else uniform(0.0, 1.2)),
        eye_gap=uniform(0.40, 0.455),
        eye_width=uniform(0.205, 0.25),
        eye_open=uniform(0.30, 0.48) if rng.random() > 0.03 else 0.05,
        eye_slant=normal(0.06, 0.06, -0.08, 0.2),
        gaze=(normal(0.0, 0.22, -0.5, 0.5), normal(0.0, 0.08, -0.15, 0.2)),
        liner=uniform(0.3, 1.0) if womanly else uniform(0.0, 0.3),
        brow=uniform(0.016, 0.026) if womanly else uniform(0.024, 0.042),
        brow_height=uniform(0.20, 0.27),
        brow_arch=uniform(0.1, 0.55),
        nose_length=uniform(0.30, 0.40),
        nose_width=uniform(0.15, 0.20) if womanly else uniform(0.17, 0.235),
        mouth_width=uniform(0.27, 0.34) + (0.08 if smiling else 0.0),
        lips=uniform(0.055, 0.09) if womanly else uniform(0.035, 0.07),
        lipstick=uniform(0.2, 1.0) if womanly and rng.random() < 0.7 else 0.0,
        smile=uniform(0.35, 1.0) if smiling else uniform(-0.25, 0.3),
        opening=_opening(rng, smiling),
        beard="none" if womanly else _one_of(rng, beards, (4.5, 2.5, 0.6, 1.0, 1.6)),
        glasses=_one_of(rng, ("none", "thin", "thick", "sun"), (8.0, 0.8, 1.0, 0.35)),
        frame=mix((0.05, 0.05, 0.06), any_colour(rng, 0.1, 0.6), float(rng.random() < 0.4)),
        earrings=bool(womanly and rng.random() < 0.4),
        clothes=any_colour(rng, 0.05, 0.9, 0.7),
        collar=_one_of(
            rng, ("round", "vee", "shirt", "suit"), (3.0, 3.0, 2.0, 0.4) if womanly else (2.5, 1.0, 2.0, 3.0)
        ),
        stripes=float(rng.random() < 0.2) * uniform(0.3, 1.0),
        light=(float(side / length), float(height / length), float(depth / length)),
        ambient=uniform(0.30, 0.58),
        warmth=normal(0.02, 0.05, -0.09, 0.14),
        background=(first, mix(first, any_colour(rng, 0.03, 0.95, 0.5), uniform(0.2, 0.9))),
        scene=_one_of(rng, ("gradient", "lights", "panels", "clouds"), (3.0, 2.5, 2.0, 2.5)),
        exposure=normal(1.0, 0.10, 0.75, 1.2),
        contrast=uniform(0.9, 1.2),
    )


def _opening(rng: np.random.Generator, smiling: bool) -> float:
    kind = rng.random()
    if smiling:
        return 0.0 if kind < 0.25 else float(rng.uniform(0.06, 0.11)) if kind < 0.85 else float(rng.uniform(0.12, 0.2))
    return 0.0 if kind < 0.7 else float(rng.uniform(0.02, 0.1))


def darker(colour: Colour, t: float) -> Colour:
    """The colour a share `t` of the way to its own deep shadow."""
    return mix(colour, scaled(colour, 0.25), t)
