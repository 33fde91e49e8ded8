"""What a scene consists of, before it is drawn; and the same place a little later.

Shape legend: H, W image height and width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from generalist_datasets.world.backgrounds import Backdrop, PhotoSplit, backdrop, load_photos
from generalist_datasets.world.concepts import CONCEPTS, Concept
from generalist_datasets.world.layout import (
    CutOut,
    Menu,
    PlacedSolid,
    choose_concepts,
    choose_counts,
    place_cut_out,
    place_light,
    place_solid,
)
from generalist_datasets.world.photometric import make_noise
from generalist_datasets.world.scene import MAX_THINGS, Style
from generalist_datasets.world.solids import SHAPES, Light
from generalist_datasets.world.sprites import Sprite, load_sprites
from generalist_datasets.world.textures import make_textures


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrangement:
    """Everything that determines a scene: the same arrangement gives the same picture, bit for bit.

    ``cut_outs`` are in no order; ``lens`` is the seed of what the camera does to the picture.
    """

    behind: Backdrop
    aspect: float
    solids: tuple[PlacedSolid, ...]
    cut_outs: tuple[CutOut, ...]
    light: Light
    lens: int


def arrange(
    rng: np.random.Generator,
    assets: Assets,
    menu: Menu,
    *,
    width: int,
    height: int,
    aspect: float | None = None,
    concepts: Sequence[int] | None = None,
) -> Arrangement:
    """Choose a place, what comes in and where it stands; the arguments are those of ``compose``."""
    if aspect is None:
        square = width == height
        aspect = float(np.exp(rng.uniform(-0.45, 0.45))) if square and rng.random() < 0.5 else width / height
    behind = backdrop(rng, assets.textures, assets.photos, width=width, height=height, aspect=aspect)
    if concepts is None:
        sprites, count = choose_counts(rng, menu)
        chosen, shapes = choose_concepts(rng, menu.concepts, sprites) if sprites else [], [""] * count
    else:
        names = [assets.concepts[c].name for c in concepts]
        shapes = [name for name in names if name in SHAPES]
        chosen = [c for c, name in zip(concepts, names, strict=True) if name not in SHAPES]
    solids: list[PlacedSolid] = []
    for shape in shapes:
        solid = place_solid(rng, menu, _first_shape(assets), shape, solids, behind)
        solids += [solid] if solid else []
    return Arrangement(
        behind=behind,
        aspect=aspect,
        solids=tuple(solids),
        cut_outs=tuple(_new_cut_out(rng, assets, menu, concept, behind, aspect) for concept in chosen),
        light=place_light(rng),
        lens=int(rng.integers(2**32)),
    )


def rearranged(rng: np.random.Generator, made: Arrangement, assets: Assets, menu: Menu) -> Arrangement:
    """The same place at another time: one thing less, one more, or a sprite elsewhere; the camera differs, too."""
    made = replace(made, lens=int(rng.integers(2**32)))
    count = len(made.solids) + len(made.cut_outs)
    change = rng.random()
    if change < 0.35 and count > 1:
        return _without(made, int(rng.integers(count)))
    if change < 0.7 and count < MAX_THINGS and menu.concepts:
        concept = menu.concepts[int(rng.integers(len(menu.concepts)))]
        cut_out = _new_cut_out(rng, assets, menu, concept, made.behind, made.aspect)
        return replace(made, cut_outs=(*made.cut_outs, cut_out))
    if not made.cut_outs:
        return made
    moved = int(rng.integers(len(made.cut_outs)))
    old = made.cut_outs[moved]
    new = place_cut_out(rng, (old.concept, old.style, old.sprite), made.behind, made.aspect)
    return replace(made, cut_outs=(*made.cut_outs[:moved], new, *made.cut_outs[moved + 1 :]))


def _without(made: Arrangement, number: int) -> Arrangement:
    """Solids count first."""
    solids, cut_outs = list(made.solids), list(made.cut_outs)
    if number < len(solids):
        del solids[number]
    else:
        del cut_outs[number - len(solids)]
    return replace(made, solids=tuple(solids), cut_outs=tuple(cut_outs))


def _first_shape(assets: Assets) -> int:
    """Number of the concept that is the first of ``SHAPES``; the others follow it."""
    return next(k for k, concept in enumerate(assets.concepts) if concept.name == SHAPES[0])


def _new_cut_out(
    rng: np.random.Generator, assets: Assets, menu: Menu, concept: int, behind: Backdrop, aspect: float
) -> CutOut:
    """A picture of a concept in one of the menu's styles, somewhere."""
    styles: list[Style] = [s for s in menu.styles if assets.sprites[s][concept]]
    style = styles[int(rng.integers(len(styles)))]
    variants: tuple[Sprite, ...] = assets.sprites[style][concept]
    sprite = variants[int(rng.integers(len(variants)))]
    return place_cut_out(rng, (concept, style, sprite), behind, aspect)
