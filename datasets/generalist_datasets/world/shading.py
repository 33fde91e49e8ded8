"""What a lit surface looks like: materials and textures.

Shape legend: P points; colours float32 [3, P] in 0-1.
"""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from generalist_datasets.world.intersect import Array

SKY = (0.80, 0.88, 1.0)
GROUND = (0.34, 0.31, 0.28)
"""What polished surfaces mirror above and below the horizon."""

MATERIAL: dict[str, tuple[float, float, float, float]] = {
    "matte": (1.0, 0.0, 0.0, 0.0),
    "glossy": (0.95, 0.75, 0.12, 0.0),
    "metal": (0.30, 0.90, 0.80, 1.0),
}
"""(diffuse, highlight, mirror, how much of the surface's own colour tints the highlight and the mirror image)."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (208, 36, 36),
    "orange": (244, 130, 20),
    "yellow": (248, 218, 44),
    "green": (44, 152, 58),
    "cyan": (52, 206, 220),
    "blue": (38, 78, 208),
    "purple": (124, 50, 172),
    "pink": (248, 138, 186),
    "brown": (118, 72, 36),
    "white": (244, 244, 244),
    "grey": (132, 132, 132),
    "black": (30, 30, 32),
}

TEXTURES = ("plain", "striped", "checked", "spotted")


def tones(colour: str) -> tuple[float, ...]:
    """RGB in 0-1 of a colour and of its second tone in a texture, which is darker, or lighter for a dark colour."""
    own = COLOURS[colour]
    bright = 0.3 * own[0] + 0.59 * own[1] + 0.11 * own[2] > 75
    return tuple(c / 255 for c in (*own, *(c * 0.45 if bright else c + (255 - c) * 0.5 for c in own)))


def pattern(p: Array, texture: Array) -> Array:
    """Where the second tone is, bool [P]; ``p`` [3, P] in -1 to 1 within the solid's box, ``texture`` int [P]
    indexes ``TEXTURES``."""
    xp = array_namespace(p)
    # bands lie askew, so that they cross every face
    striped = xp.floor(2.4 * (0.45 * p[0] + p[1] + 0.3 * p[2]) + 0.13) % 2 == 0
    a, b = _on_faces(p)
    checked = (xp.floor(2 * a) + xp.floor(2 * b)) % 2 == 0
    a, b = 1.5 * (a + 1) % 1 - 0.5, 1.5 * (b + 1) % 1 - 0.5
    spotted = a * a + b * b < 0.09
    return ((texture == 1) & striped) | ((texture == 2) & checked) | ((texture == 3) & spotted)


def _on_faces(p: Array) -> tuple[Array, Array]:
    """Points seen from the centre on the faces of the cube around it: two coordinates in -1 to 1."""
    xp = array_namespace(p)
    x, y, z = p[0], p[1], p[2]
    size = abs(p)
    on_y = (size[1] >= size[0]) & (size[1] >= size[2])
    on_x = ~on_y & (size[0] >= size[2])
    depth = xp.maximum(xp.maximum(size[0], size[1]), xp.maximum(size[2], xp.full_like(x, 1e-6)))
    return xp.where(on_x, z, x) / depth, xp.where(on_y, z, y) / depth


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surface:
    """Points to shade: ``colour`` [3, P] in 0-1; ``material`` [4, P], columns of ``MATERIAL``; unit vectors
    ``normal`` and ``view`` (towards the camera) [3, P]."""

    colour: Array
    material: Array
    normal: Array
    view: Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lighting:
    """The light at the same points: ``towards`` unit [3, P], its ``colour`` [3, P], the strengths ``ambient`` and
    ``direct`` [P], the latter 0 where something stands in the way."""

    towards: Array
    colour: Array
    ambient: Array
    direct: Array


def _dot(a: Array, b: Array) -> Array:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def shade(surface: Surface, light: Lighting) -> Array:
    """Colours as seen: Lambert, a Blinn-Phong highlight, and a mirror image of a plain sky and ground."""
    xp = array_namespace(surface.colour)
    normal, view = surface.normal, surface.view
    diffuse, highlight, mirror, tint = surface.material
    facing = xp.clip(_dot(normal, light.towards), 0.0, 1.0)
    # the sky above gives more than the ground below; what is seen at a slant is darker, so that shaded sides are round
    around = light.ambient * (0.75 + 0.25 * _dot(normal, view) - 0.15 * normal[1])
    middle = view + light.towards
    shine = xp.clip(_dot(normal, middle), 0.0, xp.inf) / xp.sqrt(_dot(middle, middle) + 1e-9)
    for _ in range(5):  # to the power of 32; repeated squares are the same on every backend
        shine = shine * shine
    shine = shine * highlight * light.direct * (facing > 0)
    up = 2 * _dot(normal, view) * normal[1] - view[1]
    sky = xp.clip(0.5 - 3 * up, 0.0, 1.0)
    out = []
    for channel in range(3):
        own = surface.colour[channel]
        tinted = 1 + tint * (own - 1)
        seen = GROUND[channel] + (SKY[channel] - GROUND[channel]) * sky
        lit = own * diffuse * (around + light.direct * facing * light.colour[channel])
        out.append(
            lit + tinted * (mirror * seen * (light.ambient + 0.5 * light.direct) + shine * light.colour[channel])
        )
    return xp.clip(xp.stack(out), 0.0, 1.0)
