"""A person on a canvas, and the coordinates that their head is drawn in."""

import math
from dataclasses import dataclass

import numpy as np

from flowsearch.data.canvas import (
    Canvas,
    Plane,
    Window,
    smoothstep,
)
from flowsearch.data.people import Person


@dataclass
class Sitter:
    """A person on a canvas: the coordinates that their head is drawn in.

    `p, q`: tilted, in units of the head's half width and half height, 1 at its outline. `u, v`: the same turned by yaw
    and pitch, so that features sit at fixed places of (u, v) and are foreshortened. `outline`: signed distance to the
    head. `head`: the window that holds it.
    """

    person: Person
    canvas: Canvas
    rng: np.random.Generator

    def __post_init__(self) -> None:
        person, canvas = self.person, self.canvas
        cos, sin = math.cos(person.tilt), math.sin(person.tilt)
        dx, dy = canvas.x - (person.centre[0]), canvas.y - (person.centre[1])
        width, height = person.half
        self.p: Plane = (dx * cos + dy * sin) * (1.0 / width)
        self.q: Plane = (dy * cos - dx * sin) * (1.0 / height)
        narrow = 1.0 - person.jaw * smoothstep(-0.1, 1.1, self.q)
        across = np.abs(self.p - (0.10 * person.yaw) * smoothstep(-0.3, 1.0, self.q)) / narrow
        power = person.chin
        radius = (across**power + np.abs(self.q) ** power) ** (1.0 / person.chin)
        self.radius: Plane = radius
        self.outline: Plane = (radius - 1.0) * width
        self.dome: Plane = np.sqrt(np.maximum(1.0 - radius * radius * 0.94, 0.0))
        turn_cos, turn_sin = math.cos(person.yaw), math.sin(person.yaw) * 0.75
        self.u: Plane = self.p * turn_cos - self.dome * turn_sin
        self.v: Plane = self.q - person.pitch * self.dome

        reach = float(np.hypot(width * sin, height * cos)), float(np.hypot(width * cos, height * sin))
        self.head: Window = canvas.window(*person.centre, reach[1] + 0.03, reach[0] + 0.03)

    def offset(self) -> tuple[float, float]:
        """A place in the noise textures."""
        a, b = self.rng.random(2)
        return float(a), float(b)

    def window(self, u: float, v: float, rx: float, ry: float) -> Window:
        """The part of the canvas around (u, v), with a margin for the turn of the head; radii in units of the head."""
        person = self.person
        p = math.sin(math.asin(min(max(u, -0.95), 0.95)) + 0.75 * person.yaw)
        q = v + person.pitch
        x, y = p * person.half[0], q * person.half[1]
        cx = person.centre[0] + x * math.cos(person.tilt) - y * math.sin(person.tilt)
        cy = person.centre[1] + y * math.cos(person.tilt) + x * math.sin(person.tilt)
        reach = (rx + 0.07) * person.half[0], (ry + 0.07) * person.half[1]
        lean = abs(math.sin(person.tilt))
        return self.canvas.window(float(cx), float(cy), reach[0] + lean * reach[1], reach[1] + lean * reach[0])
