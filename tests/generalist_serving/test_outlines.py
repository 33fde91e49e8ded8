"""Outlines: what they enclose, and on which side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from generalist_serving.outlines import mask_bounds, svg_path, trace_outlines

Corners = list[tuple[int, int]]


def enclosed(outline: Corners) -> float:
    """Pixels within an outline by the shoelace formula: below 0 when it runs the other way."""
    pairs = zip(outline, outline[1:] + outline[:1], strict=True)
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs) / 2


def rows(*lines: str) -> np.ndarray:
    return np.array([[sign == "#" for sign in line] for line in lines])


@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_outlines_enclose_the_set_pixels(bitmap: np.ndarray) -> None:
    outlines = trace_outlines(bitmap)
    assert sum(map(enclosed, outlines)) == bitmap.sum()
    for outline in outlines:
        for (x1, y1), (x2, y2) in zip(outline, outline[1:] + outline[:1], strict=True):
            assert (x1 == x2) != (y1 == y2)
        turns = zip(outline, outline[1:] + outline[:1], outline[2:] + outline[:2], strict=True)
        assert all((a[0] == b[0]) != (b[0] == c[0]) for a, b, c in turns)  # corners only


def test_a_hole_runs_the_other_way() -> None:
    outer, hole = sorted(trace_outlines(rows("####", "#..#", "####")), key=len)
    assert sorted([enclosed(outer), enclosed(hole)]) == [-2, 12]


def test_pixels_that_touch_at_a_corner_are_separate() -> None:
    assert sorted(enclosed(outline) for outline in trace_outlines(rows("#.", ".#"))) == [1, 1]
    (ring,) = trace_outlines(rows(".##", "#.#", "###"))  # open at a corner, so the hole is outside
    assert enclosed(ring) == 7


def test_nothing_has_no_outline() -> None:
    assert trace_outlines(np.zeros((3, 4), np.bool_)) == [] and mask_bounds(np.zeros((3, 4), np.bool_)) is None
    assert svg_path([], (0, 0, 1, 1)) == ""


def test_bounds_end_past_the_last_pixel() -> None:
    assert mask_bounds(rows("....", ".##.", "..#.")) == (1, 1, 3, 3)


@pytest.mark.parametrize(("decimals", "expected"), [(2, "M 0 0 L 0.33 0 L 1 1 Z"), (4, "M 0 0 L 0.3333 0 L 1 1 Z")])
def test_paths_are_in_parts_of_the_bounds(decimals: int, expected: str) -> None:
    assert svg_path([[(3, 5), (4, 5), (6, 9)]], (3, 5, 6, 9), decimals) == expected
