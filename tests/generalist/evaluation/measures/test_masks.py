from __future__ import annotations

import numpy as np
import pytest

from generalist.evaluation.measures.masks import MASK, REGION_MASK
from generalist.types import VisualPrompt
from generalist_datasets.world.masks import to_mask

from .making import box, case, mask, said

LEFT = mask(0, 0, 10, 10)  # 100 pixels


def test_mean_and_cumulative() -> None:
    kept = [
        MASK.judge(case("mask", LEFT), said(mask(0, 0, 20, 10))),  # 100 of 200
        MASK.judge(case("mask", mask(0, 0, 2, 2)), said(mask(0, 0, 2, 2))),  # 4 of 4
    ]
    figures = MASK.combine(kept)
    assert figures["mask mIoU"] == pytest.approx((0.5 + 1) / 2)
    assert figures["mask cIoU"] == pytest.approx(104 / 204)
    assert [MASK.quality(one) for one in kept] == [0.5, 1]


def test_all_that_is_drawn_counts_as_one_and_so_do_the_targets() -> None:
    two = case("mask", mask(0, 0, 5, 10), mask(10, 0, 15, 10))
    kept = MASK.judge(two, said(mask(0, 0, 10, 10), mask(10, 0, 15, 10)))
    assert MASK.quality(kept) == pytest.approx(100 / 150)


def test_scores_are_right_at_half_of_a_target_of_their_own() -> None:
    two = case("mask", mask(0, 0, 5, 10), mask(10, 0, 15, 10))
    kept = MASK.judge(two, said(mask(0, 0, 8, 10), mask(0, 0, 4, 10), mask(16, 0, 20, 10)))
    assert kept["right"] == [False, True, False]
    assert MASK.combine([kept])["mask ECE"] == pytest.approx(2 / 3)
    assert MASK.own_floors([kept])["mask ECE"] == ("every score 1", pytest.approx(2 / 3))


def test_no_mask_drawn_is_a_miss() -> None:
    kept = MASK.judge(case("mask", LEFT), said(box(0, 0, 0.5, 1)))
    assert MASK.combine([kept]) == {"mask mIoU": 0, "mask cIoU": 0}


def test_figures_by_what_the_user_drew() -> None:
    def kept(kind: str, *at: int) -> dict[str, object]:
        prompt = VisualPrompt(kind=kind)  # type: ignore[arg-type]
        return REGION_MASK.judge(case("region_mask", LEFT, prompt=prompt), said(mask(*at)))

    figures = REGION_MASK.combine([kept("box", 0, 0, 10, 10), kept("box", 0, 0, 5, 10), kept("point", 0, 0, 2, 10)])
    assert figures["mask mIoU"] == pytest.approx(1.7 / 3)
    assert figures["mask mIoU, box prompt"] == pytest.approx(0.75)
    assert figures["mask cIoU, point prompt"] == pytest.approx(0.2)
    assert "mask mIoU, scribble prompt" not in figures


def test_floors_are_shapes_in_the_boxes_that_the_model_wrote() -> None:
    y, x = np.mgrid[:100, :100] + 0.5
    disc = to_mask((x - 50) ** 2 + (y - 50) ** 2 <= 30**2)
    sloppy = mask(20, 20, 80, 80, shape=(100, 100))
    floors = MASK.own_floors([MASK.judge(case("mask", disc), said(sloppy))])
    assert floors["mask mIoU"] == ("ellipse in its own box", pytest.approx(1, abs=0.02))
    assert floors["mask cIoU"] == ("its own box, filled", pytest.approx(np.pi / 4, abs=0.01))
    prompted = case("mask", disc, prompt=VisualPrompt(kind="box"))
    assert set(MASK.own_floors([MASK.judge(prompted, said(sloppy))])) == {
        "mask mIoU", "mask cIoU", "mask mIoU, box prompt", "mask cIoU, box prompt", "mask ECE",
    }  # fmt: skip
