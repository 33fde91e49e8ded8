"""Masks as outlines along their pixel edges: exact at any size, holes and separate parts included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

Corner: TypeAlias = tuple[int, int]
Bounds: TypeAlias = tuple[int, int, int, int]

_RIGHT, _DOWN, _LEFT, _UP = range(4)  # the next one is a turn to the right


def mask_bounds(bitmap: np.ndarray) -> Bounds | None:
    """(x1, y1, x2, y2) of the set pixels of bool[H, W], x2 and y2 past the last one; None when there are none."""
    columns, rows = np.flatnonzero(bitmap.any(axis=0)), np.flatnonzero(bitmap.any(axis=1))
    if not len(columns):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def trace_outlines(bitmap: np.ndarray) -> list[list[Corner]]:
    """The corners (x, y) of every closed outline of bool[H, W], in pixels, as they follow each other.

    The mask is on the right of each edge: outer outlines run clockwise on the screen and holes the other way,
    so both fill rules of SVG fill the same pixels. Pixels that touch at a corner only are separate parts.
    """
    edges = _directed_edges(np.pad(bitmap.astype(np.int8), 1))
    outlines: list[list[Corner]] = []
    while edges:
        (x, y, heading), corner = edges.popitem()
        outline = [(x, y), corner]
        while corner != (x, y) or (x, y, (heading + 1) % 4) in edges:
            right, left = (*corner, (heading + 1) % 4), (*corner, (heading - 1) % 4)
            taken = right if right in edges else left
            corner, heading = edges.pop(taken), taken[2]
            outline.append(corner)
        outlines.append(outline[:-1])
    return outlines


def svg_path(outlines: Sequence[Sequence[Corner]], bounds: Bounds, decimals: int = 5) -> str:
    """An SVG path of outlines, in 0-1 of ``bounds``, with absolute M, L and Z; empty when there are none."""
    x1, y1, x2, y2 = bounds

    def at(corner: Corner) -> str:
        x, y = (corner[0] - x1) / (x2 - x1), (corner[1] - y1) / (y2 - y1)
        return f"{_number(x, decimals)} {_number(y, decimals)}"

    parts = [" L ".join([at(corner) for corner in outline]) for outline in outlines]
    return " ".join(f"M {part} Z" for part in parts)


def _number(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _directed_edges(padded: np.ndarray) -> dict[tuple[int, int, int], Corner]:
    """(x, y, heading) -> end of every longest straight edge; int8[H + 2, W + 2] with an empty rim."""
    edges: dict[tuple[int, int, int], Corner] = {}
    # Between two rows: +1 where the mask begins below, which is a top edge, -1 where it ends.
    for y, low, high, sign in _runs(np.diff(padded, axis=0)):
        if sign > 0:
            edges[low, y, _RIGHT] = (high, y)
        else:
            edges[high, y, _LEFT] = (low, y)
    for x, low, high, sign in _runs(np.diff(padded, axis=1).T):
        if sign > 0:
            edges[x, high, _UP] = (x, low)
        else:
            edges[x, low, _DOWN] = (x, high)
    return edges


def _runs(steps: np.ndarray) -> list[tuple[int, int, int, int]]:
    """(line, start, stop, sign) of every run of equal, non-zero steps along the lines of int8[L, N + 2].

    The first and the last step of a line are 0, so that no run goes on in the next line.
    """
    steps = np.ascontiguousarray(steps)
    at = np.flatnonzero(steps)
    signs = steps.reshape(-1)[at]
    breaks = np.flatnonzero((np.diff(at) != 1) | (np.diff(signs) != 0))
    first = np.concatenate([[0], breaks + 1]) if len(at) else breaks
    last = np.concatenate([breaks, [len(at) - 1]]) if len(at) else breaks
    lines, starts = np.divmod(at[first], steps.shape[1])
    stops = starts + at[last] - at[first]
    return list(zip(lines.tolist(), (starts - 1).tolist(), stops.tolist(), signs[first].tolist(), strict=True))
