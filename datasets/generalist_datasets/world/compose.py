"""Composing a scene: sprites as upright cut-outs and ray-cast solids in one 3D scene, exactly labelled.

Shape legend: H, W image height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from generalist_datasets.world.arrange import Arrangement, Assets, arrange
from generalist_datasets.world.backgrounds import Backdrop
from generalist_datasets.world.layout import CutOut, Menu, PlacedSolid
from generalist_datasets.world.photometric import photographed
from generalist_datasets.world.scene import REMNANT, Scene, Thing
from generalist_datasets.world.solids import Rendered, render

_MIN_VISIBLE_PIXELS = 60 / 192**2
_MIN_VISIBLE_SHARE = 0.4

cv2.setNumThreads(1)  # composing runs in worker processes, one a core


@dataclass(slots=True, kw_only=True, eq=False)
class _Canvas:
    """The scene while it is drawn: ``depth`` of the nearest surface, ``numbers`` of the things from 1."""

    image: np.ndarray
    depth: np.ndarray
    numbers: np.ndarray
    normals: np.ndarray | None


def compose(
    rng: np.random.Generator,
    assets: Assets,
    menu: Menu,
    *,
    width: int = 224,
    height: int = 224,
    aspect: float | None = None,
    concepts: Sequence[int] | None = None,
    normals: bool = False,
) -> Scene:
    """Compose one scene.

    Args:
        rng: the only source of chance: the same state gives the same scene, bit for bit.
        assets: sprites, photographs, textures.
        menu: what may come in.
        width, height: size of the picture in pixels.
        aspect: width / height of the world that the picture shows. A model that squashes every
            picture to a square sees things squashed; pass the world's aspect to compose such a
            square directly. None: random for a square picture, the picture's own otherwise.
        concepts: numbers of the concepts to place, solids included; chosen from the menu when None.
        normals: compute surface normals as well.
    """
    made = arrange(rng, assets, menu, width=width, height=height, aspect=aspect, concepts=concepts)
    return draw(made, assets, normals=normals)


def draw(made: Arrangement, assets: Assets, *, normals: bool = False) -> Scene:
    """The picture of an arrangement, and everything true of it."""
    behind = made.behind
    cut_outs = sorted(made.cut_outs, key=lambda c: -c.distance)  # so that nearer ones cover farther ones
    canvas = _Canvas(
        image=behind.image.copy(),
        depth=behind.depth.copy(),
        numbers=np.zeros(behind.depth.shape, np.uint8),
        normals=behind.normals() if normals else None,
    )
    uncovered = _draw_solids(canvas, made)
    for cut_out in cut_outs:
        _draw_shadow(canvas, cut_out, behind, made.aspect)
    for number, cut_out in enumerate(cut_outs, start=len(made.solids) + 1):
        uncovered.append(_draw_cut_out(canvas, cut_out, made.aspect, number))
    things, hidden, instances = _visible_things([*made.solids, *cut_outs], uncovered, canvas)
    surfaces = behind.surfaces
    surfaces[(canvas.numbers > 0) & (instances == 0)] = REMNANT
    return Scene(
        image=photographed(np.random.default_rng(made.lens), canvas.image, assets.noise),
        instances=instances,
        surfaces=surfaces,
        depth=canvas.depth if behind.known else None,
        things=things,
        camera=behind.camera,
        normals=canvas.normals if behind.known else None,
        hidden=hidden,
        pictured=behind.pictured,
    )


# --- solids ---------------------------------------------------------------------------------------------


def _draw_solids(canvas: _Canvas, made: Arrangement) -> list[int]:
    """Draw the solids and their shadows; returns how many pixels each would show alone."""
    if not made.solids:
        return []
    solids, behind = [s.solid for s in made.solids], made.behind
    rendered = render([solids], [behind.camera], [made.light], behind.depth[None])
    _darken(canvas.image, rendered)
    index, depth = rendered.index[0], rendered.depth[0]
    shown = (index >= 0) & (depth < canvas.depth)
    canvas.image[shown] = np.clip(np.rint(rendered.rgb[0][shown]), 0, 255).astype(np.uint8)
    canvas.depth[shown] = depth[shown]
    canvas.numbers[shown] = index[shown] + 1
    if canvas.normals is not None:
        canvas.normals[shown] = rendered.normals[0][shown]
    _soften_edges(canvas)
    return [int(n) for n in rendered.uncovered[0]]


def _darken(image: np.ndarray, rendered: Rendered) -> None:
    """Throw the solids' shadows on what is behind them, in place."""
    light = rendered.shadow[0]
    if light.min() < 1:
        soft = cv2.blur(light, (3, 3))
        cv2.multiply(image, cv2.merge([soft, soft, soft]), dst=image, dtype=cv2.CV_8U)


