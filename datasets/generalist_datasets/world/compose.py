"""Composing a scene: sprites as upright cut-outs and ray-cast solids in one 3D scene, exactly labelled.

Shape legend: H, W image height and width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from generalist_datasets.world.backgrounds import Backdrop, PhotoSplit, backdrop, load_photos
from generalist_datasets.world.concepts import CONCEPTS, Concept
from generalist_datasets.world.layout import (
    CutOut,
    Menu,
    PlacedSolid,
    choose_concepts,
    choose_counts,
    place_cut_outs,
    place_light,
    place_solids,
)
from generalist_datasets.world.photometric import make_noise, photographed
from generalist_datasets.world.scene import REMNANT, Scene, Style, Thing
from generalist_datasets.world.solids import SHAPES, Rendered, render
from generalist_datasets.world.sprites import Sprite, load_sprites
from generalist_datasets.world.textures import make_textures

_MIN_VISIBLE_PIXELS = 60 / 192**2
_MIN_VISIBLE_SHARE = 0.4

cv2.setNumThreads(1)  # composing runs in worker processes, one a core


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Assets:
    """What scenes are made of. ``sprites[style][c]`` are the pictures of concept number c in a style."""

    concepts: tuple[Concept, ...]
    sprites: dict[Style, tuple[tuple[Sprite, ...], ...]]
    photos: tuple[np.ndarray, ...] = ()
    textures: tuple[np.ndarray, ...] = field(default_factory=make_textures)
    noise: np.ndarray = field(default_factory=make_noise)

    @classmethod
    def load(cls, styles: Iterable[Style], photos: PhotoSplit, sprite_pixels: int = 112) -> Assets:
        """Fetch (on first use) and read the assets."""
        sprites = {style: load_sprites(style, sprite_pixels) for style in styles}
        return cls(concepts=CONCEPTS, sprites=sprites, photos=load_photos(photos))


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
    if aspect is None:
        square = width == height
        aspect = float(np.exp(rng.uniform(-0.45, 0.45))) if square and rng.random() < 0.5 else width / height
    behind = backdrop(rng, assets.textures, assets.photos, width=width, height=height, aspect=aspect)
    sprites, shapes = _choose(rng, assets, menu, concepts)
    number = {c.name: k for k, c in enumerate(assets.concepts)} if shapes else {}
    solids = place_solids(rng, menu, number, shapes, behind)
    cut_outs = place_cut_outs(rng, sprites, behind, aspect)
    canvas = _Canvas(
        image=behind.image,
        depth=behind.depth.copy(),
        numbers=np.zeros((height, width), np.uint8),
        normals=behind.normals() if normals else None,
    )
    uncovered = _draw_solids(rng, canvas, solids, behind)
    for cut_out in cut_outs:
        _draw_shadow(canvas, cut_out, behind, aspect)
    uncovered += [_draw_cut_out(rng, canvas, c, aspect, len(solids) + k + 1) for k, c in enumerate(cut_outs)]
    things, instances = _visible_things([*solids, *cut_outs], uncovered, canvas)
    surfaces = behind.surfaces
    surfaces[(canvas.numbers > 0) & (instances == 0)] = REMNANT
    return Scene(
        image=photographed(rng, canvas.image, assets.noise),
        instances=instances,
        surfaces=surfaces,
        depth=canvas.depth if behind.known else None,
        things=things,
        camera=behind.camera,
        normals=canvas.normals if behind.known else None,
    )


def _choose(
    rng: np.random.Generator, assets: Assets, menu: Menu, concepts: Sequence[int] | None
) -> tuple[list[tuple[int, Style, Sprite]], list[str]]:
    """Sprites of the scene, and a shape (or "" for any) for each of its solids."""
    if concepts is None:
        sprites, solids = choose_counts(rng, menu)
        chosen, shapes = choose_concepts(rng, menu.concepts, sprites) if sprites else [], [""] * solids
    else:
        names = [assets.concepts[c].name for c in concepts]
        shapes = [name for name in names if name in SHAPES]
        chosen = [c for c, name in zip(concepts, names, strict=True) if name not in SHAPES]
    pictures = []
    for concept in chosen:
        styles = [s for s in menu.styles if assets.sprites[s][concept]]
        style = styles[int(rng.integers(len(styles)))]
        variants = assets.sprites[style][concept]
        pictures.append((concept, style, variants[int(rng.integers(len(variants)))]))
    return pictures, shapes


# --- solids ---------------------------------------------------------------------------------------------


def _draw_solids(
    rng: np.random.Generator, canvas: _Canvas, solids: Sequence[PlacedSolid], behind: Backdrop
) -> list[int]:
    """Draw the solids and their shadows; returns how many pixels each would show alone."""
    if not solids:
        return []
    made = render([[s.solid for s in solids]], [behind.camera], [place_light(rng)], behind.depth[None])
    _darken(canvas.image, made)
    index, depth = made.index[0], made.depth[0]
    shown = (index >= 0) & (depth < canvas.depth)
    canvas.image[shown] = np.clip(np.rint(made.rgb[0][shown]), 0, 255).astype(np.uint8)
    canvas.depth[shown] = depth[shown]
    canvas.numbers[shown] = index[shown] + 1
    if canvas.normals is not None:
        canvas.normals[shown] = made.normals[0][shown]
    _soften_edges(canvas)
    return [int(n) for n in made.uncovered[0]]


def _darken(image: np.ndarray, made: Rendered) -> None:
    """Throw the solids' shadows on what is behind them, in place."""
    light = made.shadow[0]
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
    if cut_out.foot is None or cut_out.foot > 1.02:
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


