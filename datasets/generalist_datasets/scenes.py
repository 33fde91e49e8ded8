"""Composed scenes, first version: upright sprites on a ground, with exact boxes, masks and 2.5-D depth.

Shape legend: H, W image height and width; K things, at most ``MAX_THINGS``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from generalist_datasets.backgrounds import Split, load_photos, photo_crop, procedural
from generalist_datasets.concepts import concept_names
from generalist_datasets.sprites import Sprite, load_sprites

MAX_THINGS = 6
NEAREST, FARTHEST = 1.0, 10.0
_PHOTO_HORIZON = 0.38
_MIN_VISIBLE_PIXELS = 60 / 192**2
_MIN_VISIBLE_SHARE = 0.4

cv2.setNumThreads(1)  # composing runs in worker processes, one a core


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """A visible thing: ``concept`` indexes ``concept_names()``, ``xyxy`` in 0-1, ``distance`` in metres."""

    concept: int
    xyxy: tuple[float, float, float, float]
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A picture and everything true of it.

    ``image`` uint8 [H, W, 3]; ``instances`` uint8 [H, W], 0 = background, k = ``things[k - 1]``
    (only pixels that are visible); ``depth`` float32 [H, W] in metres.
    Things are ordered from left to right by the centre of their box.
    """

    image: np.ndarray
    instances: np.ndarray
    depth: np.ndarray
    things: tuple[Thing, ...]

    def mask(self, index: int) -> np.ndarray:
        """Visible pixels of ``things[index]``, bool [H, W]."""
        return self.instances == index + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assets:
    """What scenes are made of. ``sprites[c]`` belongs to concept number c."""

    names: tuple[str, ...]
    sprites: tuple[Sprite, ...]
    photos: tuple[np.ndarray, ...]

    @classmethod
    def load(cls, split: Split, sprite_pixels: int = 112) -> Assets:
        """Fetch (on first use) and read the assets; ``split`` chooses the background photographs."""
        return cls(names=concept_names(), sprites=load_sprites(sprite_pixels), photos=load_photos(split))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    concept: int
    scale: float
    centre: tuple[float, float]
    distance: float


def compose(
    rng: np.random.Generator,
    assets: Assets,
    *,
    width: int = 192,
    height: int = 192,
    aspect: float | None = None,
    concepts: Sequence[int] | None = None,
) -> Scene:
    """Compose one scene.

    Args:
        rng: the only source of chance: the same state gives the same scene.
        assets: sprites and photographs.
        width, height: size of the picture in pixels.
        aspect: width / height of the world that the picture shows. A model that squashes every
            picture to a square sees things squashed; pass the world's aspect to compose such a
            square directly. None: random for a square picture, the picture's own otherwise.
        concepts: what to place; random when None.
    """
    if aspect is None:
        square = width == height
        aspect = float(np.exp(rng.uniform(-0.45, 0.45))) if square and rng.random() < 0.5 else width / height
    horizon, image = _backdrop(rng, assets, width, height)
    depth = _ground_depth(width, height, horizon)
    placed = _place(rng, _choose(rng, len(assets.sprites)) if concepts is None else concepts, horizon)
    instances = np.zeros((height, width), np.uint8)
    pasted = [_paste(rng, assets.sprites[p.concept], p, aspect, image, instances, depth, k + 1)
              for k, p in enumerate(placed)]  # fmt: skip
    image = np.clip(image + rng.normal(0, 6), 0, 255).astype(np.uint8)
    things, instances = _visible_things(placed, pasted, instances)
    return Scene(image=image, instances=instances, depth=depth, things=things)


def _backdrop(rng: np.random.Generator, assets: Assets, width: int, height: int) -> tuple[float, np.ndarray]:
    if assets.photos and rng.random() < 0.5:
        return _PHOTO_HORIZON, photo_crop(rng, assets.photos, width, height)
    horizon = float(rng.uniform(0.2, 0.55))
    return horizon, procedural(rng, width, height, horizon)


def _ground_depth(width: int, height: int, horizon: float) -> np.ndarray:
    """Depth of a flat ground seen from above it: 1 / (distance below the horizon), sky at the far end."""
    below = (np.arange(height, dtype=np.float32) + 0.5) / height - horizon
    rows = np.where(below > 0.02, (1 - horizon) / np.maximum(below, 0.02), FARTHEST)
    return np.repeat(np.clip(rows, NEAREST, FARTHEST).astype(np.float32)[:, None], width, axis=1)


