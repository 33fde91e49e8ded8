"""Coordinates that cannot be right."""

from __future__ import annotations

from generalist_datasets.records import Annotation, Problems

TOLERANCE = 1.0
"""Pixels that a coordinate may lie outside: tools round, and some count from 1."""


def check_geometry(annotation: Annotation, size: tuple[int, int], problems: Problems) -> None:
    """Warn of a box without an area, and of boxes and keypoints outside a picture of ``size`` (W, H)."""
    width, height = size
    if annotation.xyxy is not None:
        x1, y1, x2, y2 = annotation.xyxy
        if not (x1 < x2 and y1 < y2):
            problems.warn("empty box", annotation.where, _shown(annotation.xyxy))
        elif not (_inside(x1, y1, size) and _inside(x2, y2, size)):
            wholly = x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height
            detail = f"{_shown(annotation.xyxy)} is {'' if wholly else 'partly '}outside {width}x{height}"
            problems.warn("box outside the image", annotation.where, detail)
    for keypoint in annotation.keypoints:
        if not _inside(*keypoint.xy, size):
            detail = f"{keypoint.name!r} at {_shown(keypoint.xy)} is outside {width}x{height}"
            problems.warn("point outside the image", annotation.where, detail)


def _inside(x: float, y: float, size: tuple[int, int]) -> bool:
    return -TOLERANCE <= x <= size[0] + TOLERANCE and -TOLERANCE <= y <= size[1] + TOLERANCE


def _shown(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)
