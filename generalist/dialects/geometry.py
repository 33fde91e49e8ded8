"""From a model's numbers to boxes, points and masks: checked, put in order, kept inside the image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from generalist.dialects.writer import Writer
from generalist.types import Box, Mask, Point

XYXY = tuple[float, float, float, float]
Scale = tuple[float, float]

_SLACK = 0.01
"""Of the image's side: models overshoot its edge by a little all the time."""


def numbers(values: object) -> list[float] | None:
    """Finite numbers of a sequence of numbers or of text that is one; None when it is something else."""
    if not isinstance(values, list | tuple):
        return None
    found: list[float] = []
    for value in values:
        short_text = isinstance(value, str) and len(value) <= 24
        if isinstance(value, bool) or not (short_text or isinstance(value, int | float)):
            return None
        try:
            found.append(float(value))
        except (ValueError, OverflowError):
            return None
    return found if all(map(math.isfinite, found)) else None


def read_xyxy(values: object, scale: Scale, out: Writer, at: int, *, y_first: bool = False) -> XYXY | None:
    """A box in 0-1 of four numbers in 0 to ``scale`` (x, y); None when they make none.

    What had to be mended is an issue.
    """
    found = numbers(values)
    if found is None or len(found) != 4:
        out.issue(at, "a box of 4 numbers", repr(values))
        return None
    x1, y1, x2, y2 = (found[1], found[0], found[3], found[2]) if y_first else found
    (x1, x2), (y1, y2) = (x1 / scale[0], x2 / scale[0]), (y1 / scale[1], y2 / scale[1])
    if x1 > x2 or y1 > y2:
        out.issue(at, "corners in order", repr(values))
    x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    if x1 > 1 or y1 > 1 or x2 < 0 or y2 < 0:
        out.issue(at, _inside(scale), repr(values))
        return None
    if min(x1, y1) < -_SLACK or max(x2, y2) > 1 + _SLACK:
        out.issue(at, _inside(scale), repr(values))
    return _clip(x1), _clip(y1), _clip(x2), _clip(y2)


def read_box(values: object, scale: Scale, out: Writer, at: int, *, y_first: bool = False) -> Box | None:
    """:func:`read_xyxy` as a :class:`Box`."""
    xyxy = read_xyxy(values, scale, out, at, y_first=y_first)
    return None if xyxy is None else Box(xyxy=xyxy)


def read_point(values: object, scale: Scale, out: Writer, at: int, *, y_first: bool = False) -> Point | None:
    """A point in 0-1 of two numbers in 0 to ``scale`` (x, y); None with an issue when it lies outside."""
    found = numbers(values)
    if found is None or len(found) != 2:
        out.issue(at, "a point of 2 numbers", repr(values))
        return None
    x, y = (found[1], found[0]) if y_first else found
    x, y = x / scale[0], y / scale[1]
    if min(x, y) < -_SLACK or max(x, y) > 1 + _SLACK:
        out.issue(at, _inside(scale), repr(values))
        return None
    return Point(xy=(_clip(x), _clip(y)))


def polygons_mask(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Mask | None:
    """A mask of polygons x y x y ... in 0-1, for an image of ``size`` (W, H); None without one of three corners."""
    width, height = size
    whole = [np.clip(np.asarray(flat, np.float64), 0, 1) for flat in polygons if len(flat) >= 6]
    if not whole:
        return None
    scaled = [(flat.reshape(-1, 2) * (width, height)).ravel().tolist() for flat in whole]
    rle = coco.merge(coco.frPyObjects(scaled, height, width))
    corners = np.concatenate([flat.reshape(-1, 2) for flat in whole])
    (x1, y1), (x2, y2) = corners.min(0).tolist(), corners.max(0).tolist()
    return Mask(size=(height, width), counts=rle["counts"].decode("ascii"), xyxy=(x1, y1, x2, y2))


def crop_mask(crop: np.ndarray, xyxy: XYXY, size: tuple[int, int]) -> Mask:
    """A mask of a map float[h, w] stretched over a box of an image of ``size`` (W, H); set above 0.5."""
    width, height = size
    x1, x2 = _interval(xyxy[0], xyxy[2], width)
    y1, y2 = _interval(xyxy[1], xyxy[3], height)
    region = Image.fromarray(np.ascontiguousarray(crop, np.float32))
    bitmap = np.asarray(region.resize((x2 - x1, y2 - y1), Image.Resampling.BILINEAR)) > 0.5
    return Mask(size=(height, width), counts=_run_lengths(bitmap, x1, y1, size), xyxy=xyxy)


def _run_lengths(bitmap: np.ndarray, x: int, y: int, size: tuple[int, int]) -> str:
    """Compressed COCO run lengths of bool[h, w] at (x, y) in an image of ``size``, at the cost of the part alone."""
    width, height = size
    edges = np.diff(np.pad(bitmap.T.astype(np.int8), ((0, 0), (1, 1))), axis=1)  # [w, h + 1], 1 on and -1 off
    ends = []
    for step in (1, -1):
        columns, rows = np.nonzero(edges == step)
        ends.append((columns + x) * height + rows + y)
    # A run that goes on in the next column is one run.
    starts, stops = ends[0], ends[1]
    apart = stops[:-1] != starts[1:]
    if len(starts):
        starts, stops = starts[np.r_[True, apart]], stops[np.r_[apart, True]]
    bounds = np.column_stack([starts, stops]).ravel()
    if len(bounds) == 0 or bounds[-1] < height * width:
        bounds = np.r_[bounds, height * width]
    counts = np.diff(np.r_[0, bounds]).astype(int).tolist()
    rle = coco.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return str(rle["counts"].decode("ascii"))


def _interval(low: float, high: float, length: int) -> tuple[int, int]:
    """An interval of 0-1 in whole pixels: at least one, inside."""
    start = min(round(low * length), length - 1)
    return start, min(max(round(high * length), start + 1), length)


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _inside(scale: Scale) -> str:
    return f"coordinates inside the image (0 to {scale[0]:g}, 0 to {scale[1]:g})"
