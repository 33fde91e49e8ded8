from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from generalist.evaluation.measures.average_precision import average_precision
from generalist.evaluation.measures.detection import DETECT
from generalist.types import Box

from .making import box, case, grounded, mask, said

LEFT, RIGHT = box(0, 0, 0.5, 1), box(0.5, 0, 1, 1)
DOG_AND_CAT = case("detect", LEFT, label="dog", targets=grounded(RIGHT, label="cat"))


def moved(rng: np.random.Generator, xyxy: np.ndarray) -> Box:
    near = np.clip(xyxy + rng.normal(0, 0.03, 4), 0, 1)
    return Box(xyxy=tuple(np.concatenate([np.minimum(near[:2], near[2:]), np.maximum(near[:2], near[2:])])),
               score=float(rng.choice([0.2, 0.5, 0.8, rng.random()])))  # fmt: skip


def kept_of_random_scenes(seed: int, scenes: int = 40) -> list[Any]:
    """Dogs, cats and foxes; some are missed, some misnamed, some are found twice."""
    rng = np.random.default_rng(seed)
    names = np.array(["dog", "cat", "fox"])
    kept = []
    for _ in range(scenes):
        corners = rng.random((int(rng.integers(0, 6)), 2, 2))
        boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
        labels = rng.choice(names, len(boxes), p=[0.6, 0.3, 0.1])
        targets = [grounded(Box(xyxy=tuple(b)), label=n)[0] for b, n in zip(boxes, labels, strict=True)]
        found = [
            grounded(moved(rng, b), label=n if rng.random() < 0.8 else str(rng.choice([*names, "owl"])))[0]
            for b, n in zip(boxes, labels, strict=True)
            for _ in range(int(rng.integers(0, 3)))
        ]
        kept.append(DETECT.judge(case("detect", targets=tuple(targets)), said(more=tuple(found))))
    return kept


def by_pycocotools(kept: list[Any]) -> tuple[float, float, float]:
    """All classes on all pictures, without the short cut."""
    numbers = {name: k for k, name in enumerate(sorted({n for one in kept for n in one["true_labels"]}))}

    def annotations(names: str, boxes: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for image, one in enumerate(kept):
            scores = one["scores"] if names == "labels" else [1.0] * len(one[names])
            for name, (x1, y1, x2, y2), score in zip(one[names], one[boxes], scores, strict=True):
                if name in numbers:
                    found.append({"id": len(found) + 1, "image_id": image, "category_id": numbers[name], "iscrowd": 0,
                                  "bbox": [x1, y1, x2 - x1, y2 - y1], "area": 1.0, "score": score})  # fmt: skip
        return found

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": image} for image in range(len(kept))],
            "categories": [{"id": number} for number in numbers.values()],
            "annotations": annotations("true_labels", "true_boxes"),
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(annotations("labels", "boxes")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ap, ap50, ap75 = evaluation.stats[:3]
    return ap, ap50, ap75


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_pycocotools(seed: int) -> None:
    kept = kept_of_random_scenes(seed)
    found = average_precision(kept)
    assert (found["AP"], found["AP50"], found["AP75"]) == pytest.approx(by_pycocotools(kept), abs=1e-9)
    assert 0.05 < found["AP"] < found["AP50"] < 0.95, "the scenes are neither trivial nor hopeless"


def test_a_resample_is_of_pictures_of_its_own() -> None:
    kept = kept_of_random_scenes(0, scenes=12)
    again = [kept[k] for k in np.random.default_rng(1).integers(12, size=12)]
    found = average_precision(again)
    assert (found["AP"], found["AP50"], found["AP75"]) == pytest.approx(by_pycocotools(again), abs=1e-9)
    assert average_precision(kept * 2)["AP50"] == pytest.approx(average_precision(kept)["AP50"], abs=0.02)


def test_all_found() -> None:
    kept = DETECT.judge(DOG_AND_CAT, said(LEFT, label=" Dog", more=grounded(RIGHT, label="CAT")))
    figures = DETECT.combine([kept])
    assert figures == pytest.approx({"AP": 1, "AP50": 1, "AP75": 1, "detection F1@0.5": 1, "box ECE": 0})
    assert DETECT.quality(kept) == 1


def test_half_found() -> None:
    # Of two classes one is found, at an IoU of 0.7; what is called a cow there costs precision but no class has it.
    kept = DETECT.judge(
        DOG_AND_CAT, said(box(0, 0, 0.5, 0.7, score=0.5), label="dog", more=grounded(RIGHT, label="cow"))
    )
    figures = DETECT.combine([kept])
    assert figures["AP50"] == pytest.approx(0.5)
    assert figures["AP75"] == 0
    assert figures["AP"] == pytest.approx(0.5 * 5 / 10)  # 0.5 to 0.7 of ten thresholds
    assert figures["detection F1@0.5"] == pytest.approx(2 * 1 / (2 + 2))
    assert figures["box ECE"] == pytest.approx((0.5 + 1) / 2)


def test_a_sure_mistake_costs_precision() -> None:
    one = case("detect", LEFT)
    wrong_first = DETECT.judge(one, said(box(0.5, 0, 1, 1, score=0.9), box(0, 0, 0.5, 1, score=0.1)))
    right_first = DETECT.judge(one, said(box(0.5, 0, 1, 1, score=0.1), box(0, 0, 0.5, 1, score=0.9)))
    assert DETECT.combine([wrong_first])["AP50"] == pytest.approx(0.5)
    assert DETECT.combine([right_first])["AP50"] == pytest.approx(1)


def test_nothing_found_and_nothing_there() -> None:
    missed = DETECT.judge(DOG_AND_CAT, said(mask(0, 0, 10, 10)))
    assert DETECT.combine([missed]) == {"AP": 0, "AP50": 0, "AP75": 0, "detection F1@0.5": 0}
    empty = DETECT.judge(case("detect"), said())
    assert DETECT.combine([empty]) == {"detection F1@0.5": 1}
    assert DETECT.combine([DETECT.judge(case("detect"), said(LEFT))])["detection F1@0.5"] == 0


def test_floors() -> None:
    cases = [case("detect", box(0, 0, 1, 0.9), label="dog"), case("detect", LEFT, label="dog"), DOG_AND_CAT]
    floors = DETECT.floors(cases)
    # Dogs at IoU 0.9, 0.5, 0.5; one cat.
    assert floors["detection F1@0.5"] == ("the whole image as 'dog'", pytest.approx(2 * 3 / (3 + 4)))
    assert floors["AP50"] == ("the whole image as 'dog'", pytest.approx(0.5))
    assert "box ECE" not in floors