def _soften_edges(canvas: _Canvas) -> None:
    """One ray a pixel leaves steps at the edges of solids; real pictures have none."""
    numbers = canvas.numbers
    edge = cv2.morphologyEx(numbers, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    canvas.image[edge] = cv2.blur(canvas.image, (3, 3))[edge]


# --- sprites --------------------------------------------------------------------------------------------


def _reach(canvas: _Canvas, aspect: float) -> tuple[float, float]:
    """Pixels of one unit of size, across and down."""
    height, width = canvas.numbers.shape
    return width / float(np.sqrt(aspect)), height * float(np.sqrt(aspect))


def _draw_shadow(canvas: _Canvas, cut_out: CutOut, behind: Backdrop, aspect: float) -> None:
    """A dark ellipse on the ground under a cut-out, in place."""
    height, width = canvas.numbers.shape
    if cut_out.foot > 1.02:
        return
    across, _ = _reach(canvas, aspect)
    broad = cut_out.scale * cut_out.sprite.shape[1] / max(cut_out.sprite.shape[:2]) * across * 0.42
    # The ground is seen at a slant: a circle on it looks flatter the farther away it is.
    flat = max(1.0, broad * min(0.6, behind.camera.eye / cut_out.distance))
    x, y = cut_out.centre[0] * width, min(cut_out.foot, 1.0) * height
    margin = 3
    left, right = int(max(0, x - broad - margin)), int(min(width, x + broad + margin + 1))
    top, bottom = int(max(0, y - flat - margin)), int(min(height, y + flat + margin + 1))
    if right <= left or bottom <= top:
        return
    rows = (np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5 - y) / flat
    columns = (np.arange(left, right, dtype=np.float32)[None] + 0.5 - x) / broad
    dark = 1 - 0.45 * np.clip(1.2 - (rows**2 + columns**2), 0, 1)
    dark[canvas.numbers[top:bottom, left:right] > 0] = 1  # solids throw it back
    window = canvas.image[top:bottom, left:right]
    window[:] = cv2.multiply(window, cv2.merge([dark, dark, dark]), dtype=cv2.CV_8U)


def _draw_cut_out(canvas: _Canvas, placed: CutOut, aspect: float, number: int) -> int:
    """Draw a sprite in place where nothing is nearer; returns how many pixels it would show alone."""
    height, width = canvas.numbers.shape
    sprite = placed.sprite
    mirror = -1.0 if placed.mirrored else 1.0
    size = placed.scale / max(sprite.shape[:2])
    cos, sin = float(np.cos(placed.angle)), float(np.sin(placed.angle))
    turn = size * np.array([[cos * mirror, -sin], [sin * mirror, cos]]) * np.array(_reach(canvas, aspect))[:, None]
    while np.abs(turn).max() < 0.5:  # halve first: bilinear sampling alone would skip pixels
        sprite = cv2.resize(sprite, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        turn = turn * 2
    middle = np.array([sprite.shape[1] / 2, sprite.shape[0] / 2])
    half = np.abs(turn) @ middle + 1
    centre = np.array([placed.centre[0] * width, placed.centre[1] * height])
    left, top = np.maximum(np.floor(centre - half), 0).astype(int)
    right, bottom = np.minimum(np.ceil(centre + half), (width, height)).astype(int)
    if right <= left or bottom <= top:
        return 0
    shift = centre - (left, top) - turn @ middle
    patch = cv2.warpAffine(sprite, np.column_stack([turn, shift]), (int(right - left), int(bottom - top)))
    window = (slice(top, bottom), slice(left, right))
    alone = int(np.count_nonzero(patch[..., 3] > 127))
    nearer = canvas.depth[window] < placed.distance
    if nearer.any():
        patch = cv2.copyTo(patch, (~nearer).view(np.uint8))
    colour, alpha = cv2.convertScaleAbs(patch[..., :3], alpha=placed.gain), patch[..., 3]
    clear = cv2.bitwise_not(alpha)
    under = cv2.multiply(canvas.image[window], cv2.merge([clear, clear, clear]), scale=1 / 255)
    canvas.image[window] = cv2.add(under, colour)
    solid = alpha > 127
    np.copyto(canvas.numbers[window], number, where=solid)
    np.copyto(canvas.depth[window], placed.distance, where=solid)
    if canvas.normals is not None:
        canvas.normals[window][solid] = (0, 0, -1)
    return alone


# --- what came of it ------------------------------------------------------------------------------------


def _visible_things(
    placed: Sequence[PlacedSolid | CutOut], uncovered: Sequence[int], canvas: _Canvas
) -> tuple[tuple[Thing, ...], tuple[int, ...], np.ndarray]:
    """The things that can still be recognised, left to right; concepts of what else shows; the renumbered map."""
    height, width = canvas.numbers.shape
    kept: list[tuple[Thing, int]] = []
    hidden: set[int] = set()
    for number, (thing, full) in enumerate(zip(placed, uncovered, strict=True), start=1):
        mask = canvas.numbers == number
        visible = cv2.countNonZero(mask.view(np.uint8))
        if visible < _MIN_VISIBLE_PIXELS * width * height or visible < _MIN_VISIBLE_SHARE * full:
            hidden |= {thing.concept} if visible else set()
            continue
        left, top, across, down = cv2.boundingRect(mask.view(np.uint8))
        xyxy = (left / width, top / height, (left + across) / width, (top + down) / height)
        nearest = float(canvas.depth[mask].min()) if isinstance(thing, PlacedSolid) else thing.distance
        kept.append((_described(thing, xyxy, nearest), number))
    kept.sort(key=lambda entry: entry[0].xyxy[0] + entry[0].xyxy[2])
    renumber = np.zeros(256, np.uint8)
    for new, (_, old) in enumerate(kept, start=1):
        renumber[old] = new
    return tuple(thing for thing, _ in kept), tuple(sorted(hidden)), cv2.LUT(canvas.numbers, renumber)


def _described(placed: PlacedSolid | CutOut, xyxy: tuple[float, float, float, float], distance: float) -> Thing:
    if isinstance(placed, CutOut):
        return Thing(concept=placed.concept, xyxy=xyxy, distance=distance, style=placed.style)
    solid = placed.solid
    return Thing(
        concept=placed.concept, xyxy=xyxy, distance=distance, style="solid",
        colour=solid.colour, material=solid.material, texture=solid.texture, size=placed.size,
    )  # fmt: skip
