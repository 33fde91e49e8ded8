"""Referring boxes: is the box that was drawn the one that was asked for?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from generalist.evaluation.cases import Case, Measure, Outcome
from generalist.evaluation.measures.calibration import always_sure, calibration
from generalist.evaluation.measures.geometry import (
    agreement,
    box_array,
    box_overlap,
    drawn,
    right,
    score,
    true_boxes,
    way_of_asking,
)
from generalist.evaluation.measures.masks import by_way, counts_by_way
from generalist.evaluation.measures.trivial import WHOLE, Floors, answer, floors_of
from generalist.types import Box

ACCURACY, MEAN, ERROR = "box acc@0.5", "box mean IoU", "box ECE"


def judge(case: Case, outcome: Outcome) -> dict[str, Any]:
    """``iou`` of the case (see :func:`~.geometry.agreement`); of every box its ``scores`` and whether ``right``;
    ``way``: how was asked."""
    boxes = [box for _, box in drawn(outcome.outputs, Box)]
    scores = [score(box) for box in boxes]
    overlap = box_overlap(box_array(boxes), true_boxes(case)[1])
    return {
        "iou": agreement(overlap, scores),
        "scores": scores,
        "right": right(overlap),
        "way": way_of_asking(case),
    }


def _figures(kept: Sequence[Any]) -> dict[str, float]:
    ious = np.array([one["iou"] for one in kept])
    return {ACCURACY: float(np.mean(ious >= 0.5)), MEAN: float(np.mean(ious))}


def _combine(kept: Sequence[Any]) -> dict[str, float]:
    return {**by_way(kept, _figures), **calibration(ERROR, kept)}


def _floors(cases: Sequence[Case]) -> Floors:
    floors = floors_of("the whole image", cases, lambda case: answer(case, "", WHOLE), judge, _combine)
    return {figure: floor for figure, floor in floors.items() if figure != ERROR}


BOX = Measure(
    group="box",
    judge=judge,
    combine=_combine,
    quality=lambda kept: float(kept["iou"]),
    floors=_floors,
    own_floors=lambda kept: always_sure(ERROR, kept),
    counts=lambda kept: counts_by_way(kept, (ACCURACY, MEAN)),
    lower_is_better=frozenset({ERROR}),
)
