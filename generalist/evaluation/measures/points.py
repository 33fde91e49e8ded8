"""Points: do they lie on what was asked for?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from generalist.evaluation.cases import Case, Measure, Outcome
from generalist.evaluation.measures.geometry import agreement, bitmap, drawn, score
from generalist.evaluation.measures.trivial import Floors
from generalist.types import Box, Mask, Point

NEAR = 0.05
"""How far from a target that is a point itself, in sides of the picture, a point may lie."""

ON_TARGET = "point on target"


def judge(case: Case, outcome: Outcome) -> dict[str, Any]:
    """``hit``: the share of targets with a point of their own, 0-1 (see :func:`~.geometry.agreement`).

    A point is on a target that is a mask if it lies on it; of targets without masks, in its box; of targets that
    are points themselves, :data:`NEAR` to it.
    """
    points = [point for _, point in drawn(outcome.outputs, Point)]
    targets = [contains for contains, _ in _targets(case)]
    hits = [[float(contains(point.xy)) for contains in targets] for point in points]
    overlap = np.array(hits, np.float64).reshape(len(points), len(targets))
    return {"hit": agreement(overlap, [score(point) for point in points])}


def _targets(case: Case) -> list[tuple[Callable[[tuple[float, float]], bool], float]]:
    """For each target, whether a place lies on it, and the share of the picture that does."""
    targets = case.sample.targets
    if masks := drawn(targets, Mask):
        bitmaps = [bitmap(mask, mask.size) for _, mask in masks]
        return [(_on_mask(pixels), float(pixels.mean()) if pixels.size else 0.0) for pixels in bitmaps]
    if boxes := drawn(targets, Box):
        return [(_in_box(box), float(np.prod(np.subtract(box.xyxy[2:], box.xyxy[:2])))) for _, box in boxes]
    return [(_near(point), math.pi * NEAR**2) for _, point in drawn(targets, Point)]


def _on_mask(pixels: np.ndarray) -> Callable[[tuple[float, float]], bool]:
    def contains(xy: tuple[float, float]) -> bool:
        if not all(0 <= value <= 1 for value in xy) or not pixels.size:  # not so for what is no number either
            return False
        row, column = (min(int(v * n), n - 1) for v, n in zip(xy[::-1], pixels.shape, strict=True))
        return bool(pixels[row, column])

    return contains


def _in_box(box: Box) -> Callable[[tuple[float, float]], bool]:
    x1, y1, x2, y2 = box.xyxy
    return lambda xy: x1 <= xy[0] <= x2 and y1 <= xy[1] <= y2


def _near(point: Point) -> Callable[[tuple[float, float]], bool]:
    return lambda xy: math.dist(xy, point.xy) <= NEAR


def _combine(kept: Sequence[Any]) -> dict[str, float]:
    return {ON_TARGET: float(np.mean([one["hit"] for one in kept]))}


def _floors(cases: Sequence[Case]) -> Floors:
    shares = [float(np.mean([share for _, share in targets])) for case in cases if (targets := _targets(case))]
    return {ON_TARGET: ("a random place", float(np.mean(shares)))} if shares else {}


POINT = Measure(group="point", judge=judge, combine=_combine, quality=lambda kept: float(kept["hit"]), floors=_floors)
