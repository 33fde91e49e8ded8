"""Everything as masks: semantic (pixels by class) and panoptic (segments by class)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from generalist.evaluation.cases import Case, Measure, Outcome
from generalist.evaluation.measures.geometry import (
    bitmap,
    drawn,
    mask_overlap,
    name,
    pairs,
    picture_shape,
    shared_and_either,
    union,
)
from generalist.evaluation.measures.trivial import Floors, answer, floors_of, whole_mask
from generalist.types import Grounded, Mask

SEMANTIC_MEAN = "semantic mIoU"
PQ, SQ, RQ = "PQ", "SQ", "RQ"

_MATCH = 0.5

Kept = dict[str, dict[str, list[float]]]
"""``classes``: class -> its counts; JSON keeps it as it is."""


def _by_class(outputs: Sequence[Grounded], shape: tuple[int, int]) -> dict[str, list[np.ndarray]]:
    found: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    for label, mask in drawn(outputs, Mask):
        found[label].append(bitmap(mask, shape))
    return found


def _total(kept: Sequence[Kept]) -> dict[str, np.ndarray]:
    """Class -> the sum of its counts."""
    total: dict[str, np.ndarray] = {}
    for one in kept:
        for label, counts in one["classes"].items():
            total[label] = total.get(label, np.zeros(len(counts))) + np.asarray(counts, np.float64)
    return total


def _whole_image_floors(
    cases: Sequence[Case],
    judge: Callable[[Case, Outcome], Kept],
    combine: Callable[[Sequence[Kept]], dict[str, float]],
) -> Floors:
    """All pixels as the class that most pixels have."""
    pixels: defaultdict[str, float] = defaultdict(float)
    for case in cases:
        for label, masks in _by_class(case.sample.targets, picture_shape(case)).items():
            pixels[label] += float(np.mean(union(masks, picture_shape(case))))
    label = max(pixels, key=lambda one: pixels[one], default="")
    return floors_of(
        f"all is {label!r}",
        cases,
        lambda case: answer(case, "", whole_mask(picture_shape(case)), label=label),
        judge,
        combine,
    )


# --- semantic ------------------------------------------------------------------------------------------


def _judge_semantic(case: Case, outcome: Outcome) -> Kept:
    """Class -> [pixels of the intersection, of the union], of classes of the targets and of what was drawn."""
    shape = picture_shape(case)
    truth, said = (_by_class(outputs, shape) for outputs in (case.sample.targets, outcome.outputs))
    return {
        "classes": {
            label: [float(n) for n in shared_and_either(union(said[label], shape), union(truth[label], shape))]
            for label in sorted({*truth, *said})
        }
    }


def _combine_semantic(kept: Sequence[Kept]) -> dict[str, float]:
    """Mean over classes of intersection over union, both summed over cases (Everingham et al. 2010, PASCAL VOC)."""
    ious = [shared / either for shared, either in _total(kept).values() if either]
    return {SEMANTIC_MEAN: float(np.mean(ious))} if ious else {}


SEMANTIC = Measure(
    group="semantic",
    judge=_judge_semantic,
    combine=_combine_semantic,
    quality=lambda kept: _combine_semantic([kept]).get(SEMANTIC_MEAN, 1.0),
    floors=lambda cases: _whole_image_floors(cases, _judge_semantic, _combine_semantic),
)


# --- panoptic ------------------------------------------------------------------------------------------


def _judge_panoptic(case: Case, outcome: Outcome) -> Kept:
    """Class -> [sum of the IoU of matched segments, how many these are, drawn without a match, true without one].

    Every mask is a segment; but those of a class in the sample's ``meta["stuff"]``, which has no instances, are one.
    A pixel that no target has counts against a segment that covers it.
    """
    shape = picture_shape(case)
    truth, said = (_by_class(outputs, shape) for outputs in (case.sample.targets, outcome.outputs))
    for label in _stuff(case):
        for masks in (truth, said):
            if label in masks:
                masks[label] = [union(masks[label], shape)]
    classes: dict[str, list[float]] = {}
    for label in sorted({*truth, *said}):
        overlap = mask_overlap(said[label], truth[label])
        matched = [overlap[pair] for pair in pairs(overlap) if overlap[pair] > _MATCH]
        hits = len(matched)
        classes[label] = [float(sum(matched)), hits, len(said[label]) - hits, len(truth[label]) - hits]
    return {"classes": classes}


def _stuff(case: Case) -> list[str]:
    given = case.sample.meta.get("stuff")
    return [name(str(label)) for label in given] if isinstance(given, list | tuple) else []


def _combine_panoptic(kept: Sequence[Kept]) -> dict[str, float]:
    """Panoptic, segmentation and recognition quality (Kirillov et al. 2019), means over classes."""
    rows = []
    for overlap, hits, extra, missed in _total(kept).values():
        recognised = hits / (hits + extra / 2 + missed / 2)
        segmented = overlap / hits if hits else 0.0
        rows.append((segmented * recognised, segmented, recognised))
    means = np.mean(rows, axis=0).tolist() if rows else ()
    return dict(zip((PQ, SQ, RQ), means, strict=False))


PANOPTIC = Measure(
    group="panoptic",
    judge=_judge_panoptic,
    combine=_combine_panoptic,
    quality=lambda kept: _combine_panoptic([kept]).get(PQ, 1.0),
    floors=lambda cases: _whole_image_floors(cases, _judge_panoptic, _combine_panoptic),
)
