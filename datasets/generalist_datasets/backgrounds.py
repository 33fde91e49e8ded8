"""What stands behind the things: photographs with free licences, and procedural rooms and grounds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from generalist_datasets.assets import fetch

Split = Literal["train", "test"]

_PACKAGES = ("mate-backgrounds", "plasma-wallpapers", "gnome-backgrounds")
_SHORT_SIDE = 480
_TEST_EVERY = 5


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


def load_photos(split: Split) -> tuple[np.ndarray, ...]:
    """Photographs of a split, uint8 RGB, scaled to a short side of 480 pixels.

    One in five is kept for testing and never trained on.
    """
    photos = []
    for number, path in enumerate(photo_files()):
        if (number % _TEST_EVERY == 0) != (split == "test"):
            continue
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if photo is None:
            continue
        scale = _SHORT_SIDE / min(photo.shape[:2])
        size = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
        photos.append(np.ascontiguousarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA)[..., ::-1]))
    return tuple(photos)


def photo_crop(rng: np.random.Generator, photos: tuple[np.ndarray, ...], width: int, height: int) -> np.ndarray:
    """A random crop of a random photograph, float32 [height, width, 3]; often mirrored."""
    photo = photos[rng.integers(len(photos))]
    side = int(min(photo.shape[:2]) * rng.uniform(0.4, 1.0))
    top = int(rng.integers(photo.shape[0] - side + 1))
    left = int(rng.integers(photo.shape[1] - side + 1))
    interpolation = cv2.INTER_AREA if side > max(width, height) else cv2.INTER_LINEAR
    crop = cv2.resize(photo[top : top + side, left : left + side], (width, height), interpolation=interpolation)
    return (crop[:, ::-1] if rng.random() < 0.5 else crop).astype(np.float32)


def procedural(rng: np.random.Generator, width: int, height: int, horizon: float) -> np.ndarray:
    """A wall and a ground that meet at ``horizon`` (0-1 from the top), float32 [height, width, 3]."""
    y = (np.arange(height, dtype=np.float32)[:, None, None] + 0.5) / height
    wall, ground = rng.uniform(30, 255, (2, 3)).astype(np.float32)
    below = (y - horizon) / (1 - horizon)
    picture = np.where(y < horizon, wall * (1 - 0.3 * y), ground * (0.55 + 0.45 * below))
    picture = np.broadcast_to(picture, (height, width, 3)).astype(np.float32).copy()
    if rng.random() < 0.5:
        picture += _texture(rng, width, height)
    if rng.random() < 0.4:
        _tile(rng, picture, horizon)
    return picture


def _texture(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Smooth colour noise at a random scale."""
    grain = int(rng.choice([2, 4, 8, 16]))
    noise = rng.standard_normal((max(2, height // grain), max(2, width // grain), 3), dtype=np.float32)
    return cv2.resize(noise * np.float32(rng.uniform(2, 22)), (width, height), interpolation=cv2.INTER_LINEAR)


def _tile(rng: np.random.Generator, picture: np.ndarray, horizon: float) -> None:
    """Chequer the ground in perspective, in place."""
    height, width = picture.shape[:2]
    first = int(horizon * height) + 1
    y = (np.arange(first, height, dtype=np.float32)[:, None] + 0.5) / height
    x = (np.arange(width, dtype=np.float32)[None] + 0.5) / width - 0.5
    distance = 1.0 / np.maximum(y - horizon, 0.02)
    tiles = np.floor(distance * rng.uniform(0.5, 2)) + np.floor(x * distance * rng.uniform(1, 3))
    picture[first:] *= np.where(tiles % 2 == 0, 1.0, rng.uniform(0.6, 0.95))[..., None].astype(np.float32)
