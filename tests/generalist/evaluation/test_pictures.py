"""The worst cases: found again, told in words, drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from generalist.evaluation.cases import Case, Outcome
from generalist.evaluation.pictures import pick_cases, show_case, worst_cases
from generalist.types import DepthMap, Grounded, Mask, Message, Point, VisualPrompt
from generalist_datasets.world.masks import to_mask

from .results import MEASURES, box_case, count_case, result, suite


def test_the_worst_come_first_equals_in_their_order_and_the_undefined_never() -> None:
    boxes = (0.5, 0.0, 1.0, 0.0, float("nan"))
    found = worst_cases(result(boxes=boxes), MEASURES, 3)
    assert found == {"box": [("box-1", 0.0), ("box-3", 0.0), ("box-0", 0.5)], "count": []}
    assert worst_cases(result(boxes=boxes), MEASURES, 1)["box"] == [("box-1", 0.0)]


def test_cases_are_found_again_and_the_search_ends_with_the_last() -> None:
    seen: list[str] = []

    def cases(limit: int | None) -> Iterator[Case]:
        for case in suite().cases(limit):
            seen.append(case.id)
            yield case

    found = pick_cases(replace(suite(), cases=cases), None, ["box-1", "box-0"])
    assert set(found) == {"box-0", "box-1"} and seen == ["box-0", "box-1"]
    assert pick_cases(replace(suite(), cases=cases), None, []) == {} and len(seen) == 2
    assert set(pick_cases(suite(), None, ["count-0", "gone"])) == {"count-0"}


def grounded(*outputs: object, image: int = 0) -> tuple[Grounded, ...]:
    return tuple(Grounded(label="x", span=(0, 1), image=image, ref=0, output=output) for output in outputs)  # type: ignore[arg-type]


def bitmap(height: int = 48, width: int = 64) -> np.ndarray:
    filled = np.zeros((height, width), bool)
    filled[10:30, 10:30] = True
    return filled


@pytest.mark.parametrize("prompt", [
    VisualPrompt(kind="box", xyxy=(0.1, 0.1, 0.5, 0.5)),
    VisualPrompt(kind="point", xy=(0.5, 0.5)),
    VisualPrompt(kind="scribble", bitmap=bitmap()),
])  # fmt: skip
def test_what_the_user_drew_gets_a_picture(prompt: VisualPrompt) -> None:
    case = replace(count_case("c"), sample=replace(box_case("c").sample, targets=(), visual_prompts=(prompt,)))
    shown = show_case(case, Outcome(case="c", text="a dog"), 0.0)
    assert [panel.title for panel in shown.panels] == ["asked about"]
    case = replace(case, sample=replace(case.sample, targets=grounded(to_mask(bitmap()))))
    assert [p.title for p in show_case(case, Outcome(case="c", text=""), 0.0).panels] == [
        "asked about",
        "truth",
        "answer",
    ]


def test_a_question_without_drawings_gets_its_picture_once() -> None:
    shown = show_case(count_case("c"), Outcome(case="c", text=""), 0.25)
    assert [panel.title for panel in shown.panels] == ["picture"] and shown.given == "(no text)"


def test_everything_that_can_be_drawn_is_drawn_and_named() -> None:
    depth = DepthMap(values=np.linspace(1, 9, 48 * 64, dtype=np.float32).reshape(48, 64))
    depth.values[:5] = np.nan
    tiny = np.zeros((48, 64), bool)
    tiny[0, 0] = True
    lost = Mask(size=(9000, 2), counts=to_mask(np.arange(18000).reshape(9000, 2) == 7).counts, xyxy=(0, 0, 1, 0.1))
    outputs = grounded(depth, to_mask(bitmap()), to_mask(tiny), lost, Point(xy=(0.2, 0.2)))
    case = box_case("c")
    shown = show_case(case, Outcome(case="c", text="Here.", outputs=outputs), 0.0)
    assert shown.given == "Here. [1 depth map, 3 masks, 1 point, 1.83 to 9.00 metre]"
    assert [panel.title for panel in shown.panels] == ["truth", "answer, 1.83 to 9.00 metre"]
    empty = grounded(DepthMap(values=np.full((48, 64), np.nan, np.float32)))
    assert len(show_case(case, Outcome(case="c", text="", outputs=empty), 0.0).panels) == 2


def test_drawings_lie_on_the_last_of_several_pictures_and_turns_are_told() -> None:
    sample = replace(
        box_case("c").sample,
        earlier_images=(Image.new("RGB", (10, 10)),),
        targets=grounded(to_mask(bitmap()), image=1),
        history=(Message(role="user", text="Hello"), Message(role="assistant", text="Yes?")),
    )
    shown = show_case(Case(id="c", group="box", sample=sample), Outcome(case="c", text="w" * 9999), 0.0)
    assert [panel.title for panel in shown.panels] == ["earlier picture", "truth", "answer"]
    assert shown.turns == (("user", "Hello"), ("assistant", "Yes?"), ("user", "Where is the dog?"))
    assert len(shown.given) == 600
