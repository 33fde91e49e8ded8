"""Kosmos-2: phrases, and boxes as two cells of a grid of 32 by 32."""

from __future__ import annotations

import numpy as np
import pytest
from transformers.models.kosmos2.processing_kosmos2 import clean_text_and_extract_entities_with_bboxes

from generalist.dialects import Question, get_dialect, parse
from generalist.types import Box, GeneralistError, VisualPrompt

from .rows import BOX, CAPTION, CHAT, POINT, SIZES, Row, check, documented, malformed

DIALECT = get_dialect("kosmos2")
MAN = "<patch_index_0044><patch_index_0863>"
FIRE = "<patch_index_0005><patch_index_0911>"
MAN_BOX, FIRE_BOX = "a snowman box 390.6 23.4 984.4 414.1", "a fire box 171.9 7.8 484.4 445.3"
NEXT = "</delimiter_of_multi_objects/>"
SCENE = (
    f"<grounding> An image of<phrase> a snowman</phrase><object>{MAN}</object> warming himself by"
    f"<phrase> a fire</phrase><object>{FIRE}</object>."
)

DOCUMENTED = [
    documented(SCENE, f"{MAN_BOX}; {FIRE_BOX}", CAPTION, "An image of a snowman warming himself by a fire."),
    documented(f"<phrase> a snowman</phrase><object>{MAN}</object>", MAN_BOX, CAPTION, "a snowman"),
    documented(f"<phrase>a fire</phrase><object>{FIRE}</object>", FIRE_BOX, CAPTION, "a fire"),
    documented(
        f"<phrase> two</phrase><object>{MAN}{NEXT}{FIRE}</object>",
        "two box 390.6 23.4 984.4 414.1; two box 171.9 7.8 484.4 445.3",
        CAPTION,
    ),
    documented(f"<object>{MAN}</object>", "the dog box 390.6 23.4 984.4 414.1", BOX),
    documented(
        "<phrase> x</phrase><object><patch_index_0033><patch_index_0033></object>",
        "x box 31.25 15.6 62.5 31.25",
        CAPTION,
    ),
    documented(
        "<phrase> row</phrase><object><patch_index_0000><patch_index_0031></object>", "row box 0 0 1000 15.6", CAPTION
    ),
    documented(
        "<phrase> column</phrase><object><patch_index_0000><patch_index_0992></object>",
        "column box 0 0 31.25 500",
        CAPTION,
    ),
    documented(
        "<phrase> all</phrase><object><patch_index_0000><patch_index_1023></object>",
        "all box 15.6 7.8 984.4 492.2",
        CAPTION,
    ),
    documented("<phrase> nothing</phrase> is here.", "", CAPTION, "nothing is here."),
    documented("<grounding>Question: x Answer: It is a hat.</s>", "", CHAT, "Question: x Answer: It is a hat."),
    documented("<image> a < b", "", CHAT, "a < b"),
    documented(f"<phrase> a snowman</phrase> <object>{MAN}</object>", MAN_BOX, CAPTION),
]

MALFORMED = [
    malformed("<phrase> a snowman</phrase><object>", "", CAPTION),  # cut off behind <object>
    malformed("<phrase> a snowman</phrase><object><patch_index_0044>", "", CAPTION),  # cut off in a box
    malformed(f"<phrase> a snowman</phrase><object>{MAN}", MAN_BOX, CAPTION),  # cut off behind a box
    malformed("<phrase> a snow", "", CAPTION),  # cut off in a phrase
    malformed(f"<phrase> a snowman<object>{MAN}</object>", MAN_BOX, CAPTION),  # no </phrase>
    malformed(f"<phrase> a <phrase> fire</phrase><object>{FIRE}</object>", FIRE_BOX[2:], CAPTION),  # nested phrases
    malformed(f"a fire</phrase><object>{FIRE}</object>", FIRE_BOX[7:], CAPTION),  # no <phrase>
    malformed(f"<phrase> a fire</phrase>{FIRE}", "", CAPTION),  # no <object>
    malformed("<phrase> x</phrase><object></object>", "", CAPTION),  # an empty object
    malformed("<phrase> x</phrase><object><patch_index_0044></object>", "", CAPTION),  # one index
    malformed(f"<phrase> a fire</phrase><object>{FIRE}<patch_index_0001></object>", FIRE_BOX, CAPTION),  # three
    malformed(f"<phrase> a fire</phrase><object>{FIRE}{MAN}</object>", FIRE_BOX, CAPTION),  # no delimiter
    malformed(f"<phrase> a fire</phrase><object>{FIRE}{NEXT}</object>", FIRE_BOX, CAPTION),  # nothing behind it
    malformed("<phrase> x</phrase><object><patch_index_0000><patch_index_1024></object>", "", CAPTION),  # no such cell
    malformed("<phrase> a snowman</phrase><object><patch_index_0863><patch_index_0044></object>", MAN_BOX, CAPTION),
    malformed(f"{NEXT}<phrase> a fire</phrase><object>{FIRE}</object>", FIRE_BOX, CAPTION),  # a stray delimiter
    malformed(f"</object><phrase> a fire</phrase><object>{FIRE}</object>", FIRE_BOX, CAPTION),  # a stray end
    malformed(f"<phrase> a fire</phrase><object>{FIRE}<object>{NEXT}</object>", FIRE_BOX, CAPTION),  # nested objects
    malformed(f"<phrase> a fire</phrase><object>{FIRE} and more", FIRE_BOX, CAPTION),  # text in an object
    malformed("<phrase> x</phrase><object><patch_index_00449><patch_index_0863></object>", "", CAPTION),  # five digits
    malformed("<phrase> x</phrase><object><patch_index_><patch_index_0863></object>", "", CAPTION),  # no digits
    malformed("<patch_index_0044>" * 3, "", CAPTION),  # indices alone
]


@pytest.mark.parametrize("row", DOCUMENTED)
def test_documented_answers_draw_what_they_say(row: Row) -> None:
    check(row, DIALECT, issues=False)


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed_answers_draw_what_is_sound(row: Row) -> None:
    check(row, DIALECT, issues=True)


def test_text_spans_and_boxes_equal_those_of_transformers() -> None:
    text, entities = clean_text_and_extract_entities_with_bboxes(SCENE)
    reading = parse(DIALECT, SCENE, CAPTION)
    assert reading.text == text
    assert [(item.label, item.span) for item in reading.outputs] == [(name, span) for name, span, _ in entities]
    for item, (_, _, boxes) in zip(reading.outputs, entities, strict=True):
        assert isinstance(item.output, Box)
        assert np.allclose(item.output.xyxy, boxes[0])


def test_asks_with_grounding() -> None:
    assert DIALECT.ask(BOX).text == "<grounding><phrase> the dog</phrase>"
    prompt = VisualPrompt(kind="box", xyxy=(0.0, 0.0, 1.0, 1.0))
    asked = DIALECT.ask(Question(text="What is this?", visual_prompts=(prompt,), sizes=SIZES)).text
    assert "<object><patch_index_0000><patch_index_1023></object>" in asked


def test_refuses_to_point() -> None:
    with pytest.raises(GeneralistError, match="no answer for task 'point'"):
        DIALECT.ask(POINT)
