"""Whatever a model answers, every measure gives figures within their bounds."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generalist.evaluation.cases import Case, Outcome
from generalist.evaluation.measures import MEASURES
from generalist.types import Box, DepthMap, DocHit, Grounded, Mask, Output, ParseIssue, Point, VisualPrompt
from generalist_datasets.world.masks import to_mask

from .making import box, case, depth, grounded, mask, point

UNBOUNDED = {"count MAE", "depth AbsRel", "depth RMSE m", "CIDEr"}

CASES: dict[str, list[Case]] = {
    "box": [case("box", box(0, 0, 0.5, 1)), case("box", box(0, 0, 0.5, 1), box(0.5, 0, 1, 1))],
    "mask": [case("mask", mask(0, 0, 9, 9)), case("mask", mask(0, 0, 2, 2), mask(5, 5, 9, 9))],
    "point": [case("point", point(0.5, 0.5)), case("point", mask(0, 0, 9, 9)), case("point", box(0, 0, 1, 1))],
    "detect": [case("detect", box(0, 0, 0.5, 1)), case("detect", box(0, 0, 1, 1), label="cat"), case("detect")],
    "absent": [case("absent", negative=True), case("absent", box(0, 0, 1, 1), negative=False)],
    "count": [case("count", text="0"), case("count", text="3"), case("count", text="many")],
    "choice": [case("choice", text="Yes.", ability="exists"), case("choice", text="A dog.")],
    "region_name": [
        case("region_name", text="A small red cube.", prompt=VisualPrompt(kind="box"), facts=("cube",)),
        case("region_name", text="A glass of milk.", prompt=VisualPrompt(kind="point")),
    ],
    "region_mask": [case("region_mask", mask(0, 0, 9, 9), prompt=VisualPrompt(kind="scribble"))],
    "region_except": [case("region_except", mask(0, 0, 9, 9), prompt=VisualPrompt(kind="box"))],
    "depth": [case("depth", depth([1.0, 2.0], [math.nan, 4.0])), case("depth", depth([math.nan]))],
    "semantic": [case("semantic", mask(0, 0, 9, 9)), case("semantic", mask(0, 0, 9, 9), label="cat")],
    "panoptic": [case("panoptic", mask(0, 0, 9, 9), targets=grounded(mask(9, 0, 20, 9), label="sky"), stuff=("sky",))],
    "caption": [
        case("caption", facts=("dog", "cat")),
        case("caption", references=("a dog runs", "dog")),
        case("caption", text="a cat"),
        case("caption", facts=()),
    ],
    "dialogue": [
        case("dialogue", text="Yes."),
        case("dialogue", mask(0, 0, 9, 9)),
        case("dialogue", box(0, 0, 1, 1)),
        case("dialogue", point(0, 0)),
    ],
}

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 1)
scores = st.none() | numbers
boxes = st.tuples(numbers, numbers, numbers, numbers)
sizes = st.tuples(st.integers(1, 12), st.integers(1, 24))


def _noise(size: tuple[int, int], seed: int, score: float | None) -> Mask:
    pixels = np.random.default_rng(seed).random(size) < 0.5
    pixels[0, 0] = True
    return replace(to_mask(pixels), score=score)


def _depth(shape: list[int], value: float, unit: str) -> DepthMap:
    values = np.full(shape, value, np.float64)
    return DepthMap(values=values, unit=unit)  # type: ignore[arg-type]


outputs: st.SearchStrategy[Output] = st.one_of(
    st.builds(Box, xyxy=boxes, score=scores),
    st.builds(Point, xy=st.tuples(numbers, numbers), score=scores),
    st.builds(_noise, sizes, st.integers(0, 9), scores),
    st.builds(Mask, size=sizes, counts=st.text("zZ0~é", min_size=3), xyxy=boxes, score=scores),
    st.builds(_depth, st.lists(st.integers(0, 4), max_size=3), numbers, st.sampled_from(["metre", "relative"])),
    st.builds(DocHit, doc_id=st.text(max_size=3), score=scores),
)
texts = st.text(max_size=30) | st.sampled_from(["Yes.", "3", "No dogs", "A dog and a cat.", "a small red cube", "-9"])


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    drawn = tuple(
        Grounded(
            label=draw(st.sampled_from(["dog", "Cat ", "", "\x00", "sky"])), span=(0, 0), image=0, ref=0, output=output
        )
        for output in draw(st.lists(outputs, max_size=4))
    )
    issues = draw(st.sampled_from([(), (ParseIssue(at=0, expected="text", got="an end"),)]))
    return Outcome(case="1", text=draw(texts), outputs=drawn, issues=issues, finished=draw(st.booleans()))


def assert_within_bounds(figures: dict[str, float]) -> None:
    for name, value in figures.items():
        assert isinstance(value, float) and math.isfinite(value), name
        assert 0 <= value <= 1 or (any(name.startswith(one) for one in UNBOUNDED) and value >= 0), (name, value)


@pytest.mark.parametrize("group", MEASURES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_answer_is_judged(group: str, data: st.DataObject) -> None:
    measure = MEASURES[group]
    kept = [measure.judge(one, data.draw(outcomes())) for one in CASES[group]]
    chosen = [kept[k] for k in data.draw(st.lists(st.integers(0, len(kept) - 1), min_size=1, max_size=5))]
    figures = measure.combine(chosen)
    assert_within_bounds(figures)
    assert_within_bounds({name: value for name, (_, value) in measure.own_floors(chosen).items()})
    assert all(0 <= measure.quality(one) <= 1 for one in kept)
    assert figures == measure.combine(json.loads(json.dumps(chosen, default=np.ndarray.tolist)))


@pytest.mark.parametrize("group", MEASURES)
def test_floors_are_of_figures_and_within_bounds(group: str) -> None:
    measure, cases = MEASURES[group], CASES[group]
    floors = measure.floors(cases)
    assert_within_bounds({name: value for name, (_, value) in floors.items()})
    kept: list[Any] = [measure.judge(one, Outcome(case="1", text="", outputs=one.sample.targets)) for one in cases]
    figures = measure.combine(kept)
    assert {*floors, *measure.own_floors(kept)} >= {*figures} - {"facts precision"}, "every figure has a floor"
    assert measure.lower_is_better <= {*figures}
    assert measure.floors([]) == {}


def test_a_measure_is_found_by_its_group() -> None:
    assert all(measure.group == group for group, measure in MEASURES.items())
    assert set(MEASURES) == set(CASES)
