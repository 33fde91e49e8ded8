from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import supervision as sv

from generalist.evaluation.measures.geometry import (
    agreement,
    bitmap,
    box_array,
    box_overlap,
    ellipse,
    filled,
    mask_overlap,
    pairs,
    right,
    score,
)

from .making import box, mask, region


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corners = rng.random((count, 2, 2))
    return np.concatenate([corners.min(1), corners.max(1)], axis=1)


def test_overlap_of_boxes_is_that_of_supervision() -> None:
    rng = np.random.default_rng(0)
    a, b = random_boxes(rng, 30), random_boxes(rng, 20)
    np.testing.assert_allclose(box_overlap(a, b), sv.box_iou_batch(a, b), atol=1e-6)


def test_overlap_of_masks_is_that_of_supervision() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((4, 30, 40)) < 0.3, rng.random((3, 30, 40)) < 0.7
    np.testing.assert_allclose(mask_overlap(list(a), list(b)), sv.mask_iou_batch(a, b), atol=1e-6)


def test_a_box_without_area_overlaps_nothing() -> None:
    line, back_to_front = box(0.5, 0, 0.5, 1), box(0.9, 0.9, 0.1, 0.1)
    boxes = box_array([line, back_to_front])
    assert not box_overlap(boxes, boxes).any()


def test_numbers_of_a_box_that_are_none_become_0() -> None:
    wild = box(float("nan"), float("-inf"), float("inf"), 0.5)
    assert box_array([wild]).tolist() == [[0, 0, 1, 0.5]]


def test_pairs_take_the_best_overlap_first() -> None:
    overlap = np.array([[0.6, 0.5], [0.7, 0.0]])
    assert pairs(overlap) == [(1, 0), (0, 1)]
    assert pairs(overlap, at_least=0.6) == [(1, 0)]
    assert pairs(np.zeros((0, 3))) == []


def test_agreement_with_one_target_is_that_of_the_surest_drawing() -> None:
    overlap = np.array([[0.2], [0.9]])
    assert agreement(overlap, [0.4, 0.6]) == 0.9
    assert agreement(overlap, [1.0, 1.0]) == 0.2, "the first of several"


def test_agreement_with_several_targets_counts_what_is_missing_and_what_is_too_much() -> None:
    assert agreement(np.array([[0.9, 0.0]]), [1.0]) == pytest.approx(0.45)
    assert agreement(np.array([[0.9, 0.0], [0.0, 0.6], [0.1, 0.1]]), [1.0] * 3) == pytest.approx(0.5)


@pytest.mark.parametrize(("drawn", "true", "value"), [(0, 0, 1.0), (1, 0, 0.0), (0, 1, 0.0), (0, 2, 0.0)])
def test_agreement_with_nothing(drawn: int, true: int, value: float) -> None:
    assert agreement(np.zeros((drawn, true)), [1.0] * drawn) == value


def test_a_target_makes_one_drawing_right() -> None:
    assert right(np.array([[0.6], [0.8]])) == [False, True]


@pytest.mark.parametrize(
    ("said", "value"),
    [(None, 1.0), (0.25, 0.25), (float("nan"), 0.0), (float("inf"), 1.0), (-3.0, 0.0), (7.0, 1.0)],
)
def test_score(said: float | None, value: float) -> None:
    assert score(box(0, 0, 1, 1, score=said)) == value


def test_a_mask_of_another_size_is_stretched() -> None:
    small = mask(1, 0, 2, 1, shape=(2, 4))
    assert np.array_equal(bitmap(small, (10, 20)), region(5, 0, 10, 5))
    assert np.array_equal(bitmap(mask(5, 0, 10, 5), (2, 4)), region(1, 0, 2, 1, shape=(2, 4)))


@pytest.mark.parametrize("counts", ["~" * 40, mask(0, 0, 50, 50, shape=(100, 100)).counts])
def test_a_mask_that_cannot_be_read_is_empty(counts: str) -> None:
    assert not bitmap(replace(mask(0, 0, 2, 2), counts=counts), (10, 20)).any()


def test_a_mask_without_pixels_is_empty() -> None:
    assert not bitmap(replace(mask(0, 0, 2, 2), size=(0, 5), counts=""), (10, 20)).any()


def test_shapes_in_a_box() -> None:
    xyxy = np.array([0.25, 0.2, 0.75, 0.8])
    assert np.array_equal(filled(xyxy, (10, 20)), region(5, 2, 15, 8))
    inside = ellipse(xyxy, (1000, 1000))
    assert inside.mean() == pytest.approx(np.pi / 4 * 0.5 * 0.6, rel=0.01)
    assert inside[500, 500] and not inside[210, 260]
