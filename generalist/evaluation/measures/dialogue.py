"""The last answer of a conversation: drawn or in words, measured as such answers are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from generalist.evaluation.cases import Case, Measure, Outcome
from generalist.evaluation.measures import boxes, masks, points
from generalist.evaluation.measures.geometry import picture_shape
from generalist.evaluation.measures.normalise import normalise
from generalist.evaluation.measures.trivial import WHOLE, Floors, answer, commonest, floors_of, whole_mask
from generalist.evaluation.measures.words import judge_words
from generalist.types import Box, Mask, Output, Point

ALL, WORDS, DRAWN, MEAN = "dialogue accuracy", "dialogue words accuracy", "dialogue drawn acc@0.5", "dialogue mean IoU"

Kind = Literal["box", "mask", "point", "words"]


def _kind(case: Case) -> Kind:
    """What the targets are; words where nothing is to be drawn."""
    kinds: tuple[tuple[type, Kind], ...] = ((Mask, "mask"), (Box, "box"), (Point, "point"))
    outputs = [target.output for target in case.sample.targets]
    return next((kind for type_, kind in kinds if any(isinstance(output, type_) for output in outputs)), "words")


def _judge(case: Case, outcome: Outcome) -> dict[str, Any]:
    """``kind`` of answer; ``value``: IoU of boxes or masks, share of points on target, 1 or 0 for words.

    Words are right only where nothing was drawn beside them.
    """
    kind = _kind(case)
    if kind == "box":
        value = boxes.judge(case, outcome)["iou"]
    elif kind == "mask":
        value = masks.quality(masks.judge(case, outcome))
    elif kind == "point":
        value = points.judge(case, outcome)["hit"]
    else:
        value = float(judge_words(case, outcome)["right"] and not outcome.outputs)
    return {"kind": kind, "value": value}


def _combine(kept: Sequence[Any]) -> dict[str, float]:
    """A drawing is right from 0.5 on."""
    found: dict[str, list[float]] = {
        ALL: [one["value"] >= 0.5 for one in kept],
        WORDS: [one["value"] for one in kept if one["kind"] == "words"],
        DRAWN: [one["value"] >= 0.5 for one in kept if one["kind"] != "words"],
        MEAN: [one["value"] for one in kept if one["kind"] in ("box", "mask")],
    }
    return {figure: float(np.mean(values)) for figure, values in found.items() if values}


def _floors(cases: Sequence[Case]) -> Floors:
    text = commonest((normalise(case.sample.text) for case in cases if _kind(case) == "words"), "")

    def trivial(case: Case) -> Outcome:
        kind = _kind(case)
        if kind == "words":
            return answer(case, text)
        outputs: dict[str, Output] = {
            "box": WHOLE,
            "point": Point(xy=(0.5, 0.5)),
            "mask": whole_mask(picture_shape(case)),
        }
        return answer(case, "", outputs[kind])

    return floors_of(f"the whole image, its middle, {text!r}", cases, trivial, _judge, _combine)


DIALOGUE = Measure(
    group="dialogue", judge=_judge, combine=_combine, quality=lambda kept: float(kept["value"]), floors=_floors
)
