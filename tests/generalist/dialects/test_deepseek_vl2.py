"""DeepSeek-VL2: labels in <|ref|>, lists of boxes in <|det|>, 0 to 999."""

from __future__ import annotations

import numpy as np
import pytest
from supervision.detection.vlm import from_deepseek_vl_2

from generalist.dialects import get_dialect, parse
from generalist.types import GeneralistError

from .rows import BOX, CAPTION, CHAT, DETECT, POINT, SIZES, Row, check, documented, malformed

DIALECT = get_dialect("deepseek_vl2")
GIRAFFE = "<|ref|>The giraffe at the back.<|/ref|><|det|>[[580, 270, 999, 900]]<|/det|>"
GIRAFFE_BOX = "The giraffe at the back. box 580.6 135.1 1000 450.5"
DOG = "<|ref|>dog<|/ref|><|det|>[[100, 200, 300, 400]]<|/det|>"
DOG_BOX = "dog box 100.1 100.1 300.3 200.2"
TWO = "<|ref|>cat<|/ref|><|det|>[[0, 0, 999, 999], [100, 200, 300, 400]]<|/det|>"
TWO_BOXES = "cat box 0 0 1000 500; cat box 100.1 100.1 300.3 200.2"
END = "<\uff5cend\u2581of\u2581sentence\uff5c>"

DOCUMENTED = [
    documented(f"{GIRAFFE}{END}", GIRAFFE_BOX, BOX, "The giraffe at the back."),
    documented(GIRAFFE, GIRAFFE_BOX, BOX),
    documented(DOG, DOG_BOX, clean="dog"),
    documented(TWO, TWO_BOXES, clean="cat"),
    documented(f"{DOG}{TWO}", f"{DOG_BOX}; {TWO_BOXES}", clean="dog, cat"),
    documented(
        f"In the picture, {DOG} looks at {TWO}.", f"{DOG_BOX}; {TWO_BOXES}", CHAT, "In the picture, dog looks at cat."
    ),
    documented(f"{DOG}\n{TWO}", f"{DOG_BOX}; {TWO_BOXES}", clean="dog\ncat"),
    documented("<|ref|> dog <|/ref|><|det|>[[100,200,300,400]]<|/det|>", DOG_BOX),
    documented("<|ref|>dog<|/ref|> <|det|>[[100.0, 200.0, 300.0, 400.0]]<|/det|>", DOG_BOX),
    documented("<|det|>[[100, 200, 300, 400]]<|/det|>", "the dog box 100.1 100.1 300.3 200.2", BOX),
    documented("<|ref|>dog<|/ref|><|det|>[]<|/det|>", "", clean="dog"),
    documented("A giraffe stands by a tree.", "", CAPTION, "A giraffe stands by a tree."),
    documented(f"<|grounding|>Two animals: {DOG}", DOG_BOX, CHAT, "Two animals: dog"),
    documented("5 <| 6", "", CHAT, "5 <| 6"),
]

MALFORMED = [
    malformed(
        "<|ref|>mazda<|/ref|><|det|>[[220, <|ref|>dog<|/ref|><|det|>[[100, 200, 300, 400]]<|/det|><|/det|>", DOG_BOX
    ),  # an answer within another (issue 100)
    malformed("<|ref|>dog<|/ref|><|det|>[[533, 132, 457]]<|/det|>", ""),  # three numbers (issue 96)
    malformed("<|ref|>dog<|/ref|><|det|>[245,[234,543,542,244]]<|/det|>", "dog box 234.2 122.1 542.5 271.8"),  # nested
    malformed(f"<|ref|>dog<|/ref|><|det|>[[0, 50, 55, 9999], [0, 5, 533, 17, {'9' * 500}", "dog box 0 25 55 500"),
    malformed(f"{DOG}<|ref|>cat<|/ref|><|det|>[[0, 0, 99", DOG_BOX),  # cut off in a number
    malformed(f"{DOG}<|ref|>ca", DOG_BOX),  # cut off in a label
    malformed(DOG[:-8], DOG_BOX),  # no end
    malformed(DOG[:-9], DOG_BOX),  # no "]" either
    malformed("<|ref|>dog<|det|>[[100, 200, 300, 400]]<|/det|>", DOG_BOX),  # no <|/ref|>
    malformed("dog<|/ref|><|det|>[[100, 200, 300, 400]]<|/det|>", f"dogs{DOG_BOX[3:]}"),  # no <|ref|>
    malformed("<|ref|>a <|ref|>dog<|/ref|><|det|>[[100, 200, 300, 400]]<|/det|>", DOG_BOX),  # nested labels
    malformed("<|ref|>dog<|/ref|>[[100, 200, 300, 400]]<|/det|>", ""),  # no <|det|>
    malformed("<|ref|>dog<|/ref|><|det|>100, 200, 300, 400<|/det|>", ""),  # no brackets
    malformed("<|ref|>dog<|/ref|><|det|>[[100, 200, 300, 400], [[1]]]<|/det|>", DOG_BOX),  # one number
    malformed("<|ref|>dog<|/ref|><|det|>[[300, 400, 100, 200]]<|/det|>", DOG_BOX),  # corners turned round
    malformed("<|ref|>dog<|/ref|><|det|>[[100, 200, 1300, 400]]<|/det|>", "dog box 100.1 100.1 1000 200.2"),  # beyond
    malformed("<|ref|>dog<|/ref|><|det|>[[1100, 200, 1300, 400]]<|/det|>", ""),  # outside
    malformed("<|ref|>dog<|/ref|><|det|>[[a, b, c, d]]<|/det|>", ""),  # letters
    malformed("<|ref|>dog<|/ref|><|det|>[[1.0.0, 200, 300, 400]]<|/det|>", ""),  # two points in a number
    malformed("<|ref|>dog<|/ref|><|det|>[[100, 200, 300, 400]] here<|/det|>", DOG_BOX),  # words behind the boxes
    malformed(f"{DOG}<|/det|>", DOG_BOX),  # an end too many
    malformed(f"<|det|><|det|>{DOG}", f"{DOG_BOX}"),  # opened twice
    malformed(f"{'<|ref|>' * 3}{'<|det|>' * 3}", ""),  # tags alone
]


@pytest.mark.parametrize("row", DOCUMENTED)
def test_documented_answers_draw_what_they_say(row: Row) -> None:
    check(row, DIALECT, issues=False)


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed_answers_draw_what_is_sound(row: Row) -> None:
    check(row, DIALECT, issues=True)


@pytest.mark.parametrize("answer", [GIRAFFE, f"{DOG}{TWO}", "No dog."])
def test_boxes_equal_those_of_supervision(answer: str) -> None:
    expected, _, names = from_deepseek_vl_2(answer, resolution_wh=SIZES.submitted)
    outputs = parse(DIALECT, answer, DETECT).outputs
    found = np.array([item.output.xyxy for item in outputs]).reshape(-1, 4)  # type: ignore[union-attr]
    assert np.allclose(found * (1000, 500, 1000, 500), expected, atol=1e-3)
    assert [item.label for item in outputs] == list(names)


def test_asks_with_ref() -> None:
    assert DIALECT.ask(BOX).text == "<|ref|>the dog<|/ref|>."
    assert DIALECT.ask(CHAT).text == CHAT.text


def test_refuses_to_point() -> None:
    with pytest.raises(GeneralistError, match="no answer for task 'point'"):
        DIALECT.ask(POINT)