def _draw_cut_out(rng: np.random.Generator, canvas: _Canvas, placed: CutOut, aspect: float, number: int) -> int:
    """Draw a sprite in place where nothing is nearer; returns how many pixels it would show alone."""
    height, width = canvas.numbers.shape
    sprite = placed.sprite
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    gain = float(rng.uniform(0.8, 1.12))
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
    colour, alpha = cv2.convertScaleAbs(patch[..., :3], alpha=gain), patch[..., 3]
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
) -> tuple[tuple[Thing, ...], np.ndarray]:
    """Keep what can still be recognised, ordered left to right, and renumber the instance map."""
    height, width = canvas.numbers.shape
    kept: list[tuple[Thing, int]] = []
    for number, (thing, full) in enumerate(zip(placed, uncovered, strict=True), start=1):
        mask = canvas.numbers == number
        visible = cv2.countNonZero(mask.view(np.uint8))
        if visible < _MIN_VISIBLE_PIXELS * width * height or visible < _MIN_VISIBLE_SHARE * full:
            continue
        left, top, across, down = cv2.boundingRect(mask.view(np.uint8))
        xyxy = (left / width, top / height, (left + across) / width, (top + down) / height)
        nearest = float(canvas.depth[mask].min()) if isinstance(thing, PlacedSolid) else thing.distance
        kept.append((_described(thing, xyxy, nearest), number))
    kept.sort(key=lambda entry: entry[0].xyxy[0] + entry[0].xyxy[2])
    renumber = np.zeros(256, np.uint8)
    for new, (_, old) in enumerate(kept, start=1):
        renumber[old] = new
    return tuple(thing for thing, _ in kept), cv2.LUT(canvas.numbers, renumber)


def _described(placed: PlacedSolid | CutOut, xyxy: tuple[float, float, float, float], distance: float) -> Thing:
    if isinstance(placed, CutOut):
        return Thing(concept=placed.concept, xyxy=xyxy, distance=distance, style=placed.style)
    solid = placed.solid
    return Thing(
        concept=placed.concept, xyxy=xyxy, distance=distance, style="solid",
        colour=solid.colour, material=solid.material, texture=solid.texture, size=placed.size,
    )  # fmt: skip
