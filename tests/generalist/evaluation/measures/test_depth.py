from __future__ import annotations

import math

import numpy as np
import pytest

from generalist.evaluation.measures.depth import DEPTH
from generalist.types import DepthMap

from .making import box, case, depth, said

TRUE = depth([1.0, 2.0], [4.0, 5.0])


def test_figures() -> None:
    kept = DEPTH.judge(case("depth", TRUE), said(depth([1.0, 2.4], [6.0, 5.0])))
    # Off by 0, 0.4, 2, 0 metres; ratios 1, 1.2, 1.5, 1.
    assert DEPTH.combine([kept]) == pytest.approx(
        {"depth AbsRel": (0.2 + 0.5) / 4, "depth RMSE m": math.sqrt((0.4**2 + 2**2) / 4), "depth d1": 0.75}
    )
    assert DEPTH.quality(kept) == 0.75
    assert DEPTH.lower_is_better == {"depth AbsRel", "depth RMSE m"}


def test_only_pixels_whose_depth_is_known() -> None:
    true = depth([1.0, math.nan], [0.0, math.inf])
    kept = DEPTH.judge(case("depth", true), said(depth([1.0, 9.0], [9.0, 9.0])))
    assert DEPTH.combine([kept]) == {"depth AbsRel": 0, "depth RMSE m": 0, "depth d1": 1}


def test_nothing_drawn_is_the_worst() -> None:
    kept = DEPTH.judge(case("depth", TRUE), said(box(0, 0, 1, 1)))
    assert DEPTH.combine([kept]) == {
        "depth AbsRel": 1,
        "depth RMSE m": pytest.approx(math.sqrt((1 + 4 + 16 + 25) / 4)),
        "depth d1": 0,
    }


def test_a_map_of_another_size_is_stretched() -> None:
    kept = DEPTH.judge(case("depth", DepthMap(values=np.full((10, 20), 3.0))), said(depth([3.0])))
    assert DEPTH.combine([kept])["depth d1"] == 1


def test_relative_depth_is_scaled_to_the_median() -> None:
    said_relative = DepthMap(values=TRUE.values * 0.1, unit="relative")
    assert DEPTH.quality(DEPTH.judge(case("depth", TRUE), said(said_relative))) == 1
    assert DEPTH.quality(DEPTH.judge(case("depth", TRUE), said(DepthMap(values=TRUE.values * 0.1)))) == 0


def test_values_that_are_no_distance_are_wrong_and_nothing_else() -> None:
    kept = DEPTH.judge(case("depth", TRUE), said(depth([math.nan, 2.0], [-3.0, math.inf])))
    assert DEPTH.quality(kept) == 0.25
    assert all(map(math.isfinite, DEPTH.combine([kept]).values()))


def test_cases_without_a_known_pixel_do_not_count() -> None:
    unknown = DEPTH.judge(case("depth", depth([math.nan])), said(TRUE))
    known = DEPTH.judge(case("depth", TRUE), said(TRUE))
    assert DEPTH.combine([unknown]) == {}
    assert DEPTH.combine([unknown, known])["depth d1"] == 1


def test_the_floor_is_the_mean_of_logarithms_at_each_place() -> None:
    near, far = np.full((96, 96), 1.0), np.full((96, 96), 4.0)
    far[:, 48:] = 1.0  # on the right both are at 1 m; on the left the mean is 2 m
    cases = [case("depth", DepthMap(values=near)), case("depth", DepthMap(values=far))]
    assert DEPTH.floors(cases) == {
        "depth AbsRel": ("mean depth image", pytest.approx((0.5 * 1 + 0.5 * 0.5) / 2)),
        "depth RMSE m": ("mean depth image", pytest.approx((math.sqrt(0.5) + math.sqrt(2)) / 2)),
        "depth d1": ("mean depth image", pytest.approx(0.5)),
    }
    assert DEPTH.floors([case("depth", depth([math.nan]))]) == {} == DEPTH.floors([])


def test_the_floor_takes_maps_of_any_size_and_with_holes() -> None:
    holes = np.full((50, 70), 2.0)
    holes[:, :30] = np.nan
    cases = [case("depth", DepthMap(values=holes)), case("depth", DepthMap(values=np.full((200, 120), 2.0)))]
    assert DEPTH.floors(cases)["depth d1"][1] == pytest.approx(1)