def _choose(rng: np.random.Generator, concepts: int) -> list[int]:
    """One to six concepts; two scenes in five repeat one of them."""
    count = int(rng.integers(1, MAX_THINGS + 1))
    chosen = [int(c) for c in rng.choice(concepts, count, replace=count > concepts)]
    if count >= 2 and rng.random() < 0.4:
        repeats = int(rng.integers(1, count))
        chosen[: repeats + 1] = [chosen[0]] * (repeats + 1)
    return chosen


def _place(rng: np.random.Generator, concepts: Sequence[int], horizon: float) -> list[_Placed]:
    """A size and a place for each thing, farthest first, so that nearer things cover farther ones."""
    placed = []
    for concept in concepts:
        scale = float(np.exp(rng.uniform(np.log(0.12), np.log(0.5))))
        x, y = float(rng.uniform(0.08, 0.92)), float(rng.uniform(0.15, 0.92))
        foot = min(y + scale * 0.45, 1.0)
        if foot > horizon + 0.05:
            distance = float(np.clip((1 - horizon) / (foot - horizon), NEAREST, 0.9 * FARTHEST))
        else:
            distance = float(rng.uniform(0.6, 0.9)) * FARTHEST  # hangs in the air
        placed.append(_Placed(concept=concept, scale=scale, centre=(x, y), distance=distance))
    return sorted(placed, key=lambda p: -p.distance)


def _paste(
    rng: np.random.Generator,
    sprite: Sprite,
    placed: _Placed,
    aspect: float,
    image: np.ndarray,
    instances: np.ndarray,
    depth: np.ndarray,
    number: int,
) -> int:
    """Draw a sprite into the scene in place; returns how many pixels it would show uncovered."""
    height, width = instances.shape
    reach = (width / np.sqrt(aspect), height * np.sqrt(aspect))  # pixels of one unit of the world
    angle = float(np.deg2rad(rng.uniform(-20, 20)))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    size = placed.scale / max(sprite.shape[:2])
    turn = size * np.array([[np.cos(angle) * mirror, -np.sin(angle)], [np.sin(angle) * mirror, np.cos(angle)]])
    turn *= np.array(reach)[:, None]
    if np.abs(turn).max() < 0.5:  # halve first: bilinear sampling alone would skip pixels
        sprite = cv2.resize(sprite, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        turn = turn * 2
    half = np.abs(turn) @ np.array([sprite.shape[1] / 2, sprite.shape[0] / 2]) + 1
    centre = np.array([placed.centre[0] * width, placed.centre[1] * height])
    left, top = np.maximum(np.floor(centre - half), 0).astype(int)
    right, bottom = np.minimum(np.ceil(centre + half), (width, height)).astype(int)
    shift = centre - (left, top) - turn @ np.array([sprite.shape[1] / 2, sprite.shape[0] / 2])
    patch = cv2.warpAffine(
        sprite, np.column_stack([turn, shift]).astype(np.float32), (int(right - left), int(bottom - top))
    )
    alpha = patch[..., 3:] / 255.0
    window = image[top:bottom, left:right]
    window *= 1 - alpha
    window += patch[..., :3] * np.float32(rng.uniform(0.8, 1.15))
    solid = patch[..., 3] > 127
    instances[top:bottom, left:right][solid] = number
    depth[top:bottom, left:right][solid] = placed.distance
    return int(solid.sum())


def _visible_things(
    placed: Sequence[_Placed], pasted: Sequence[int], instances: np.ndarray
) -> tuple[tuple[Thing, ...], np.ndarray]:
    """Keep what can still be recognised, ordered left to right, and renumber the instance map."""
    height, width = instances.shape
    kept: list[tuple[Thing, int]] = []
    for number, (thing, full) in enumerate(zip(placed, pasted, strict=True), start=1):
        mask = instances == number
        visible = int(mask.sum())
        if visible < _MIN_VISIBLE_PIXELS * width * height or visible < _MIN_VISIBLE_SHARE * full:
            continue
        columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
        xyxy = (columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height)
        box = tuple(float(v) for v in xyxy)
        kept.append((Thing(concept=thing.concept, xyxy=box, distance=thing.distance), number))  # type: ignore[arg-type]
    kept.sort(key=lambda entry: entry[0].xyxy[0] + entry[0].xyxy[2])
    renumber = np.zeros(len(placed) + 1, np.uint8)
    for new, (_, old) in enumerate(kept, start=1):
        renumber[old] = new
    return tuple(thing for thing, _ in kept), renumber[instances]
