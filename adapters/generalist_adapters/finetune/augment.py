"""Other pictures of the same things: another part of the picture, mirrored, in other light.

A model that answers about whole pictures is taught about nearly whole pictures: a cut keeps at least ``_LEAST`` of
each side, so that things stay about as large, and as many, as they are when somebody asks. Cutting a crowded picture
into tiles would be easier to learn from and would teach the wrong sizes and the wrong numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image, ImageEnhance

from generalist_adapters.finetune.pictures import XY, XYXY, Picture, Region

Flips = Literal["none", "sideways", "all"]
"""``sideways``: mirrored; ``all``: turned by quarters as well, for pictures that have no up."""

_LEAST = 0.7
_WHOLE = 0.4
"""How often the picture is left whole."""
_SHOWS = 0.4
"""What of a thing must be left in a cut for it to be still called there, as in the composed world."""
_LIGHT = 0.25
_SIDES = re.compile(r"\b(left|right|leftmost|rightmost|(anti|counter)?clockwise)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Which variations are allowed."""

    flips: Flips = "sideways"
    cuts: bool = True
    light: bool = True


NOTHING = Augmentation(flips="none", cuts=False, light=False)


def mirrors(pictures: Iterable[Picture]) -> bool:
    """Whether a mirrored picture keeps its labels true: not where they speak of left and right."""
    return not any(_SIDES.search(words) for picture in pictures for words in _words(picture))


def vary(rng: np.random.Generator, picture: Picture, allowed: Augmentation) -> Picture:
    """One variation, decided by ``rng`` alone."""
    if allowed.cuts and picture.depth is None and rng.random() >= _WHOLE:  # a cut would be taken for a nearer view
        picture = cut(picture, _window(rng))
    if allowed.flips != "none" and rng.random() < 0.5:
        picture = turned(picture, 0, mirrored=True)
    if allowed.flips == "all":
        picture = turned(picture, int(rng.integers(4)), mirrored=False)
    return _relit(rng, picture) if allowed.light else picture


# --- cutting ----------------------------------------------------------------------------------------------


def _window(rng: np.random.Generator) -> XYXY:
    wide, high = np.clip(rng.uniform(_LEAST, 1.0) * np.exp(rng.uniform(-0.1, 0.1, 2)), _LEAST, 1.0)
    x, y = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)
    return float(x), float(y), float(x + wide), float(y + high)


def cut(picture: Picture, window: XYXY) -> Picture:
    """The part of a picture in ``window`` (0-1, widened to whole pixels) with the labels of what shows enough."""
    width, height = picture.image.size
    x1, y1 = int(window[0] * width), int(window[1] * height)
    x2, y2 = max(x1 + 1, round(window[2] * width)), max(y1 + 1, round(window[3] * height))
    place = (x1 / width, y1 / height, x2 / width, y2 / height)
    pixels = (slice(y1, y2), slice(x1, x2))
    boxes = [(r, _cut_region(r, place, pixels)) for r in picture.boxes]
    masks = [(r, _cut_region(r, place, pixels)) for r in picture.masks]
    hidden = {r.label for r, left in boxes if left is None and _touches(r.xyxy, place)}
    phrases = [(phrase, [_cut_region(r, place, pixels) for r in regions]) for phrase, regions in picture.phrases]
    # An expression such as "the second from the left" may mean something else when a thing is gone.
    whole = ((phrase, tuple(r for r in found if r is not None), len(found)) for phrase, found in phrases)
    return replace(
        picture,
        image=picture.image.crop((x1, y1, x2, y2)),
        boxes=tuple(left for _, left in boxes if left is not None),
        masks=tuple(left for _, left in masks if left is not None),
        phrases=tuple((phrase, kept) for phrase, kept, before in whole if len(kept) == before),
        points=tuple((name, _into(xy, place)) for name, xy in picture.points if _inside(xy, place)),
        uncounted=picture.uncounted | hidden,
    )


def _cut_region(region: Region, place: XYXY, pixels: tuple[slice, slice]) -> Region | None:
    """A region of the part ``place``; None when too little of it shows."""
    x1, y1, x2, y2 = region.xyxy
    left, top, right, bottom = max(x1, place[0]), max(y1, place[1]), min(x2, place[2]), min(y2, place[3])
    if right <= left or bottom <= top:
        return None
    mask = None if region.mask is None else region.mask[pixels]
    if region.mask is not None and mask is not None:
        least = 0.0 if region.stuff else _SHOWS * np.count_nonzero(region.mask)
        if not mask.any() or np.count_nonzero(mask) < least:
            return None
    elif (right - left) * (bottom - top) < _SHOWS * (x2 - x1) * (y2 - y1):
        return None
    return replace(region, xyxy=(*_into((left, top), place), *_into((right, bottom), place)), mask=mask)


def _into(xy: XY, place: XYXY) -> XY:
    return (xy[0] - place[0]) / (place[2] - place[0]), (xy[1] - place[1]) / (place[3] - place[1])


def _inside(xy: XY, place: XYXY) -> bool:
    return place[0] <= xy[0] < place[2] and place[1] <= xy[1] < place[3]


def _touches(xyxy: XYXY, place: XYXY) -> bool:
    return xyxy[0] < place[2] and place[0] < xyxy[2] and xyxy[1] < place[3] and place[1] < xyxy[3]


# --- turning ----------------------------------------------------------------------------------------------


def turned(picture: Picture, quarters: int, *, mirrored: bool) -> Picture:
    """A picture turned anticlockwise by quarters, after it was mirrored."""

    def array(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.rot90(values[:, ::-1] if mirrored else values, quarters))

    def point(xy: XY) -> XY:
        x, y = (1 - xy[0], xy[1]) if mirrored else xy
        for _ in range(quarters):
            x, y = y, 1 - x
        return x, y

    def region(one: Region) -> Region:
        (x1, y1), (x2, y2) = point(one.xyxy[:2]), point(one.xyxy[2:])
        xyxy = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
        return replace(one, xyxy=xyxy, mask=None if one.mask is None else array(one.mask))

    return replace(
        picture,
        image=Image.fromarray(array(np.asarray(picture.image))),
        boxes=tuple(map(region, picture.boxes)),
        masks=tuple(map(region, picture.masks)),
        phrases=tuple((phrase, tuple(map(region, regions))) for phrase, regions in picture.phrases),
        points=tuple((name, point(xy)) for name, xy in picture.points),
        depth=None if picture.depth is None else array(picture.depth),
    )


# --- light and words --------------------------------------------------------------------------------------


def _relit(rng: np.random.Generator, picture: Picture) -> Picture:
    image = picture.image
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(float(rng.uniform(1 - _LIGHT, 1 + _LIGHT)))
    return replace(picture, image=image)


def _words(picture: Picture) -> Sequence[str]:
    regions = [r.label for r in (*picture.boxes, *picture.masks)]
    said = [text for one in picture.said for text in (one.prompt, one.answer, *(turn.text for turn in one.history))]
    return [*regions, *(phrase for phrase, _ in picture.phrases), *(name for name, _ in picture.points), *said]
