"""Qwen2.5-VL: JSON in pixels of the resized image, which is half as wide and high as the submitted one here."""

from __future__ import annotations

import json

import numpy as np
import pytest
from supervision.detection.vlm import from_qwen_2_5_vl

from generalist.dialects import Question, get_dialect, parse
from generalist.types import GeneralistError, VisualPrompt

from .rows import BOX, CHAT, DETECT, POINT, SIZES, Row, check, documented, malformed

DIALECT = get_dialect("qwen2_5_vl")
DOG = '{"bbox_2d": [10, 20, 110, 220], "label": "dog"}'
CAT = '{"bbox_2d": [200, 100, 300, 200], "label": "cat"}'
DOG_BOX, CAT_BOX = "dog box 20 40 220 440", "cat box 400 200 600 400"

DOCUMENTED = [
    documented(f"```json\n[\n\t{DOG},\n\t{CAT}\n]\n```", f"{DOG_BOX}; {CAT_BOX}", clean="dog, cat"),
    documented(f"[{DOG}]", DOG_BOX, clean="dog"),
    documented(DOG, DOG_BOX),
    documented('{\n"bbox_2d": [10, 20, 110, 220]\n}', "the dog box 20 40 220 440", BOX),
    documented(
        f"Here they are:\n```json\n[{DOG}]\n```\nThe dog sleeps.",
        DOG_BOX,
        CHAT,
        "Here they are:\ndog\n\nThe dog sleeps.",
    ),
    documented('[{"point_2d": [394, 105], "label": "dog"}]', "dog point 788 210", POINT),
    documented('[{"point_2d": ["394", "105"], "label": "dog"}]', "dog point 788 210", POINT),
    documented('[{"bbox_2d": [10, 20, 110, 220], "text_content": "EXIT"}]', "EXIT box 20 40 220 440", CHAT),
    documented("[10, 20, 110, 220]", "the dog box 20 40 220 440", BOX),
    documented("[]", "", clean=""),
    documented("```json\n[]\n```", "", clean=""),
    documented("There are no dogs in the image.", "", clean="There are no dogs in the image."),
    documented('[{"bbox_2d": [10, 20, 110, 220], "label": "dog", "sub_label": "asleep", "score": 0.5}]', DOG_BOX),
    documented("The set [a, b] and {c} are prose.", "", CHAT, "The set [a, b] and {c} are prose."),
    documented('{"answer": "yes", "list": [1, 2]}', "", CHAT, '{"answer": "yes", "list": [1, 2]}'),
    documented("```python\nprint([1, 2])\n```", "", CHAT, "```python\nprint([1, 2])\n```"),
    documented('[{"label": "a \\"b\\" \\u00e9", "bbox_2d": [10.5, 20, 110, 220]}]', 'a "b" é box 21 40 220 440'),
    documented(f"[{DOG.replace(', 220', ', 220,')},]", DOG_BOX),  # trailing commas, as Python writes them
    documented("[{'bbox_2d': [10, 20, 110, 220], 'label': 'dog'}]", DOG_BOX),
]

MALFORMED = [
    malformed(f"[{DOG}, {CAT[:-3]}", DOG_BOX),  # cut off in a label
    malformed(f"[{DOG}, {CAT[:20]}", DOG_BOX),  # cut off in the numbers
    malformed(f"```json\n[{DOG},", DOG_BOX),  # cut off between objects
    malformed('[{"bbox_2d": [10, 20, 110], "label": "dog"}]', ""),  # three numbers
    malformed('[{"bbox_2d": [10, 20, 110, 220, 5], "label": "dog"}]', ""),  # five numbers
    malformed('[{"bbox_2d": [], "label": "dog"}]', ""),  # none
    malformed('[{"bbox_2d": "left", "label": "dog"}]', ""),  # a word for a box
    malformed('[{"bbox_2d": [10, "x", 110, 220], "label": "dog"}]', ""),  # a word among numbers
    malformed('[{"bbox_2d": [true, 20, 110, 220], "label": "dog"}]', ""),  # a truth value
    malformed('[{"bbox_2d": [NaN, 20, 110, 220], "label": "dog"}]', ""),  # not a number
    malformed('[{"bbox_2d": [1e999, 20, 110, 220], "label": "dog"}]', ""),  # infinite
    malformed('[{"bbox_2d": [110, 220, 10, 20], "label": "dog"}]', DOG_BOX),  # corners turned round
    malformed('[{"bbox_2d": [10, 20, 5000, 220], "label": "dog"}]', "dog box 20 40 1000 440"),  # beyond the edge
    malformed('[{"bbox_2d": [900, 900, 950, 950], "label": "dog"}]', ""),  # outside altogether
    malformed(f'[{{"bbox_2d": [10, 20, 110, 220, "label": "dog"}}, {CAT}]', f"{DOG_BOX}; {CAT_BOX}"),  # no "]"
    malformed(f"[{DOG[:-1]}, {CAT}]", CAT_BOX),  # no "}": the first has swallowed the second
    malformed(f"[{DOG[:-1]}]", DOG_BOX),  # no "}" before the end of the list
    malformed(f'[{{"bbox_2d" [10, 20, 110, 220], "label": "dog"}}, {CAT}]', CAT_BOX),  # no ":"
    malformed(f'[{{"label": "dog, "bbox_2d": [10, 20, 110, 220]}}, {CAT}]', CAT_BOX),  # a quote is missing
    malformed(f"[{DOG}, {CAT}", f"{DOG_BOX}; {CAT_BOX}"),  # the list is not closed
    malformed("[" * 40 + DOG, DOG_BOX),  # nested too deep
    malformed('[{"point_2d": [3940, 105], "label": "dog"}]', "", POINT),  # a point outside
    malformed('[{"point_2d": [394], "label": "dog"}]', "", POINT),  # half a point
    malformed(f'[{{"a": 1: 2}}, {DOG}]', DOG_BOX),  # a second ":"
    malformed(f"[{DOG}, " * 3, f"{DOG_BOX}; {DOG_BOX}; {DOG_BOX}"),  # a list opened anew and anew
]


