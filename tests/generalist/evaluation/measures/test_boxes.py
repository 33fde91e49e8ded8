from __future__ import annotations

import pytest

from generalist.evaluation.measures.boxes import BOX

from .making import box, case, mask, point, said

LEFT, RIGHT = box(0, 0, 0.5, 1), box(0.5, 0, 1, 1)


def test_figures() -> None:
    kept = [
        BOX.judge(case("box", LEFT), said(box(0, 0, 0.5, 1, score=0.9))),  # IoU 1
        BOX.judge(case("box", LEFT), said(box(0, 0, 0.5, 0.5, score=0.9))),  # IoU 0.5
        BOX.judge(case("box", LEFT), said(box(0, 0, 1, 0.5, score=0.3))),  # IoU 1/3
        BOX.judge(case("box", LEFT), said()),
    ]
    figures = BOX.combine(kept)
    assert figures == {
        "box acc@0.5": 0.5,
        "box mean IoU": pytest.approx((1 + 0.5 + 1 / 3) / 4),
        "box ECE": pytest.approx((2 * 0.1 + 0.3) / 3),
    }
    assert [BOX.quality(one) for one in kept] == pytest.approx([1, 0.5, 1 / 3, 0])


def test_the_box_with_the_highest_score_counts() -> None:
    kept = BOX.judge(case("box", LEFT), said(box(0.5, 0, 1, 1, score=0.2), box(0, 0, 0.5, 1, score=0.8)))
    assert BOX.quality(kept) == 1


def test_several_targets() -> None:
    both = case("box", LEFT, RIGHT)
    assert BOX.quality(BOX.judge(both, said(RIGHT, LEFT))) == 1
    assert BOX.quality(BOX.judge(both, said(RIGHT))) == 0.5
    assert BOX.quality(BOX.judge(both, said(RIGHT, RIGHT, LEFT))) == pytest.approx(2 / 3)


def test_a_mask_has_a_box_as_target_but_is_none_as_answer() -> None:
    assert BOX.quality(BOX.judge(case("box", mask(0, 0, 10, 10)), said(LEFT))) == 1
    assert BOX.quality(BOX.judge(case("box", LEFT), said(mask(0, 0, 10, 10), point(0.2, 0.5)))) == 0


def test_no_error_of_scores_without_a_box() -> None:
    assert "box ECE" not in BOX.combine([BOX.judge(case("box", LEFT), said())])


def test_floors() -> None:
    cases = [case("box", LEFT), case("box", box(0, 0, 0.5, 0.5))]
    assert BOX.floors(cases) == {
        "box acc@0.5": ("the whole image", 0.5),
        "box mean IoU": ("the whole image", pytest.approx((0.5 + 0.25) / 2)),
    }
    kept = [BOX.judge(one, said(box(0, 0, 0.5, 1, score=0.5))) for one in cases]
    assert BOX.own_floors(kept) == {"box ECE": ("every score 1", 0.0)}
