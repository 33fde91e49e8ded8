"""What stands behind and under the things: whole photographs, or grounds, rooms and skies with exact depth.

Everything except a whole photograph is made of planes, so its depth is exact: the floor ``y = eye``, a back
wall, side walls and a ceiling of a room, and the sky at ``FARTHEST``. Walls and floors carry procedural
textures or photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from generalist_datasets.assets import fetch
from generalist_datasets.world.scene import FARTHEST, SURFACES, Camera
from generalist_datasets.world.textures import TEXTURE_SIDE, random_colour, tinted

PhotoSplit = Literal["train", "test"]

_PACKAGES = ("mate-backgrounds", "plasma-wallpapers", "gnome-backgrounds")
_SHOWING_THINGS = frozenset(
    {"Autumn", "EveningGlow", "FlyingKonqui", "Kite", "LadyBird", "SafeLanding", "pixels-d", "pixels-l"}
)
"""Pictures that show what may be asked about: "there is no kite" would be wrong."""
_SHORT_SIDE = 480
_TEST_EVERY = 5
_FOCAL = 1.1
"""In picture heights of a square picture: a field of view of 49 degrees."""

# What each number of a map of planes means: its surface and its normal, towards the camera.
_NOWHERE, _FLOOR, _BACK, _LEFT, _RIGHT, _CEILING, _SKY = range(7)
_SURFACE_OF_PLANE = np.zeros(256, np.uint8)
_SURFACE_OF_PLANE[:7] = [SURFACES.index(n) for n in ("photo", "floor", "wall", "wall", "wall", "ceiling", "sky")]
_NORMALS = np.array(
    [(0, 0, 0), (0, -1, 0), (0, 0, -1), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, 0, 0)], np.float32
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Backdrop:
    """A scene before things come in.

    ``image`` uint8 [H, W, 3]; ``planes`` uint8 [H, W]; ``depth`` float32 [H, W] of the planes (of an imagined
    ground where ``known`` is False); ``reach``: how far away in metres a thing may stand; ``pictured``: whether it
    is a photograph, or one hangs on its back wall.
    """

    image: np.ndarray
    planes: np.ndarray
    depth: np.ndarray
    camera: Camera
    known: bool
    reach: float
    pictured: bool

    @property
    def surfaces(self) -> np.ndarray:
        """uint8 [H, W], indexes ``SURFACES``."""
        return cv2.LUT(self.planes, _SURFACE_OF_PLANE)

    def normals(self) -> np.ndarray:
        """float32 [H, W, 3]."""
        return _NORMALS[self.planes]


def photo_files() -> tuple[Path, ...]:
    """The largest version of every background photograph, in a fixed order."""
    largest: dict[Path, Path] = {}
    for key in _PACKAGES:
        root = fetch(key)
        for path in sorted(p for p in root.rglob("*") if p.suffix in {".jpg", ".png", ".webp"}):
            if "screenshot" in path.name or path.stat().st_size < 60_000:
                continue
            # Plasma keeps one folder of sizes a picture; the others keep one file a picture.
            picture = path.parent if path.parent.name.startswith("images") else path
            if picture not in largest or path.stat().st_size > largest[picture].stat().st_size:
                largest[picture] = path
    return tuple(largest.values())


def load_photos(split: PhotoSplit) -> tuple[np.ndarray, ...]:
    """Photographs of a split, uint8 RGB, scaled to a short side of 480 pixels.

    One in five is kept for testing and never trained on.
    """
    photos = []
    for number, path in enumerate(photo_files()):
        shows_things = path.stem in _SHOWING_THINGS or path.parents[2].name in _SHOWING_THINGS
        if shows_things or (number % _TEST_EVERY == 0) != (split == "test"):
            continue
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if photo is None:
            continue
        scale = _SHORT_SIDE / min(photo.shape[:2])
        size = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
        photos.append(np.ascontiguousarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA)[..., ::-1]))
    return tuple(photos)


def photo_crop(rng: np.random.Generator, photos: tuple[np.ndarray, ...], width: int, height: int) -> np.ndarray:
    """A random crop of a random photograph, uint8 [height, width, 3]; often mirrored."""
    photo = photos[rng.integers(len(photos))]
    side = int(min(photo.shape[:2]) * rng.uniform(0.4, 1.0))
    top = int(rng.integers(photo.shape[0] - side + 1))
    left = int(rng.integers(photo.shape[1] - side + 1))
    # Bilinear sampling does not skip pixels up to a half, and costs a third of averaging areas.
    interpolation = cv2.INTER_AREA if side > 2 * min(width, height) else cv2.INTER_LINEAR
    crop = cv2.resize(photo[top : top + side, left : left + side], (width, height), interpolation=interpolation)
    return cv2.flip(crop, 1) if rng.random() < 0.5 else crop


def backdrop(
    rng: np.random.Generator,
    textures: tuple[np.ndarray, ...],
    photos: tuple[np.ndarray, ...],
    *,
    width: int,
    height: int,
    aspect: float,
) -> Backdrop:
    """A photograph (two in five, when there are any), a room, or open ground under a sky."""
    camera = _camera(rng, aspect)
    if photos and rng.random() < 0.4:
        planes = np.full((height, width), _NOWHERE, np.uint8)
        depth = _ground(camera, height)
        depth = np.repeat(depth, width, axis=1)
        image = photo_crop(rng, photos, width, height)
        return Backdrop(image=image, planes=planes, depth=depth, camera=camera, known=False, reach=12.0, pictured=True)
    return _planes(rng, textures, photos, camera, width, height)


def _camera(rng: np.random.Generator, aspect: float) -> Camera:
    """Eye height and lens hardly vary: metres could not be told from a picture otherwise."""
    stretch = float(np.sqrt(aspect))
    return Camera(
        focal=(_FOCAL / stretch, _FOCAL * stretch),
        centre=(float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.18, 0.5))),
        eye=float(rng.uniform(1.05, 1.25)),
    )


def _ground(camera: Camera, height: int) -> np.ndarray:
    """Depth of the ground by row, float32 [height, 1]; ``FARTHEST`` above the horizon."""
    below = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height - camera.horizon
    least = camera.focal[1] * camera.eye / FARTHEST
    return np.where(below > least, camera.focal[1] * camera.eye / np.maximum(below, least), FARTHEST).astype(np.float32)


def _planes(
    rng: np.random.Generator,
    textures: tuple[np.ndarray, ...],
    photos: tuple[np.ndarray, ...],
    camera: Camera,
    width: int,
    height: int,
) -> Backdrop:
    """Floor and sky, or a room: at every pixel the nearest plane."""
    floor = _ground(camera, height)
    room = rng.random() < 0.6
    reach = float(rng.uniform(3.5, 9.0)) if room else 14.0
    half = float(rng.uniform(1.6, 4.0)) if room and rng.random() < 0.5 else np.inf
    ceiling = float(rng.uniform(1.2, 2.2)) if room and rng.random() < 0.4 else np.inf
    u = (np.arange(width, dtype=np.float32)[None] + 0.5) / width - camera.centre[0]
    v = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height - camera.centre[1]
    # Floor, back wall and sky lie in whole rows.
    rows = np.minimum(floor, reach) if room else floor
    kinds = np.where(floor <= rows, _FLOOR, _BACK) if room else np.where(floor < FARTHEST, _FLOOR, _SKY)
    depth = np.repeat(rows, width, axis=1)
    planes = np.repeat(kinds.astype(np.uint8), width, axis=1)
    for plane, limit, ahead in (
        (_LEFT, half, -u / camera.focal[0]),
        (_RIGHT, half, u / camera.focal[0]),
        (_CEILING, ceiling, -v / camera.focal[1]),
    ):
        if np.isfinite(limit):
            distance = np.where(ahead > 1e-4, limit / np.maximum(ahead, 1e-4), np.inf).astype(np.float32)
            np.copyto(planes, np.uint8(plane), where=distance < depth)
            np.minimum(depth, distance, out=depth)
    image = np.empty((height, width, 3), np.uint8)
    limits = (reach, half, ceiling)
    pictured = [
        _paint(rng, plane, image, planes == plane, textures, photos, camera, limits)
        for plane in range(_FLOOR, _SKY + 1)
    ]
    return Backdrop(
        image=image, planes=planes, depth=depth, camera=camera, known=True, reach=reach, pictured=any(pictured)
    )


def _paint(
    rng: np.random.Generator,
    plane: int,
    image: np.ndarray,
    where: np.ndarray,
    textures: tuple[np.ndarray, ...],
    photos: tuple[np.ndarray, ...],
    camera: Camera,
    limits: tuple[float, float, float],
) -> bool:
    """Cover the pixels ``where`` of a plane, in place; whether it now shows a photograph as one sees it.

    Elsewhere than on the back wall photographs are mere textures: mirrored, and slanted.
    """
    height, width = where.shape
    left, top, across, down = cv2.boundingRect(where.view(np.uint8))
    if not across:
        return False
    pictured = plane == _BACK and bool(photos) and rng.random() < 0.4
    if plane == _SKY:
        cover = _sky(rng, across, down)
    elif pictured:
        cover = photo_crop(rng, photos, across, down)
    else:
        scale = TEXTURE_SIDE / float(rng.uniform(0.8, 3.0))  # texels a metre
        matrix = _texture_of_pixel(plane, camera, limits, width, height, scale)
        matrix = matrix @ np.array([[1, 0, left], [0, 1, top], [0, 0, 1]])
        photo = bool(photos) and rng.random() < 0.2
        texture = (
            _mirrored(photo_crop(rng, photos, TEXTURE_SIDE // 2, TEXTURE_SIDE // 2))
            if photo
            else (textures[int(rng.integers(len(textures)))])
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cover = cv2.warpPerspective(texture, matrix, (across, down), flags=flags, borderMode=cv2.BORDER_WRAP)
        if not photo:
            cover = tinted(rng, cover)
    window = (slice(top, top + down), slice(left, left + across))
    image[window] = cv2.copyTo(cover, where.view(np.uint8)[window], image[window])
    return pictured


def _mirrored(picture: np.ndarray) -> np.ndarray:
    """Four mirror images in a square repeat without seams."""
    half = np.concatenate([picture, picture[:, ::-1]], axis=1)
    return np.concatenate([half, half[::-1]], axis=0)


def _sky(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A vertical gradient between two colours."""
    top, bottom = random_colour(rng), random_colour(rng)
    blend = np.linspace(0, 1, height)[:, None]
    column = (top * (1 - blend) + bottom * blend).astype(np.uint8)
    return np.repeat(column[:, None], width, axis=1)


def _texture_of_pixel(
    plane: int, camera: Camera, limits: tuple[float, float, float], width: int, height: int, scale: float
) -> np.ndarray:
    """Homography from pixels to texels of a plane, float64 [3, 3].

    A ray is R (u, v, 1) with R below; it meets the plane n . p = d at depth d / (n . ray), where two of its
    metres are the texture's coordinates.
    """
    fx, fy = camera.focal
    ray = np.array([
        [1 / (fx * width), 0, (0.5 / width - camera.centre[0]) / fx],
        [0, 1 / (fy * height), (0.5 / height - camera.centre[1]) / fy],
        [0, 0, 1],
    ])  # fmt: skip
    reach, half, ceiling = limits
    x, y, z = ray
    across, along, facing, distance = {
        _FLOOR: (x, z, y, camera.eye),
        _BACK: (x, y, z, reach),
        _LEFT: (z, y, -x, half),
        _RIGHT: (z, y, x, half),
        _CEILING: (x, z, -y, ceiling),
    }[plane]
    return np.stack([across * distance * scale, along * distance * scale, facing])
