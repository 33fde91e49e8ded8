"""Which rays may meet which solids, the nearest hit of every pixel, and what stands in the light.

Work is done on *pairs* (a solid and a pixel in its box on the screen), those of all scenes together, so that
the number of array operations does not depend on how many scenes there are.

Shape legend: B scenes; H, W image height and width; S solids of all scenes; P pairs. A pixel's number counts
through the flattened [B, H, W]. Geometry is float64: float32 would be millimetres off at silhouettes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from generalist_datasets.world.intersect import Array, blocks, enter
from generalist_datasets.world.scene import FARTHEST
from generalist_datasets.world.table import Table, pick, through

NEAR = 0.05
"""Metres; what reaches nearer than this to the camera's plane gets the whole screen as its box."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hits:
    """Pairs of a solid and the pixel that shows it: int64 [P], depth ``t`` float64 [P], ordered by solid."""

    solid: Array
    column: Array
    row: Array
    pixel: Array
    t: Array

    def only(self, chosen: Array) -> Hits:
        return Hits(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


# --- boxes on the screen, on the host --------------------------------------------------------------


def _bounds(corners: np.ndarray, balls: np.ndarray, radius: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest slope x / z (or y / z) of solids inside both hulls: of ``corners`` [3, C, S] and of
    ``balls`` [3, K, S] of a ``radius`` [S]; infinite where they come close to the camera's plane."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = corners[axis] / corners[2]
        low, high = slope.min(axis=0), slope.max(axis=0)
        along, z = balls[axis], balls[2]
        spread = radius * np.sqrt(along**2 + z**2 - radius**2)
        ball_low = ((along * z - spread) / (z**2 - radius**2)).min(axis=0)
        ball_high = ((along * z + spread) / (z**2 - radius**2)).max(axis=0)
    by_corners, by_balls = corners[2].min(axis=0) > NEAR, (z - radius).min(axis=0) > NEAR
    low = np.maximum(np.where(by_corners, low, -np.inf), np.where(by_balls, ball_low, -np.inf))
    high = np.minimum(np.where(by_corners, high, np.inf), np.where(by_balls, ball_high, np.inf))
    return low, high


def screen_boxes(
    table: Table, shift: np.ndarray | None, width: int, height: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(first column, last column + 1, first row, last row + 1) of the pixels that may show each solid of a numpy
    table, or any place on its way when it moves by ``shift`` float64 [3, S]."""
    signs = np.array([(a, b, c) for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)], dtype=np.float64)
    corners = table.centre[:, None] + np.einsum("ck,iks->ics", signs, table.edges)
    balls = table.centre[:, None]
    if shift is not None:
        corners = np.concatenate([corners, corners + shift[:, None]], axis=1)
        balls = np.concatenate([balls, balls + shift[:, None]], axis=1)
    limits = []
    for axis, size in ((0, width), (1, height)):
        low, high = _bounds(corners, balls, table.radius, axis)
        scale, offset = table.pixel_to_camera[axis, axis], table.pixel_to_camera[axis, 2]
        # 1e-6 of a pixel covers rounding
        first = np.clip(np.ceil((low - offset) / scale - 1e-6), 0, size).astype(np.int64)
        last = np.clip(np.floor((high - offset) / scale + 1e-6) + 1, 0, size).astype(np.int64)
        limits += [first, np.maximum(first, last)]
    return limits[0], limits[1], limits[2], limits[3]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spans:
    """Runs of neighbouring pixels, one for each row of each solid's box, ordered by solid: int64 [R]."""

    solid: Array
    row: Array
    first: Array  # column
    count: Array
    pixel: Array  # number of the first pixel

    @classmethod
    def of(cls, boxes: tuple[np.ndarray, ...], scene: np.ndarray, width: int, height: int) -> Spans:
        left, right, top, bottom = boxes
        rows = np.where(right > left, bottom - top, 0)
        solid = np.repeat(np.arange(len(rows)), rows)
        row = np.arange(len(solid)) - np.repeat(np.cumsum(rows) - rows - top, rows)
        first = left[solid]
        pixel = (scene[solid] * height + row) * width + first
        return cls(solid=solid, row=row, first=first, count=(right - left)[solid], pixel=pixel)

    def moved(self, xp: Any, device: str | None) -> Spans:
        return Spans(**{f.name: xp.asarray(getattr(self, f.name), device=device) for f in fields(self)})

    def spread(self) -> tuple[Array, Array, Array]:
        """(number of the span, column, number of the pixel) of every pixel: int64 [P] each."""
        xp, device = array_namespace(self.count), self.count.device
        ends = xp.cumulative_sum(self.count, axis=0)
        starts = ends - self.count
        total = int(ends[-1]) if len(ends) else 0
        steps = xp.arange(total, dtype=xp.int64, device=device)
        span = xp.repeat(xp.arange(len(starts), dtype=xp.int64, device=device), self.count)
        steps = steps - starts[span]
        return span, steps + self.first[span], steps + self.pixel[span]


# --- nearest hits ------------------------------------------------------------------------------------


def by_shape(table: Table, solid: Array) -> Iterator[tuple[str, slice]]:
    """The runs of pairs with solids of one shape; ``solid`` int64 [P] is ordered."""
    xp = array_namespace(solid)
    ends = xp.asarray([end for _, end in table.shapes], dtype=solid.dtype, device=solid.device)
    start = 0
    for (shape, _), end in zip(table.shapes, xp.searchsorted(solid, ends).tolist(), strict=True):
        if end > start:
            yield shape, slice(start, end)
        start = end


def lower(target: Array, at: Array, values: Array) -> None:
    """``target[at] = min(target[at], values)`` for repeated ``at``; the order of the pairs does not matter."""
    if isinstance(target, np.ndarray):
        np.minimum.at(target, at, values)
    else:
        target.scatter_reduce_(0, at, values, "amin")


def first_hits(table: Table, spans: Spans, pixels: int) -> tuple[Hits, list[int]]:
    """The nearest solid of every pixel that shows one (of two at the same depth, the first in the table); and how
    many pixels each solid would show alone."""
    xp, device = array_namespace(table.origin), table.origin.device
    span, column, pixel = spans.spread()
    matrix = pick(table.pixel_to_local, spans.solid)
    solid = spans.solid[span]
    d = pick(matrix[:, 0], span) * column + pick(matrix[:, 1] * spans.row + matrix[:, 2], span)
    o, ratio = pick(table.origin, solid), table.ratio[solid]
    t = xp.full(solid.shape, xp.inf, dtype=xp.float64, device=device)
    for shape, run in by_shape(table, solid):
        t[run] = enter(shape, o[:, run], d[:, run], ratio[run])
    (found,) = xp.nonzero(t < xp.inf)
    hits = Hits(solid=solid, column=column, row=spans.row[span], pixel=pixel, t=t).only(found)
    ends = xp.searchsorted(
        hits.solid, xp.arange(len(table.scene), dtype=xp.int64, device=device), side="right"
    ).tolist()
    nearest = xp.full((pixels,), xp.inf, dtype=xp.float64, device=device)
    lower(nearest, hits.pixel, hits.t)
    hits = hits.only(xp.nonzero(hits.t == nearest[hits.pixel])[0])
    winner = xp.full((pixels,), len(table.scene), dtype=xp.int64, device=device)
    lower(winner, hits.pixel, hits.solid)
    alone = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    return hits.only(xp.nonzero(hits.solid == winner[hits.pixel])[0]), alone


# --- shadows -----------------------------------------------------------------------------------------


def sweeps(table: Table, nearest: np.ndarray) -> np.ndarray:
    """How a solid moves along the light until nothing is seen there any more: metres [3, S], for a numpy table.

    That is when it is under the ground, or before the depth ``nearest`` [B] of what each scene shows.
    """
    front = nearest.copy()
    np.minimum.at(front, table.scene, table.centre[2] - table.radius)
    down, behind = -table.light[1], table.light[2]
    lowest = (table.eye + table.radius - table.centre[1]) / np.maximum(down, 1e-3)
    closest = (table.centre[2] + table.radius - front[table.scene]) / np.maximum(behind, 1e-3)
    return -table.light * np.clip(np.minimum(lowest, closest), 0.0, FARTHEST)


def shadowed(table: Table, spans: Spans, depth: Array, shown: Array | None) -> tuple[Array, Array]:
    """(pixels whose surface at ``depth`` is hidden from the light, the solid that hides it): int64 each; a pixel
    comes once for every solid that hides it.

    ``depth`` float64 [B * H * W] is inf where there is nothing to light. ``shown`` int64 [B * H * W] says which
    solid is at that depth (None: none); a convex one does not hide itself, as long as its unlit side is left
    out of ``depth``.
    """
    xp = array_namespace(depth)
    span, column, pixel = spans.spread()
    t = depth[pixel]
    (lit,) = xp.nonzero(t < xp.inf)
    span, column, pixel, t = span[lit], column[lit], pixel[lit], t[lit]
    x, y, z, light_x, light_y, light_z, radius = _from_centres(table, spans, span, column, t)
    along = x * light_x + y * light_y + z * light_z
    near = (x * x + y * y + z * z - along * along < radius * radius) & (along < radius)
    solid = spans.solid[span]
    if shown is not None:
        near = near & ((shown[pixel] != solid) | ~table.convex[solid])
    (kept,) = xp.nonzero(near)
    solid, column, row, pixel, t = solid[kept], column[kept], spans.row[span[kept]], pixel[kept], t[kept]
    o = pick(table.origin, solid) + through(pick(table.pixel_to_local, solid), column, row) * t
    d, ratio = pick(table.light_local, solid), table.ratio[solid]
    hidden = xp.zeros(solid.shape, dtype=xp.bool, device=depth.device)
    for shape, run in by_shape(table, solid):
        hidden[run] = blocks(shape, o[:, run], d[:, run], ratio[run])
    return pixel[hidden], solid[hidden]


def _from_centres(table: Table, spans: Spans, span: Array, column: Array, t: Array) -> tuple[Array, ...]:
    """What pixels show at depth ``t``, seen from a solid's centre: x, y, z; then x, y, z of the light, and the radius
    of the bounding ball: float64 [P] each."""
    xp = array_namespace(t)
    at = spans.solid
    across, down = pick(table.pixel_to_camera[0], at), pick(table.pixel_to_camera[1], at)
    known = [across[0], across[2], down[1] * spans.row + down[2]]
    known += [*pick(table.centre, at), *pick(table.light, at), table.radius[at]]
    step, start, y, centre_x, centre_y, centre_z, *rest = pick(xp.stack(known), span)
    return (step * column + start) * t - centre_x, y * t - centre_y, t - centre_z, *rest
