"""Qwen3-VL: JSON in 0 to 1000 of the image's width and height, whatever the processor made of it."""

from __future__ import annotations

import numpy as np
import pytest
from supervision.detection.vlm import from_qwen_3_vl

from generalist.dialects import Question, Sizes, get_dialect, parse
from generalist.types import VisualPrompt

from .rows import BOX, CHAT, DETECT, POINT, SIZES, Row, check, documented, malformed

DIALECT = get_dialect("qwen3_vl")
DOG = '{"bbox_2d": [342, 308, 670, 766], "label": "dog"}'
CAT = '{"bbox_2d": [0, 0, 999, 1000], "label": "cat"}'
DOG_BOX, CAT_BOX = "dog box 342 154 670 383", "cat box 0 0 999 500"

DOCUMENTED = [
    documented(f"```json\n[\n\t{DOG},\n\t{CAT}\n]\n```", f"{DOG_BOX}; {CAT_BOX}", clean="dog, cat"),
    documented(f"[{DOG}]", DOG_BOX),
    documented(f"[{DOG}, {CAT}]", f"{DOG_BOX}; {CAT_BOX}"),
    documented('{"bbox_2d": [74, 361, 324, 808]}', "the dog box 74 180.5 324 404", BOX),
    documented('[{"point_2d": [500, 500], "label": "dog"}]', "dog point 500 250", POINT),
    documented('```json\n[\n    {"point_2d": [1, 2], "label": "dog", "color": "red"}\n]\n```', "dog point 1 1", POINT),
    documented('{"point_2d": [500, 250]}', "the dog point 500 125", POINT),
    documented("[500, 250]", "the dog point 500 125", POINT),
    documented(f"<think>\nA dog.\n</think>\n\n[{DOG}]", DOG_BOX, CHAT),
    documented('[{"bbox_2d": [1, 2, 3, 4], "label": "狗"}]', "狗 box 1 1 3 2"),
    documented("[]", "", clean=""),
    documented("No dogs.", "", clean="No dogs."),
    documented('[{"bbox_2d": [342, 308, 670, 766], "label": "dog", "state": {"awake": false}}]', DOG_BOX),
]

MALFORMED = [
    malformed(f"[{DOG}, {CAT[:10]}", DOG_BOX),  # cut off
    malformed(f"```json\n{DOG},\n{CAT[:25]}", DOG_BOX),  # cut off, without a list
    malformed('[{"bbox_2d": [342, 308, 1920, 1080], "label": "dog"}]', "dog box 342 154 1000 500"),  # pixels
    malformed('[{"bbox_2d": [-200, 308, 670, 766], "label": "dog"}]', "dog box 0 154 670 383"),  # below 0
    malformed('[{"bbox_2d": [1920, 1080, 2000, 1200], "label": "dog"}]', ""),  # outside
    malformed('[{"bbox_2d": [342, 308], "label": "dog"}]', ""),  # half a box
    malformed('[{"bbox_2d": {"x1": 1}, "label": "dog"}]', ""),  # an object for a box
    malformed('[{"bbox_2d": [[342, 308], [670, 766]], "label": "dog"}]', ""),  # corners for a box
    malformed('[{"bbox_2d": "342 308 670 766", "label": "dog"}]', ""),  # text for a box
    malformed(f'[{{"bbox_2d": [342, null, 670, 766]}}, {CAT}]', CAT_BOX),  # null
    malformed('[{"bbox_2d": [670, 308, 342, 766], "label": "dog"}]', DOG_BOX),  # left and right exchanged
    malformed('[{"bbox_2d": [342, 766, 670, 308], "label": "dog"}]', DOG_BOX),  # up and down exchanged
    malformed('[{"point_2d": [500, 2500], "label": "dog"}]', "", POINT),  # a point outside
    malformed('[{"point_2d": [1, 2, 3, 4], "label": "dog"}]', "", POINT),  # a box for a point
    malformed('[{"point_2d": "here", "label": "dog"}]', "", POINT),  # a word for a point
    malformed('{"bbox_2d": [342, 308, 670, 766, "label": "dog"}', DOG_BOX),  # no "]"
    malformed('{"bbox_2d": [342, 308, 670, 766}', "dogs box 342 154 670 383"),  # no "]" before the end
    malformed(f"[{DOG}, {{]", DOG_BOX),  # an empty object that is not closed
    malformed(f"[{DOG}, {{: 1}}, {CAT}]", f"{DOG_BOX}; {CAT_BOX}"),  # a pair without a key
    malformed(f'[{{"label": "a dog", "bbox_2d"}}, "x": "y": 2}}, {DOG}]', DOG_BOX),  # a "}" too many
    malformed(f"[{DOG}{{{{{{{DOG}]", f"{DOG_BOX}; {DOG_BOX}"),  # braces that open nothing
    malformed(DOG.replace('"dog"}', '"dog'), ""),  # cut off in the only object
]


@pytest.mark.parametrize("row", DOCUMENTED)
def test_documented_answers_draw_what_they_say(row: Row) -> None:
    check(row, DIALECT, issues=False)


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed_answers_draw_what_is_sound(row: Row) -> None:
    check(row, DIALECT, issues=True)


@pytest.mark.parametrize("answer", [f"```json\n[{DOG}, {CAT}]\n```", f"[{DOG}, {CAT[:10]}"])
def test_boxes_equal_those_of_supervision(answer: str) -> None:
    expected, _, names = from_qwen_3_vl(answer, resolution_wh=SIZES.submitted)
    outputs = parse(DIALECT, answer, DETECT).outputs
    found = np.array([item.output.xyxy for item in outputs]) * (1000, 500, 1000, 500)  # type: ignore[union-attr]
    assert np.allclose(found, expected)
    assert [item.label for item in outputs] == list(names)


def test_the_resized_image_does_not_matter() -> None:
    other = Question(text="Detect dogs.", task="detect", sizes=Sizes(submitted=(1000, 500), resized=(32, 32)))
    boxes = [item.output for item in parse(DIALECT, f"[{DOG}]", other).outputs]
    assert boxes == [item.output for item in parse(DIALECT, f"[{DOG}]", DETECT).outputs]


def test_shows_a_box_in_thousandths() -> None:
    prompt = VisualPrompt(kind="box", xyxy=(0.1, 0.2, 0.5, 0.6))
    point = VisualPrompt(kind="point", xy=(0.25, 0.75))
    question = Question(text="What is this?", visual_prompts=(prompt, point), sizes=SIZES)
    assert DIALECT.ask(question).text.splitlines()[1:] == [
        '{"bbox_2d": [100, 200, 500, 600]}',
        '{"point_2d": [250, 750]}',
    ]
