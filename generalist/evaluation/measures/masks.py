"""Referring masks, by name or by what the user drew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from generalist.evaluation.cases import Case, Measure, Outcome
from generalist.evaluation.measures.calibration import always_sure, calibration
from generalist.evaluation.measures.geometry import (
    bitmap,
    box_array,
    drawn,
    ellipse,
    filled,
    iou,
    mask_overlap,
    masks_of,
    picture_shape,
    right,
    score,
    shared_and_either,
    union,
    way_of_asking,
)
from generalist.evaluation.measures.trivial import Floors
from generalist.types import Mask

MEAN, CUMULATIVE, ERROR = "mask mIoU", "mask cIoU", "mask ECE"


def judge(case: Case, outcome: Outcome) -> dict[str, Any]:
    """All that was drawn as one mask against all targets as one.

    ``shared`` and ``either``: pixels of intersection and union; ``ellipse`` and ``box``: the same two for an
    ellipse in, and the whole of, the boxes that the model wrote; of every mask its ``scores`` and whether
    ``right``, at IoU 0.5 with a target of its own; ``way``: how was asked.
    """
    shape = picture_shape(case)
    targets = [bitmap(mask, shape) for _, mask in drawn(case.sample.targets, Mask)]
    masks = masks_of(outcome)
    said = [bitmap(mask, shape) for mask in masks]
    truth, boxes = union(targets, shape), box_array(masks)
    shared, either = shared_and_either(union(said, shape), truth)
    return {
        "shared": shared,
        "either": either,
        "ellipse": shared_and_either(union([ellipse(box, shape) for box in boxes], shape), truth),
        "box": shared_and_either(union([filled(box, shape) for box in boxes], shape), truth),
        "scores": [score(mask) for mask in masks],
        "right": right(mask_overlap(said, targets)),
        "way": way_of_asking(case),
    }


def quality(kept: Any) -> float:
    """IoU of a case."""
    return iou(kept["shared"], kept["either"])


def mean_iou(counts: Iterable[tuple[int, int]]) -> float:
    """Mean over cases of the IoU of (intersection, union)."""
    return float(np.mean([iou(*count) for count in counts]))


def cumulative_iou(counts: Sequence[tuple[int, int]]) -> float:
    """Sum of intersections over sum of unions, as RefCOCO papers have it: large things count more."""
    return iou(sum(shared for shared, _ in counts), sum(either for _, either in counts))


def by_way(kept: Sequence[Any], figures: Callable[[Sequence[Any]], dict[str, float]]) -> dict[str, float]:
    """The figures of all cases, then those of each way of asking: ``"mask mIoU, box prompt"``."""
    found = dict(figures(kept))
    for way in sorted({one["way"] for one in kept} - {""}):
        asked_so = figures([one for one in kept if one["way"] == way])
        found |= {f"{figure}, {way}": value for figure, value in asked_so.items()}
    return found


def counts_by_way(kept: Sequence[Any], figures: Iterable[str]) -> dict[str, int]:
    """On how many cases each figure of :func:`by_way` rests."""
    ways = Counter(one["way"] for one in kept if one["way"])
    return {f"{figure}, {way}": number for way, number in ways.items() for figure in figures}


def _figures(kept: Sequence[Any]) -> dict[str, float]:
    counts = [(one["shared"], one["either"]) for one in kept]
    return {MEAN: mean_iou(counts), CUMULATIVE: cumulative_iou(counts)}


def _combine(kept: Sequence[Any]) -> dict[str, float]:
    return {**by_way(kept, _figures), **calibration(ERROR, kept)}


def _own_floors(kept: Sequence[Any]) -> Floors:
    """A round mask in the model's own box; for cIoU, which favours what fills its box, the box itself."""
    ellipses = by_way(kept, lambda some: {MEAN: mean_iou(one["ellipse"] for one in some)})
    boxes = by_way(kept, lambda some: {CUMULATIVE: cumulative_iou([one["box"] for one in some])})
    return {
        **{figure: ("ellipse in its own box", value) for figure, value in ellipses.items()},
        **{figure: ("its own box, filled", value) for figure, value in boxes.items()},
        **always_sure(ERROR, kept),
    }


def _measure(group: str) -> Measure:
    return Measure(
        group=group,
        judge=judge,
        combine=_combine,
        quality=quality,
        own_floors=_own_floors,
        counts=lambda kept: counts_by_way(kept, (MEAN, CUMULATIVE)),
        lower_is_better=frozenset({ERROR}),
    )


MASK, REGION_MASK, REGION_EXCEPT = (_measure(group) for group in ("mask", "region_mask", "region_except"))
