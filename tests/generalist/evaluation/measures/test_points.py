from __future__ import annotations

import math

import pytest

from generalist.evaluation.measures.points import POINT
from generalist.types import Output

from .making import box, case, mask, point, said

CORNER = mask(0, 0, 4, 5)  # a tenth of the picture


@pytest.mark.parametrize(
    ("target", "hit", "miss"),
    [
        (CORNER, (0.1, 0.4), (0.25, 0.4)),
        (box(0, 0, 0.2, 0.5), (0.2, 0.5), (0.21, 0.5)),
        (point(0.5, 0.5), (0.53, 0.539), (0.53, 0.541)),
    ],
)
def test_on_what_was_asked_for(target: Output, hit: tuple[float, float], miss: tuple[float, float]) -> None:
    one = case("point", target)
    kept = [POINT.judge(one, said(point(*hit))), POINT.judge(one, said(point(*miss))), POINT.judge(one, said())]
    assert [POINT.quality(k) for k in kept] == [1, 0, 0]
    assert POINT.combine(kept) == {"point on target": pytest.approx(1 / 3)}


def test_every_target_needs_a_point_of_its_own() -> None:
    two = case("point", CORNER, mask(10, 0, 20, 10))
    assert POINT.quality(POINT.judge(two, said(point(0.1, 0.1), point(0.12, 0.1)))) == 0.5
    assert POINT.quality(POINT.judge(two, said(point(0.1, 0.1), point(0.8, 0.1)))) == 1


def test_the_last_pixel_is_inside_and_what_is_outside_the_picture_is_not() -> None:
    all_of_it = case("point", mask(0, 0, 20, 10))
    places = [(1, 1), (1.01, 0.5), (-0.1, 0.5), (math.nan, 0.5), (math.inf, 0.5)]
    assert [POINT.quality(POINT.judge(all_of_it, said(point(*xy)))) for xy in places] == [1, 0, 0, 0, 0]


def test_the_floor_is_the_share_of_the_picture() -> None:
    cases = [case("point", CORNER), case("point", box(0, 0, 0.5, 0.6))]
    assert POINT.floors(cases) == {"point on target": ("a random place", pytest.approx((0.1 + 0.3) / 2))}
    assert POINT.floors([]) == {}
