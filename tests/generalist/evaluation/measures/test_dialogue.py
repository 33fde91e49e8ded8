from __future__ import annotations

import pytest

from generalist.evaluation.measures.dialogue import DIALOGUE

from .making import box, case, mask, point, said

LEFT = box(0, 0, 0.5, 1)


def test_an_answer_is_measured_by_its_kind() -> None:
    kept = [
        DIALOGUE.judge(case("dialogue", LEFT), said(box(0, 0, 0.5, 0.8))),  # IoU 0.8
        DIALOGUE.judge(case("dialogue", mask(0, 0, 10, 10)), said(mask(0, 0, 4, 10))),  # IoU 0.4
        DIALOGUE.judge(case("dialogue", point(0.5, 0.5)), said(point(0.5, 0.5))),
        DIALOGUE.judge(case("dialogue", text="Red."), said(text="red")),
        DIALOGUE.judge(case("dialogue", text="Two."), said(text="3")),
    ]
    assert DIALOGUE.combine(kept) == {
        "dialogue accuracy": pytest.approx(3 / 5),
        "dialogue words accuracy": 0.5,
        "dialogue drawn acc@0.5": pytest.approx(2 / 3),
        "dialogue mean IoU": pytest.approx(0.6),
    }
    assert [DIALOGUE.quality(one) for one in kept] == pytest.approx([0.8, 0.4, 1, 1, 0])


def test_words_with_a_drawing_where_none_belongs_are_wrong() -> None:
    denied = case("dialogue", text="There is no dog.", negative=True)
    assert DIALOGUE.quality(DIALOGUE.judge(denied, said(text="There is no dog."))) == 1
    assert DIALOGUE.quality(DIALOGUE.judge(denied, said(LEFT, text="There is no dog."))) == 0


def test_floors() -> None:
    cases = [
        case("dialogue", text="Yes."), case("dialogue", text="Yes."), case("dialogue", text="No."),
        case("dialogue", LEFT), case("dialogue", mask(0, 0, 5, 10)),
    ]  # fmt: skip
    name = "the whole image, its middle, 'yes'"
    assert DIALOGUE.floors(cases) == {
        "dialogue accuracy": (name, pytest.approx(3 / 5)),
        "dialogue words accuracy": (name, pytest.approx(2 / 3)),
        "dialogue drawn acc@0.5": (name, 0.5),
        "dialogue mean IoU": (name, pytest.approx((0.5 + 0.25) / 2)),
    }
