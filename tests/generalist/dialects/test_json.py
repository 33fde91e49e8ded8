"""Plain JSON: fractions of the image's width and height, under the names that models give to such things."""

from __future__ import annotations

import json

import pytest

from generalist.dialects import Question, get_dialect
from generalist.types import VisualPrompt

from .rows import BOX, CHAT, DETECT, POINT, SIZES, Row, check, documented, malformed

DIALECT = get_dialect("json")
DOG = '{"box": [0.1, 0.2, 0.5, 0.6], "label": "dog"}'
CAT = '{"box": [0, 0, 1, 1.0], "label": "cat"}'
DOG_BOX, CAT_BOX = "dog box 100 100 500 300", "cat box 0 0 1000 500"

DOCUMENTED = [
    documented(f"[{DOG}, {CAT}]", f"{DOG_BOX}; {CAT_BOX}", clean="dog, cat"),
    documented(DOG, DOG_BOX, clean="dog"),
    documented(f"```json\n[{DOG}]\n```", DOG_BOX, clean="dog"),
    documented(f"```\n[{DOG}]\n```", DOG_BOX, clean="dog"),
    documented(f"Sure! {DOG}", DOG_BOX, CHAT, "Sure! dog"),
    documented(f'{{"objects": [{DOG}, {CAT}], "count": 2}}', f"{DOG_BOX}; {CAT_BOX}"),
    documented(f"{DOG}\n{CAT}", f"{DOG_BOX}; {CAT_BOX}"),
    documented('{"bbox": [0.1, 0.2, 0.5, 0.6], "name": "dog"}', DOG_BOX),
    documented('{"box_2d": [0.1, 0.2, 0.5, 0.6], "class": "dog"}', DOG_BOX),
    documented('{"point": [0.5, 0.5], "label": "dog"}', "dog point 500 250", POINT),
    documented('{"dogs": [{"box": [0.1, 0.2, 0.5, 0.6]}]}', "dogs box 100 100 500 300"),
    documented('{"box": [1e-1, 2E-1, .5, 0.6], "label": "dog"}', DOG_BOX),
    documented("{box: [0.1, 0.2, 0.5, 0.6], label: dog}", DOG_BOX),
    documented('{"box": ["0.1", "0.2", "0.5", "0.6"], "label": "dog"}', DOG_BOX),
    documented(
        '{"label": "person", "box": [0, 0, 1, 1], "parts": [{"label": "hat", "box": [0, 0, 0.5, 0.5]}]}',
        "hat box 0 0 500 250; person box 0 0 1000 500",
    ),
    documented("{}", "", clean=""),
]

MALFORMED = [
    malformed(f"[{DOG}, {CAT[:-1]}", DOG_BOX),  # cut off before "}"
    malformed(f"[{DOG}, {CAT[:9]}", DOG_BOX),  # cut off before the numbers
    malformed('{"box": [100, 100, 500, 300], "label": "dog"}', ""),  # pixels
    malformed('{"box": [0.1, 0.2, 500, 300], "label": "dog"}', DOG_BOX.replace("500 300", "1000 500")),  # half pixels
    malformed('{"box": [0.5, 0.6, 0.1, 0.2], "label": "dog"}', DOG_BOX),  # corners turned round
    malformed('{"box": [0.1, 0.2, 0.5], "label": "dog"}', ""),  # three numbers
    malformed('{"box": 0.1, "label": "dog"}', ""),  # one number
    malformed('{"box": ["a", "b", "c", "d"], "label": "dog"}', ""),  # letters
    malformed('{"box": [0.1, 0.2, 0.5, "0.6000000000000000000000001"], "label": "dog"}', ""),  # a very long number
    malformed('{"box": [0.1, 0.2, 0.5, Infinity], "label": "dog"}', ""),  # infinite
    malformed('{"box": [0.1 0.2 0.5 0.6 0.7], "label": "dog"}', ""),  # five numbers without commas
    malformed('{"point": [0.5, 1.5], "label": "dog"}', "", POINT),  # outside
    malformed('{"point": [0.5, -1.5], "label": "dog"}', "", POINT),  # outside above
    malformed('{"point": {"x": 0.5, "y": 0.5}}', "", POINT),  # an object for a point
    malformed('{"box": [0.1, 0.2, 0.5, 0.6, "label": "dog"}', DOG_BOX),  # no "]"
    malformed(f'[{{"box": [0.1, 0.2, 0.5, 0.6], "label": "dog}}, {CAT}]', ""),  # no closing quote: both are one
    malformed(f'[{{"box": [0.1], "label": "dog}}, {{}}, {CAT}, {CAT}]', CAT_BOX),  # no closing quote, then two more
    malformed(f"[{{'box': [0.1], 'label': 'the dog's'}}, {CAT}]", CAT_BOX),  # an apostrophe in single quotes
    malformed(f"[{DOG}, label: {CAT}]", f"{DOG_BOX}; {CAT_BOX}"),  # a key in a list
    malformed(f"{DOG}]{CAT[:-1]}", DOG_BOX),  # a "]" too many, then cut off
    malformed(f"[{DOG}))", DOG_BOX),  # the wrong bracket
    malformed("[" * 33 + DOG + "]" * 33, DOG_BOX),  # nested too deep
    malformed(f'{{"a": "b": {DOG}}}', ""),  # nonsense around it
]


@pytest.mark.parametrize("row", DOCUMENTED)
def test_documented_answers_draw_what_they_say(row: Row) -> None:
    check(row, DIALECT, issues=False)


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed_answers_draw_what_is_sound(row: Row) -> None:
    check(row, DIALECT, issues=True)


def test_says_what_the_numbers_mean() -> None:
    assert "from 0 to 1" in DIALECT.ask(DETECT).text
    constraint = DIALECT.constraint(BOX)
    assert constraint is not None
    assert json.loads(constraint.json_schema)["items"]["properties"]["box"]["items"]["maximum"] == 1


def test_shows_a_box_in_fractions() -> None:
    prompt = VisualPrompt(kind="box", xyxy=(0.1, 0.2, 0.5, 0.6))
    question = Question(text="What is this?", visual_prompts=(prompt,), sizes=SIZES)
    assert DIALECT.ask(question).text.endswith('{"box": [0.1, 0.2, 0.5, 0.6]}')
