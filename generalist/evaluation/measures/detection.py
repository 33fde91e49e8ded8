"""Detect everything: boxes with the right names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from generalist.evaluation.cases import Case, Measure, Outcome
from generalist.evaluation.measures.average_precision import average_precision
from generalist.evaluation.measures.calibration import always_sure, calibration
from generalist.evaluation.measures.geometry import box_array, box_overlap, drawn, right, score, true_boxes
from generalist.evaluation.measures.trivial import WHOLE, Floors, answer, commonest_label, floors_of
from generalist.types import Box

F1, ERROR = "detection F1@0.5", "box ECE"


def _judge(case: Case, outcome: Outcome) -> dict[str, Any]:
    """``labels``, ``boxes`` (xyxy, 0-1) and ``scores`` of what was drawn and whether each is ``right``: at IoU 0.5
    with a target of its own and of its name; ``true_labels`` and ``true_boxes`` of the targets."""
    found = drawn(outcome.outputs, Box)
    labels, boxes = [label for label, _ in found], box_array([box for _, box in found])
    true_labels, truth = true_boxes(case)
    same = [[label == other for other in true_labels] for label in labels]
    overlap = box_overlap(boxes, truth) * np.array(same, np.float64).reshape(len(labels), len(true_labels))
    return {
        "labels": labels,
        "boxes": boxes.tolist(),
        "scores": [score(box) for _, box in found],
        "right": right(overlap),
        "true_labels": true_labels,
        "true_boxes": truth.tolist(),
    }


def _f1(kept: Sequence[Mapping[str, Any]]) -> float:
    """Harmonic mean of precision and recall over all boxes of all cases; 1 where there are none to find or drawn."""
    boxes = sum(len(one["labels"]) + len(one["true_labels"]) for one in kept)
    return 2 * sum(sum(one["right"]) for one in kept) / boxes if boxes else 1.0


def _combine(kept: Sequence[Any]) -> dict[str, float]:
    return {**average_precision(kept), F1: _f1(kept), **calibration(ERROR, kept)}


def _floors(cases: Sequence[Case]) -> Floors:
    label = commonest_label(case.sample for case in cases)
    title = f"the whole image as {label!r}"
    floors = floors_of(title, cases, lambda case: answer(case, "", WHOLE, label=label), _judge, _combine)
    return {figure: floor for figure, floor in floors.items() if figure != ERROR}


DETECT = Measure(
    group="detect",
    judge=_judge,
    combine=_combine,
    quality=lambda kept: _f1([kept]),
    floors=_floors,
    own_floors=lambda kept: always_sure(ERROR, kept),
    lower_is_better=frozenset({ERROR}),
)
