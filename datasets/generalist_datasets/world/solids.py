"""Solids: simple 3D bodies and an exact renderer of them.

``render`` casts one ray through the centre of every pixel and solves for where it meets each solid in closed
form (the torus by a search within exact brackets), in float64: depth is right to far less than a millimetre,
normals are those of the surface itself. It runs in numpy, or in torch on a device that knows float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, prod, sin
from typing import Any

import array_api_compat.numpy as numpy_namespace
import numpy as np
from array_api_compat import array_namespace

from generalist.types import GeneralistError
from generalist_datasets.world.intersect import Array, outward
from generalist_datasets.world.rays import Hits, Spans, by_shape, first_hits, screen_boxes, shadowed, sweeps
from generalist_datasets.world.scene import FARTHEST, Camera
from generalist_datasets.world.shading import COLOURS, MATERIAL, TEXTURES, Lighting, Surface, pattern, shade
from generalist_datasets.world.table import Table, pick, tabulate, through

SHAPES = ("sphere", "cube", "cylinder", "cone", "torus", "pyramid", "capsule", "disc", "ellipsoid")
MATERIALS = tuple(MATERIAL)

Turn = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solid:
    """A body in camera axes (x right, y down, z forward, metres), wholly in front of the camera.

    ``half`` = half extents along its own axes. Its y axis is the axis of a cylinder, cone, pyramid, capsule,
    disc or torus; cones and pyramids have their apex at its negative end. Cylinders, cones and discs may be
    elliptic; a sphere uses only the first, a capsule the first two extents; a torus of radius R and tube r has
    (R + r, r, R + r). ``turn`` is the rotation from its own axes to the camera's, row by row.
    """

    shape: str
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    turn: Turn = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    colour: str
    material: str = "matte"
    texture: str = "plain"

    def __post_init__(self) -> None:
        allowed = (("shape", SHAPES), ("colour", COLOURS), ("material", MATERIALS), ("texture", TEXTURES))
        for name, values in allowed:
            if getattr(self, name) not in values:
                raise GeneralistError(f"Solid {name} {getattr(self, name)!r}: choose one of {', '.join(values)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """A far lamp and the light from all around.

    ``towards`` is the unit vector to the lamp (negative y: from above). A white matte surface shows about ``ambient``
    (> 0) in the shadow and up to ``ambient + strength`` in the light; ``colour`` of the lamp, RGB 0-1.
    """

    towards: tuple[float, float, float]
    ambient: float = 0.4
    strength: float = 0.6
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendered:
    """``rgb`` float32 [B, H, W, 3] in 0-255; ``depth`` float32 [B, H, W] in metres, inf where no solid is;
    ``index`` int64 [B, H, W] of the solid within its scene, -1 for none; ``normals`` float32 [B, H, W, 3], unit
    vectors towards the camera's side, 0 where no solid is; ``shadow`` float32 [B, H, W]: the share of the light
    that reaches what is behind the solids, 1 where none stands in its way; ``uncovered``: for each scene, how many
    pixels each of its solids would show alone, int64 in numpy."""

    rgb: Array
    depth: Array
    index: Array
    normals: Array
    shadow: Array
    uncovered: tuple[np.ndarray, ...]


# --- standing on the ground ------------------------------------------------------------------------


def _proportions(rng: np.random.Generator, shape: str) -> tuple[float, float, float]:
    """Half extents of a natural example whose largest extent is 1."""
    wide, flat = rng.uniform(0.26, 0.4), rng.uniform(0.1, 0.15)
    extents: dict[str, tuple[float, float, float]] = {
        "cylinder": (wide, 0.5, wide),
        "cone": (wide, 0.5, wide),
        "torus": (0.5, flat, 0.5),
        "pyramid": (0.5, 0.35 + flat, 0.5),
        "capsule": (0.1 + flat, 0.5, 0.1 + flat),
        "disc": (0.5, flat / 2, 0.5),
        "ellipsoid": (0.5, 0.2 + flat, 0.6 * wide + 0.1),
    }
    return extents.get(shape, (0.5, 0.5, 0.5))


def stand(
    rng: np.random.Generator,
    shape: str,
    *,
    x: float,
    z: float,
    size: float,
    eye: float,
    colour: str,
    material: str = "matte",
    texture: str = "plain",
) -> Solid:
    """A solid whose largest extent is ``size`` metres, resting on the ground ``y = eye`` at (x, z), turned at random.

    Tori stand or lie, capsules too; everything else has its own axis upright.
    """
    half = _proportions(rng, shape)
    half = (half[0] * size, half[1] * size, half[2] * size)
    yaw, tipped = rng.uniform(-pi, pi), shape in ("torus", "capsule") and rng.random() < 0.5
    if tipped and shape == "torus":
        yaw /= 3  # seen from the side the hole would not show
    c, s = cos(yaw), sin(yaw)
    turn: Turn = ((c, 0, s), (0, 1, 0), (-s, 0, c))
    if tipped:  # the own y axis becomes horizontal
        turn = ((c, s, 0), (0, 0, -1), (-s, c, 0))
    height = half[2] if tipped else half[1]
    centre = (x, eye - height, z)
    return Solid(shape=shape, centre=centre, half=half, turn=turn, colour=colour, material=material, texture=texture)


# --- rendering -----------------------------------------------------------------------------------------


def render(
    scenes: Sequence[Sequence[Solid]],
    cameras: Sequence[Camera],
    lights: Sequence[Light],
    behind: Array,
    device: str | None = None,
) -> Rendered:
    """Pictures of solids, one for each scene, over nothing.

    ``behind`` float32 [B, H, W]: depth in metres of what is behind the solids and receives their shadows;
    inf or ``FARTHEST`` for the sky. Solids are drawn whether or not they are nearer than that. ``device``: None
    renders in numpy, otherwise in torch there (not "mps", which has no float64), and returns torch tensors.
    """
    assert len(scenes) == len(cameras) == len(lights) == len(behind), "one camera, light and background a scene"
    xp = _namespace(device)
    behind = xp.asarray(behind, device=device)
    batch, height, width = behind.shape
    made = Rendered(
        rgb=xp.zeros((batch, height, width, 3), dtype=xp.float32, device=device),
        depth=xp.full((batch, height, width), xp.inf, dtype=xp.float32, device=device),
        index=xp.full((batch, height, width), -1, dtype=xp.int64, device=device),
        normals=xp.zeros((batch, height, width, 3), dtype=xp.float32, device=device),
        shadow=xp.ones((batch, height, width), dtype=xp.float32, device=device),
        uncovered=tuple(np.zeros(len(scene), dtype=np.int64) for scene in scenes),
    )
    if any(len(scene) for scene in scenes):
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            table = tabulate(scenes, cameras, lights, width, height)
            _draw(made, table, behind, device)
    return made


def _draw(made: Rendered, host: Table, behind: Array, device: str | None) -> None:
    """Fill in what was rendered; ``host`` is the table in numpy."""
    xp = array_namespace(behind)
    _, height, width = behind.shape
    nearest = xp.min(behind, axis=(1, 2)).tolist()
    shift = sweeps(host, np.array(nearest, dtype=np.float64))
    boxes = screen_boxes(host, None, width, height), screen_boxes(host, shift, width, height)
    spans, swept = (Spans.of(box, host.scene, width, height).moved(xp, device) for box in boxes)
    table = host.moved(xp, device)
    hits, alone = first_hits(table, spans, prod(behind.shape))
    for scene, number, count in zip(host.scene, host.number, alone, strict=True):
        made.uncovered[scene][number] = count
    xp.reshape(made.index, (-1,))[hits.pixel] = table.number[hits.solid]
    xp.reshape(made.depth, (-1,))[hits.pixel] = xp.astype(hits.t, xp.float32)
    normals, rgb = _appearance(table, swept, hits, prod(behind.shape))
    xp.reshape(made.normals, (-1, 3))[hits.pixel] = normals
    xp.reshape(made.rgb, (-1, 3))[hits.pixel] = rgb
    ground = xp.astype(xp.reshape(behind, (-1,)), xp.float64)
    at, solid = shadowed(table, swept, xp.where(ground < FARTHEST, ground, xp.inf), None)
    xp.reshape(made.shadow, (-1,))[at] = table.ambient[solid] / (table.ambient[solid] + table.strength[solid])


def _namespace(device: str | None) -> Any:
    if device is None:
        return numpy_namespace
    import array_api_compat.torch as torch_namespace

    return torch_namespace


def _appearance(table: Table, swept: Spans, hits: Hits, pixels: int) -> tuple[Array, Array]:
    """(normals, colours in 0-255) of P pixels that show a solid: float32 [P, 3] each."""
    xp = array_namespace(hits.t)
    at = hits.solid
    p = pick(table.origin, at) + through(pick(table.pixel_to_local, at), hits.column, hits.row) * hits.t
    outwards = xp.empty_like(p)
    for shape, run in by_shape(table, at):
        outwards[:, run] = outward(shape, p[:, run], table.ratio[at[run]])
    turn = pick(table.normal_to_camera, at)
    normal = _unit(turn[:, 0] * outwards[0] + turn[:, 1] * outwards[1] + turn[:, 2] * outwards[2])
    view = _unit(-through(pick(table.pixel_to_camera, at), hits.column, hits.row))
    towards = pick(table.light, at)

    # what faces away from the light is dark already and casts no shadow on itself
    faces = (normal * towards).sum(axis=0) > 0
    depth = xp.full((pixels,), xp.inf, dtype=xp.float64, device=p.device)
    depth[hits.pixel] = xp.where(faces, hits.t, xp.inf)
    shown = xp.zeros((pixels,), dtype=xp.int64, device=p.device)
    shown[hits.pixel] = at
    hidden = xp.zeros((pixels,), dtype=xp.bool, device=p.device)
    hidden[shadowed(table, swept, depth, shown)[0]] = True

    normal, view, towards, p = (
        xp.astype(v, xp.float32) for v in (normal, view, towards, p * pick(table.local_to_box, at))
    )
    second, tones = pattern(p, table.texture[at]), pick(table.colours, at)
    surface = Surface(
        colour=xp.where(second, tones[3:], tones[:3]), material=pick(table.material, at), normal=normal, view=view
    )
    direct = xp.where(hidden[hits.pixel], 0.0, table.strength[at])
    lighting = Lighting(towards=towards, colour=pick(table.lamp, at), ambient=table.ambient[at], direct=direct)
    return normal.T, 255 * shade(surface, lighting).T


def _unit(v: Array) -> Array:
    return v / array_namespace(v).sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
