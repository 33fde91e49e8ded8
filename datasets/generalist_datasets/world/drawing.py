"""What a user would draw on a thing, and where one would point at it."""

from __future__ import annotations

import cv2
import numpy as np

from generalist.types import VisualPrompt
from generalist_datasets.world.question import Drawn
from generalist_datasets.world.scene import Scene

XYXY = tuple[float, float, float, float]

_BOX_ERROR = 0.03
"""Spread of a hand-drawn edge, in lengths of the box."""
_STROKE = 2 / 192
"""Width of a stroke, in short sides of the picture."""


def draw_prompt(rng: np.random.Generator, scene: Scene, drawn: Drawn) -> VisualPrompt:
    """What a user would draw on a thing; boxes are a little off, as hands are."""
    mask = scene.mask(drawn.thing)
    if drawn.kind == "mask":
        return VisualPrompt(kind="mask", bitmap=mask)
    if drawn.kind == "scribble":
        return VisualPrompt(kind="scribble", bitmap=_scribble(rng, mask))
    if drawn.kind == "point":
        rows, columns = np.nonzero(mask)
        k = int(rng.integers(len(rows)))
        xy = _centre(int(columns[k]), int(rows[k]), mask)
        return VisualPrompt(kind="point", xy=xy, excludes=drawn.excludes)
    x1, y1, x2, y2 = scene.things[drawn.thing].xyxy
    if drawn.beside is not None:
        x1, y1, x2, y2 = around((x1, y1, x2, y2), scene.things[drawn.beside].xyxy)
    error = rng.normal(0, _BOX_ERROR, 4).clip(-0.1, 0.1) * (x2 - x1, y2 - y1, x2 - x1, y2 - y1)
    x1, y1, x2, y2 = np.clip(np.array([x1, y1, x2, y2]) + error, 0, 1)
    return VisualPrompt(kind="box", xyxy=(float(x1), float(y1), float(x2), float(y2)))


def around(one: XYXY, other: XYXY) -> XYXY:
    """The box that takes in both."""
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])


def inner_point(mask: np.ndarray) -> tuple[float, float]:
    """The centre of the largest disc inside a mask, bool [H, W]: always on the thing, whatever its shape; in 0-1."""
    padded = np.pad(mask.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return _centre(int(x), int(y), mask)


def _centre(column: int, row: int, mask: np.ndarray) -> tuple[float, float]:
    """The middle of a pixel, in 0-1."""
    return (column + 0.5) / mask.shape[1], (row + 0.5) / mask.shape[0]


def _scribble(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """A stroke through a few random pixels of a mask."""
    rows, columns = np.nonzero(mask)
    picks = rng.integers(len(rows), size=int(rng.integers(2, 5)))
    stroke = np.zeros(mask.shape, np.uint8)
    width = max(1, round(_STROKE * min(mask.shape)))
    cv2.polylines(stroke, [np.column_stack([columns[picks], rows[picks]]).astype(np.int32)], False, 1, width)
    return stroke.astype(bool)