@pytest.mark.parametrize("row", DOCUMENTED)
def test_documented_answers_draw_what_they_say(row: Row) -> None:
    check(row, DIALECT, issues=False)


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed_answers_draw_what_is_sound(row: Row) -> None:
    check(row, DIALECT, issues=True)


SUPERVISION = [
    f"```json\n[{DOG}, {CAT}]\n```",
    f"Sure: [{DOG}]",
    f"[{DOG}, {CAT[:20]}",
    '[{"bbox_2d": [10, 20, 110, 220]}]',
]


@pytest.mark.parametrize("answer", SUPERVISION[:3])
def test_boxes_equal_those_of_supervision(answer: str) -> None:
    expected, _, names = from_qwen_2_5_vl(answer, input_wh=SIZES.resized, resolution_wh=SIZES.submitted)
    outputs = parse(DIALECT, answer, DETECT).outputs
    found = np.array([item.output.xyxy for item in outputs]) * (1000, 500, 1000, 500)  # type: ignore[union-attr]
    assert np.allclose(found, expected)
    assert [item.label for item in outputs] == list(names)


def test_scores_are_kept() -> None:
    (item,) = parse(DIALECT, '[{"bbox_2d": [1, 2, 3, 4], "label": "dog", "score": 0.5}]', DETECT).outputs
    assert item.output.score == 0.5


def test_several_boxes_of_one_object_share_its_label() -> None:
    answer = '{"bbox_2d": [[10, 20, 110, 220], [200, 100, 300, 200]], "label": "dog"}'
    reading = parse(DIALECT, answer, DETECT)
    assert [(item.ref, item.span) for item in reading.outputs] == [(0, (0, 3)), (1, (0, 3))]
    assert [phrase.text for phrase in reading.reply.phrases] == ["dog"]


def test_without_an_image_everything_is_text() -> None:
    reading = parse(DIALECT, f"[{DOG}]", Question(text="Hello"))
    assert (reading.text, reading.outputs, reading.issues) == (f"[{DOG}]", (), ())


def test_asks_for_boxes_in_pixels_and_shows_drawings_in_them() -> None:
    prompt = VisualPrompt(kind="box", xyxy=(0.1, 0.2, 0.5, 0.6))
    question = Question(text="What is this?", visual_prompts=(prompt,), sizes=SIZES)
    assert DIALECT.ask(question).text == 'What is this?\n{"bbox_2d": [50, 50, 250, 150]}'
    words = DIALECT.ask(DETECT).text
    assert "dogs" in words and "bbox_2d" in words and "JSON" in words


def test_asks_for_a_point() -> None:
    assert "point_2d" in DIALECT.ask(POINT).text


@pytest.mark.parametrize("task", ["depth", "segment"])
def test_refuses_a_task_without_words_for_it(task: str) -> None:
    with pytest.raises(GeneralistError, match=f"no answer for task '{task}'"):
        DIALECT.ask(Question(text="Estimate the depth.", task=task, sizes=SIZES))


def test_refuses_a_scribble() -> None:
    prompt = VisualPrompt(kind="scribble", bitmap=np.ones((2, 2), bool))
    with pytest.raises(GeneralistError, match="cannot be shown a scribble; use box or point"):
        DIALECT.ask(Question(text="What is this?", visual_prompts=(prompt,), sizes=SIZES))


def test_constrains_boxes_to_a_schema() -> None:
    constraint = DIALECT.constraint(DETECT)
    assert constraint is not None
    schema = json.loads(constraint.json_schema)
    assert schema["items"]["required"] == ["bbox_2d", "label"]
    assert DIALECT.constraint(CHAT) is None
