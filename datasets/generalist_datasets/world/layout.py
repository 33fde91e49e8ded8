"""What comes into a scene and where it stands: chance only, no pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from generalist_datasets.world.backgrounds import Backdrop
from generalist_datasets.world.scene import MAX_THINGS, Size, Style
from generalist_datasets.world.solids import MATERIALS, SHAPES, TEXTURES, Light, Solid, stand
from generalist_datasets.world.sprites import Sprite

SIZES: dict[Size, float] = {"small": 0.4, "large": 0.8}
"""The largest extent of a solid in metres."""

_COUNTS = (1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, MAX_THINGS)  # crowded scenes half as often
_MOST_SOLIDS = 4
_TRIES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """What scenes of a split may be made of.

    ``concepts``: numbers of the concepts that sprites may show. ``pairs``: allowed (colour, shape) of solids;
    with ``needs_pair`` every scene holds a solid of one of these. ``solids``: the share of scenes with solids.
    """

    concepts: tuple[int, ...]
    styles: tuple[Style, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    needs_pair: tuple[tuple[str, str], ...] = ()
    solids: float = 0.35


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CutOut:
    """A sprite that faces the camera.

    ``centre`` (u, v) in 0-1; ``scale``: its longer side, in square roots of the picture's area;
    ``angle`` in radians; ``gain``: of its brightness; ``foot``: the row in 0-1 where its shadow lies.
    """

    concept: int
    style: Style
    sprite: Sprite
    centre: tuple[float, float]
    scale: float
    angle: float
    mirrored: bool
    gain: float
    distance: float
    foot: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedSolid:
    """A solid that stands on the ground, and what one may call it."""

    concept: int
    solid: Solid
    size: Size


def choose_concepts(rng: np.random.Generator, concepts: Sequence[int], count: int) -> list[int]:
    """``count`` concepts; two scenes in five repeat one of them."""
    chosen = [concepts[int(k)] for k in rng.choice(len(concepts), count, replace=count > len(concepts))]
    if count >= 2 and rng.random() < 0.4:
        repeats = int(rng.integers(1, count))
        chosen[: repeats + 1] = [chosen[0]] * (repeats + 1)
    return chosen


def choose_counts(rng: np.random.Generator, menu: Menu) -> tuple[int, int]:
    """How many sprites and how many solids."""
    count = _COUNTS[int(rng.integers(len(_COUNTS)))]
    if menu.needs_pair or (menu.pairs and rng.random() < menu.solids):
        solids = int(rng.integers(1, _MOST_SOLIDS + 1))
        return max(0, min(count - 1, MAX_THINGS - solids)) if menu.concepts else 0, solids
    return (count, 0) if menu.concepts else (0, 0)


def place_cut_out(
    rng: np.random.Generator, choice: tuple[int, Style, Sprite], backdrop: Backdrop, aspect: float
) -> CutOut:
    """A size and a place for a sprite: on the ground, or in the air."""
    concept, style, sprite = choice
    camera = backdrop.camera
    scale = float(np.exp(rng.uniform(np.log(0.11), np.log(0.5))))
    tall = scale * sprite.shape[0] / max(sprite.shape[:2]) * float(np.sqrt(aspect))  # in picture heights
    u = float(rng.uniform(0.08, 0.92))
    far_row = camera.horizon + camera.focal[1] * camera.eye / (0.95 * backdrop.reach)
    foot = float(rng.uniform(far_row, 1.03)) if far_row < 1.0 else 1.0
    foot = max(foot, min(1.0, 0.9 * tall))  # else most of it would be above the picture
    in_the_air = rng.random() < 0.25
    v = float(rng.uniform(0.12, max(0.13, foot - tall / 2))) if in_the_air else foot - tall / 2
    return CutOut(
        concept=concept,
        style=style,
        sprite=sprite,
        centre=(u, v),
        scale=scale,
        angle=float(np.deg2rad(rng.uniform(-25, 25) if in_the_air else rng.normal(0, 5))),
        mirrored=bool(rng.random() < 0.5),
        gain=float(rng.uniform(0.8, 1.12)),
        distance=camera.ground_depth(foot),
        foot=foot,
    )


def place_solid(
    rng: np.random.Generator,
    menu: Menu,
    first_shape: int,
    shape: str,
    others: Sequence[PlacedSolid],
    backdrop: Backdrop,
) -> PlacedSolid | None:
    """A solid that does not run into others, None where there is no room; ``shape`` "" leaves it to chance.

    ``first_shape``: the concept's number of the first of ``SHAPES``.
    """
    pairs = menu.needs_pair if menu.needs_pair and not others else menu.pairs
    pairs = tuple(p for p in pairs if not shape or p[1] == shape) or menu.pairs
    if others and not shape and rng.random() < 0.35:  # another one of the same shape, to tell apart
        pairs = tuple(p for p in pairs if p[1] == others[-1].solid.shape) or pairs
    colour, form = pairs[int(rng.integers(len(pairs)))]
    found = _free_solid(rng, form, colour, [other.solid for other in others], backdrop)
    if found is None:
        return None
    solid, size = found
    return PlacedSolid(concept=first_shape + SHAPES.index(form), solid=solid, size=size)


def _free_solid(
    rng: np.random.Generator, shape: str, colour: str, others: Sequence[Solid], backdrop: Backdrop
) -> tuple[Solid, Size] | None:
    """A solid that keeps clear of the others and of the walls; None when no place was found."""
    camera = backdrop.camera
    size: Size = "small" if rng.random() < 0.5 else "large"
    extent = SIZES[size]
    material = MATERIALS[int(rng.integers(len(MATERIALS)))]
    texture = TEXTURES[0] if rng.random() < 0.6 else TEXTURES[1 + int(rng.integers(len(TEXTURES) - 1))]
    near = max(camera.focal[1] * camera.eye / (1.0 - camera.horizon) + extent / 2, 2.2 * extent)
    far = min(backdrop.reach - extent, 11.0 * extent)
    for _ in range(_TRIES):
        z = float(rng.uniform(near, max(near + 0.1, far)))
        x = (float(rng.uniform(0.12, 0.88)) - camera.centre[0]) * z / camera.focal[0]
        # Corners reach farther than half the extent, at most by the root of two.
        if all(np.hypot(x - o.centre[0], z - o.centre[2]) > (extent / 2 + max(o.half)) * 1.42 for o in others):
            solid = stand(rng, shape, x=x, z=z, size=extent, eye=camera.eye, colour=colour,
                          material=material, texture=texture)  # fmt: skip
            return solid, size
    return None


def place_light(rng: np.random.Generator) -> Light:
    """A lamp above and before the things, to the left or to the right."""
    towards = np.array([rng.uniform(-0.8, 0.8), -1.0, rng.uniform(-0.9, 0.3)])
    towards /= np.linalg.norm(towards)
    return Light(
        towards=(float(towards[0]), float(towards[1]), float(towards[2])),
        ambient=float(rng.uniform(0.3, 0.5)),
        strength=float(rng.uniform(0.5, 0.75)),
        colour=(1.0, float(rng.uniform(0.92, 1.0)), float(rng.uniform(0.85, 1.0))),
    )
