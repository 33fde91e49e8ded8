from __future__ import annotations

import pytest

from generalist.evaluation.cases import Measure
from generalist.evaluation.measures.segments import PANOPTIC, SEMANTIC

from .making import box, case, grounded, mask, said

LEFT, RIGHT = mask(0, 0, 10, 10), mask(10, 0, 20, 10)
DOG_AND_SKY = {"label": "dog", "targets": grounded(RIGHT, label="sky")}


def test_semantic_iou_is_summed_over_cases_before_the_mean_over_classes() -> None:
    kept = [
        SEMANTIC.judge(case("semantic", LEFT, **DOG_AND_SKY), said(LEFT, more=grounded(RIGHT, label="Sky"))),
        SEMANTIC.judge(case("semantic", LEFT, label="dog"), said(mask(0, 0, 5, 10), label="dog")),
    ]
    # dog: (100 + 50) / (100 + 100), sky: 100 / 100
    assert SEMANTIC.combine(kept) == {"semantic mIoU": pytest.approx((0.75 + 1) / 2)}
    assert [SEMANTIC.quality(one) for one in kept] == [1, 0.5]


def test_semantic_classes_that_are_only_drawn_count_too() -> None:
    kept = SEMANTIC.judge(case("semantic", LEFT), said(LEFT, more=grounded(RIGHT, label="cow")))
    assert SEMANTIC.combine([kept]) == {"semantic mIoU": 0.5}


def test_semantic_masks_of_a_class_are_one() -> None:
    kept = SEMANTIC.judge(case("semantic", LEFT, RIGHT), said(mask(0, 0, 20, 5), mask(0, 5, 20, 10)))
    assert SEMANTIC.combine([kept]) == {"semantic mIoU": 1}


def test_panoptic_quality() -> None:
    # dog: one of IoU 0.8, one missed; sky: IoU 1; cow: drawn where none is.
    targets = case("panoptic", LEFT, mask(10, 0, 15, 10), targets=grounded(mask(15, 0, 20, 10), label="sky"))
    drawn = (*grounded(mask(15, 0, 20, 10), label="sky"), *grounded(mask(0, 0, 2, 2), label="cow"))
    kept = PANOPTIC.judge(targets, said(mask(0, 0, 8, 10), more=drawn))
    assert PANOPTIC.combine([kept]) == {
        "PQ": pytest.approx((0.8 / 1.5 + 1 + 0) / 3),
        "SQ": pytest.approx((0.8 + 1 + 0) / 3),
        "RQ": pytest.approx((1 / 1.5 + 1 + 0) / 3),
    }
    assert PANOPTIC.quality(kept) == pytest.approx((0.8 / 1.5 + 1) / 3)


def test_panoptic_matches_above_one_half_only() -> None:
    half = PANOPTIC.judge(case("panoptic", LEFT), said(mask(0, 0, 5, 10)))
    assert PANOPTIC.combine([half]) == {"PQ": 0, "SQ": 0, "RQ": 0}


def test_panoptic_counts_are_summed_over_cases() -> None:
    found = PANOPTIC.judge(case("panoptic", LEFT), said(LEFT))
    missed = PANOPTIC.judge(case("panoptic", LEFT), said())
    assert PANOPTIC.combine([found, missed])["PQ"] == pytest.approx(1 / 1.5)


def test_stuff_has_no_instances() -> None:
    pieces = said(mask(0, 0, 5, 10), mask(5, 0, 10, 10), label="sky")
    assert PANOPTIC.quality(PANOPTIC.judge(case("panoptic", LEFT, label="Sky", stuff=("Sky",)), pieces)) == 1
    assert PANOPTIC.quality(PANOPTIC.judge(case("panoptic", LEFT, label="sky"), pieces)) == 0


@pytest.mark.parametrize("measure", [SEMANTIC, PANOPTIC])
def test_floors(measure: Measure) -> None:
    cases = [case(measure.group, mask(0, 0, 16, 10), label="sky", targets=grounded(mask(16, 0, 20, 10)))]
    ((figure, (name, value)), *_) = measure.floors(cases).items()
    assert (figure, name) in (("semantic mIoU", "all is 'sky'"), ("PQ", "all is 'sky'"))
    assert value == pytest.approx(0.8 / 2)


@pytest.mark.parametrize("measure", [SEMANTIC, PANOPTIC])
def test_nothing_there_and_nothing_drawn(measure: Measure) -> None:
    empty = measure.judge(case(measure.group), said(box(0, 0, 1, 1)))
    assert measure.combine([empty]) == {}
    assert measure.quality(empty) == 1
