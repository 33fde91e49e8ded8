"""The solids of many scenes as arrays, with all that the renderer needs to know of each.

Shape legend: S solids of all scenes, sorted by shape; P pixels; H, W image height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import array_namespace

from generalist_datasets.world.intersect import CONVEX, Array
from generalist_datasets.world.scene import Camera
from generalist_datasets.world.shading import MATERIAL, TEXTURES, tones

if TYPE_CHECKING:
    from generalist_datasets.world.solids import Light, Solid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """One column for each solid; geometry is float64, looks are float32.

    A ray of a pixel (column i, row j) has the direction ``pixel_to_local`` (i, j, 1) from ``origin`` in a
    solid's own axes (as ``intersect`` has them), and ``pixel_to_camera`` (i, j, 1) from 0 in the camera's.
    """

    shapes: tuple[tuple[str, int], ...]  # (shape, its last solid + 1)
    scene: Array  # int64 [S]
    number: Array  # int64 [S], within its scene
    pixel_to_local: Array  # [3, 3, S]
    pixel_to_camera: Array  # [3, 3, S]
    normal_to_camera: Array  # [3, 3, S]
    origin: Array  # [3, S]
    ratio: Array  # [S]
    convex: Array  # bool [S]
    local_to_box: Array  # [3, S], scales a point to -1 to 1 within the solid's extents
    centre: Array  # [3, S], metres, camera axes, as all that follow
    edges: Array  # [3, 3, S], the half axes of its box
    radius: Array  # [S], of its bounding ball
    eye: Array  # [S], the camera's height
    light: Array  # [3, S], unit, towards the light
    light_local: Array  # [3, S], the same in the solid's own axes
    ambient: Array  # [S]
    strength: Array  # [S]
    lamp: Array  # [3, S], the light's colour, 0-1
    colours: Array  # [6, S], two tones of three channels, 0-1
    material: Array  # [4, S]
    texture: Array  # int64 [S]

    def moved(self, xp: Any, device: str | None) -> Table:
        """The same on another backend."""
        names = [f.name for f in fields(self) if f.name != "shapes"]
        return replace(self, **{name: xp.asarray(getattr(self, name), device=device) for name in names})


def pick(columns: Array, at: Array) -> Array:
    """``columns[..., at]``, which numpy does faster by ``take``."""
    return array_namespace(columns).take(columns, at, axis=columns.ndim - 1)


def through(matrix: Array, column: Array, row: Array) -> Array:
    """``matrix`` (i, j, 1) of P pixels, for [3, 3, P] or [3, 3, 1]: [3, P]."""
    return matrix[:, 0] * column + matrix[:, 1] * row + matrix[:, 2]


def tabulate(
    scenes: Sequence[Sequence[Solid]],
    cameras: Sequence[Camera],
    lights: Sequence[Light],
    width: int,
    height: int,
) -> Table:
    """The solids of all scenes in numpy."""
    flat = [(k, n, solid) for k, scene in enumerate(scenes) for n, solid in enumerate(scene)]
    flat.sort(key=lambda entry: entry[2].shape)
    scene = np.array([k for k, _, _ in flat], dtype=np.int64)
    solids = [solid for _, _, solid in flat]
    unit, ratio, half, radius = (_column(values) for values in zip(*map(_measures, solids), strict=True))
    turn, centre = _column([s.turn for s in solids]), _column([s.centre for s in solids])
    light = _column([light.towards for light in lights])[:, scene]
    to_camera = _column([_pixel_to_camera(camera, width, height) for camera in cameras])[:, :, scene]
    shrink = turn.transpose(1, 0, 2) / unit[:, None]  # from the camera's to its own axes
    names = [s.shape for s in solids]
    return Table(
        shapes=tuple((shape, len(names) - names[::-1].index(shape)) for shape in dict.fromkeys(names)),
        scene=scene,
        number=np.array([n for _, n, _ in flat], dtype=np.int64),
        pixel_to_local=_product(shrink, to_camera),
        pixel_to_camera=to_camera,
        normal_to_camera=np.ascontiguousarray(shrink.transpose(1, 0, 2)),
        origin=-_product(shrink, centre),
        ratio=ratio,
        convex=np.array([shape in CONVEX for shape in names]),
        local_to_box=unit / half,
        centre=centre,
        edges=turn * half,
        radius=radius,
        eye=_column([camera.eye for camera in cameras])[scene],
        light=light,
        light_local=_product(shrink, light),
        ambient=_column([light.ambient for light in lights])[scene].astype(np.float32),
        strength=_column([light.strength for light in lights])[scene].astype(np.float32),
        lamp=_column([light.colour for light in lights])[:, scene].astype(np.float32),
        colours=_column([tones(s.colour) for s in solids]).astype(np.float32),
        material=_column([MATERIAL[s.material] for s in solids]).astype(np.float32),
        texture=np.array([TEXTURES.index(s.texture) for s in solids], dtype=np.int64),
    )


def _column(values: Sequence[Any]) -> np.ndarray:
    """float64 with the list's axis last."""
    return np.ascontiguousarray(np.moveaxis(np.array(values, dtype=np.float64), 0, -1))


def _product(matrix: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Matrix products of [3, 3, S] with [3, 3, S] or [3, S]."""
    return np.einsum("abs,b...s->a...s", matrix, other)


def _measures(solid: Solid) -> tuple[tuple[float, ...], float, tuple[float, ...], float]:
    """(the units of ``intersect`` along its axes in metres, ratio, half extents, radius of the bounding ball)."""
    x, y, z = solid.half
    match solid.shape:
        case "sphere":
            return (x, x, x), 0.0, (x, x, x), x
        case "capsule":
            return (x, x, x), (y - x) / x, (x, y, x), y
        case "torus":
            return (x - y, x - y, x - y), y / (x - y), (x, y, x), x
        case "ellipsoid":
            return (x, y, z), 0.0, (x, y, z), max(x, y, z)
        case "cube" | "pyramid":
            return (x, y, z), 0.0, (x, y, z), (x * x + y * y + z * z) ** 0.5
    return (x, y, z), 0.0, (x, y, z), (max(x, z) ** 2 + y * y) ** 0.5


def _pixel_to_camera(camera: Camera, width: int, height: int) -> list[list[float]]:
    """Takes (i, j, 1) to a point at depth 1 that the centre of pixel (i, j) shows."""
    (fx, fy), (cx, cy) = camera.focal, camera.centre
    across = [1 / (width * fx), 0.0, (0.5 / width - cx) / fx]
    return [across, [0.0, 1 / (height * fy), (0.5 / height - cy) / fy], [0.0, 0.0, 1.0]]
