"""What a composed scene is: a picture and everything true of it.

Camera: at the origin, x right, y down, z forward, metres, no tilt; the horizon is moved by shifting the
principal point. So upright cut-outs that face the camera have one depth, and the ground is the plane
``y = camera.eye``. Depth is along z, as depth cameras and benchmarks have it.

Shape legend: H, W image height and width; K things, at most ``MAX_THINGS``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

MAX_THINGS = 8
FARTHEST = 40.0
"""Metres; where the sky is."""

Style = Literal["fluent", "twemoji", "noto", "solid"]
Size = Literal["small", "large"]

SURFACES: tuple[str, ...] = ("photo", "floor", "wall", "sky", "ceiling")
"""What ``Scene.surfaces`` counts: what is behind and under the things."""
REMNANT = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """A pinhole camera.

    ``focal`` = (fx, fy) in image widths and heights: a pixel at (u, v) in 0-1 looks along
    ((u - centre[0]) / fx, (v - centre[1]) / fy, 1). ``centre[1]`` is the horizon; ``eye`` the height above
    the ground in metres.
    """

    focal: tuple[float, float]
    centre: tuple[float, float]
    eye: float

    @property
    def horizon(self) -> float:
        """Row of the horizon, 0-1 from the top."""
        return self.centre[1]

    def ground_depth(self, v: float) -> float:
        """Metres along z of the ground at row ``v`` (0-1), which lies below the horizon."""
        return self.focal[1] * self.eye / (v - self.centre[1])

    def project(self, xyz: tuple[float, float, float]) -> tuple[float, float]:
        """Where a point before the camera appears, in 0-1."""
        x, y, z = xyz
        return self.focal[0] * x / z + self.centre[0], self.focal[1] * y / z + self.centre[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A visible thing.

    ``concept`` indexes the names of the world (``concepts.CONCEPTS``); ``xyxy`` in 0-1 bounds its visible
    pixels exactly; ``distance`` is the depth in metres of its nearest visible pixel. Solids also have a
    ``colour``, a ``material``, a ``texture`` and a ``size``; sprites have none of them ("").
    """

    concept: int
    xyxy: tuple[float, float, float, float]
    distance: float
    style: Style = "fluent"
    colour: str = ""
    material: str = ""
    texture: str = ""
    size: Size | Literal[""] = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A picture and everything true of it.

    ``image`` uint8 [H, W, 3]; ``instances`` uint8 [H, W], 0 = background, k = ``things[k - 1]`` (only pixels
    that are visible); ``surfaces`` uint8 [H, W] indexes ``SURFACES`` (what is there, or behind the thing that
    is there), ``REMNANT`` on what is too small or too hidden to be called a thing; ``depth`` float32 [H, W] in
    metres, None on a whole photograph, whose depth nobody knows; ``normals`` float32 [H, W, 3], unit vectors
    towards the camera in camera axes (0 for the sky), None when they were not asked for or the depth is unknown.
    Things are ordered from left to right by the centre of their box.

    ``hidden``: concepts of what shows as a ``REMNANT`` only: nobody may say that they are not there, or how many.
    ``pictured``: whether a photograph stands behind the things, whole or on the back wall; what it shows nobody knows.
    """

    image: np.ndarray
    instances: np.ndarray
    surfaces: np.ndarray
    depth: np.ndarray | None
    things: tuple[Thing, ...]
    camera: Camera
    normals: np.ndarray | None = None
    hidden: tuple[int, ...] = ()
    pictured: bool = False

    def mask(self, index: int) -> np.ndarray:
        """Visible pixels of ``things[index]``, bool [H, W]."""
        return self.instances == index + 1

    def surface_mask(self, name: str) -> np.ndarray:
        """Visible pixels of a surface, bool [H, W]."""
        return (self.surfaces == SURFACES.index(name)) & (self.instances == 0)
