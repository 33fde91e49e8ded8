"""Results made by hand, and the measure that they are of, for the tests of reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from generalist.evaluation.cases import Case, Figure, Measure, Outcome, Result, Suite
from generalist.types import Box, Grounded, ParseIssue, Sample


def mean(kept: Sequence[Any]) -> dict[str, float]:
    return {"accuracy": float(np.mean(kept))}


def measure(group: str) -> Measure:
    return Measure(group=group, judge=lambda case, outcome: 0.0, combine=mean, quality=lambda kept: float(str(kept)))


MEASURES: Mapping[str, Measure] = {group: measure(group) for group in ("box", "count")}


def drawn(label: str, *xyxy: float) -> Grounded:
    return Grounded(label=label, span=(0, len(label)), image=0, ref=0, output=Box(xyxy=xyxy, score=0.5))  # type: ignore[arg-type]


def box_case(id: str) -> Case:
    """Where is the dog?"""
    sample = Sample(
        id=id,
        image=Image.new("RGB", (64, 48), (90, 120, 90)),
        task="box",
        prompt="Where is the dog?",
        text="The dog.",
        targets=(drawn("dog", 0.1, 0.1, 0.5, 0.5),),
    )
    return Case(id=id, group="box", sample=sample)


def count_case(id: str) -> Case:
    sample = Sample(id=id, image=Image.new("RGB", (48, 48)), task="count", prompt="How many dogs?", text="2")
    return Case(id=id, group="count", sample=sample)


def suite() -> Suite:
    """Three boxes and one count, in this order."""

    def cases(limit: int | None) -> Iterator[Case]:
        yield from (box_case(f"box-{number}") for number in range(3))
        yield count_case("count-0")

    return Suite(name="toy", summary="by hand", cases=cases)


def result(model: str = "nano", boxes: Sequence[float] = (1.0, 0.0, 0.5), count: float = 1.0, **changes: Any) -> Result:
    """A result on :func:`suite`, in which ``boxes`` and ``count`` are kept."""
    kept = {f"box-{number}": value for number, value in enumerate(boxes)} | {"count-0": count}
    figures = {
        "box": (
            Figure(name="accuracy", value=float(np.mean(boxes)), count=len(boxes), low=0.1, high=0.9, floor=0.2,
                   floor_name="whole image"),
        ),
        "count": (Figure(name="accuracy", value=count, count=1, floor=1.0, floor_name="commonest number"),),
    }  # fmt: skip
    outcomes = {case: Outcome(case=case, text="Here.", seconds=0.25) for case in kept}
    outcomes["box-1"] = Outcome(
        case="box-1",
        text="The cat.",
        outputs=(drawn("cat", 0.5, 0.5, 0.9, 0.9),),
        issues=(ParseIssue(at=3, expected="a location", got="the end"),),
        finished=False,
        seconds=0.75,
    )
    content: dict[str, Any] = {
        "suite": "toy",
        "model": model,
        "engine": "transformers",
        "figures": figures,
        "groups": {case: case.split("-")[0] for case in kept},
        "kept": kept,
        "outcomes": outcomes,
        "seconds": 12.0,
    }
    return Result(**(content | changes))
