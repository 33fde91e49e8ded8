"""Florence-2: labels before their locations, 1000 parts; polygons; quadrilaterals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.florence2.processing_florence2 import Florence2PostProcessor

from generalist.dialects import Question, get_dialect, parse
from generalist.types import Box, GeneralistError, VisualPrompt

from .rows import BOX, CAPTION, DETECT, POINT, SEGMENT, SIZES, Row, check, documented, malformed

DIALECT = get_dialect("florence2")
OD = Question(text="<OD>", sizes=SIZES)
OCR = Question(text="<OCR_WITH_REGION>", sizes=SIZES)
PROPOSALS = Question(text="<REGION_PROPOSAL>", sizes=SIZES)
CAR = "<loc_53><loc_334><loc_933><loc_775>"
DOOR = "<loc_710><loc_276><loc_908><loc_537>"
CAR_BOX, DOOR_BOX = "car box 53.5 167.2 933.5 387.7", "door box 710.5 138.2 908.5 268.7"
TRIANGLE = "<loc_100><loc_200><loc_300><loc_200><loc_200><loc_600>"
QUAD = "<loc_100><loc_200><loc_300><loc_200><loc_300><loc_400><loc_100><loc_400>"
CORNERS = "100.5 100.2 300.5 200.2"
SHAPE = "100.5 100.2 300.5 300.2"

DOCUMENTED = [
    documented(f"</s><s>car{CAR}door{DOOR}</s>", f"{CAR_BOX}; {DOOR_BOX}", OD, "car, door"),
    documented(f"car{CAR}{DOOR}", f"{CAR_BOX}; car box 710.5 138.2 908.5 268.7", OD, "car"),
    documented(f"A green car{CAR}", f"A green {CAR_BOX}", BOX, "A green car"),
    documented(f"A green car{CAR}a yellow door{DOOR}", f"A green {CAR_BOX}; a yellow {DOOR_BOX}", BOX),
    documented(f"{CAR}{DOOR}", f"{CAR_BOX[4:]}; {DOOR_BOX[5:]}", PROPOSALS, ""),
    documented(f"</s><s>{TRIANGLE}</s>", f"the dog mask {SHAPE}", SEGMENT),
    documented(
        f"{TRIANGLE}<sep><loc_500><loc_500><loc_600><loc_500><loc_600><loc_900>",
        "the dog mask 100.5 100.2 600.5 450.2",
        SEGMENT,
    ),
    documented(
        f"<poly>{TRIANGLE}</poly><poly>{TRIANGLE}</poly>", f"the dog mask {SHAPE}; the dog mask {SHAPE}", SEGMENT
    ),
    documented(f"car<poly>{TRIANGLE}</poly>", f"car mask {SHAPE}"),
    documented(f"EXIT{QUAD}WAY{QUAD}", f"EXIT box {CORNERS}; WAY box {CORNERS}", OCR, "EXIT, WAY"),
    documented(
        "</s><s>A green car parked in front of a yellow building.</s>",
        "",
        CAPTION,
        "A green car parked in front of a yellow building.",
    ),
    documented(
        f"turquoise car{CAR}",
        f"turquoise {CAR_BOX}",
        Question(text="<REGION_TO_CATEGORY><loc_52><loc_332><loc_932><loc_774>", sizes=SIZES),
    ),
    documented(f"car{CAR}", CAR_BOX, clean="car"),
    documented("No object detected.<pad><pad>", "", clean="No object detected."),
]

MALFORMED = [
    malformed(f"car{CAR}door{DOOR[:18]}", CAR_BOX, OD),  # cut off behind two locations
    malformed(f"car{CAR}door<loc_710><loc_2", CAR_BOX, OD),  # cut off in a tag
    malformed("car<loc_53>", "", OD),  # one location
    malformed(f"car{CAR}<loc_1>", CAR_BOX, OD),  # five
    malformed(f"car{CAR}<loc_1><loc_2><loc_3>door{DOOR}", f"{CAR_BOX}; {DOOR_BOX}", OD),  # seven, then a whole box
    malformed("car<loc_53><loc_334><loc_933><loc_1500>", "car box 53.5 167.2 933.5 500", OD),  # beyond the edge
    malformed("car<loc_1500><loc_1500><loc_1600><loc_1600>", "", OD),  # outside
    malformed("car<loc_933><loc_775><loc_53><loc_334>", CAR_BOX, OD),  # corners turned round
    malformed("car<loc_53><loc_334>door<loc_933><loc_775>", "", OD),  # a box broken in two
    malformed("car<loc_53><loc_334><loc_933><loc_99999>", "", OD),  # too many digits
    malformed("car<loc_53><loc_334><loc_933><loc_>", "", OD),  # no digits
    malformed("car<loc_53><loc_334><loc_933><loc_-5>", "", OD),  # a negative number
    malformed("car<loc_53><loc_334><poly><loc_933><loc_775>", "", OD),  # a polygon begins in a box
    malformed("<loc_100><loc_200><loc_300><loc_200>", "", SEGMENT),  # two corners
    malformed(f"{TRIANGLE}<sep><loc_1>", f"the dog mask {SHAPE}".replace("100.5 100.2", "100.5 100.2"), SEGMENT),
    malformed(f"car<poly>{TRIANGLE}", "", SEGMENT),  # cut off in a polygon
    malformed(f"car<poly>{TRIANGLE}</poly><poly><loc_1><loc_2></poly>", f"car mask {SHAPE}", SEGMENT),  # one corner
    malformed(f"<poly></poly>{TRIANGLE[:18]}", "", SEGMENT),  # an empty polygon
    malformed(f"EXIT{QUAD[:-9]}", "", OCR),  # seven locations of eight
    malformed(f"EXIT{QUAD}{QUAD[:27]}", f"EXIT box {CORNERS}", OCR),  # a quadrilateral, then three locations
    malformed(f"<loc_1><loc_2><loc_3>car{CAR}", CAR_BOX, OD),  # locations before the label
    malformed(f"car{CAR[:-1]}door{DOOR}", f"<loc_775{DOOR_BOX}", OD),  # a tag without its end
]
# Half a corner behind "<sep>" is too little for a polygon of its own, and is dropped in silence with it.
DOCUMENTED.append(MALFORMED.pop(14))
MALFORMED.append(malformed(f"{CAR}<loc_9>{DOOR[:9]}", CAR_BOX[4:], PROPOSALS))  # six locations without a label


@pytest.mark.parametrize("row", DOCUMENTED)
def test_documented_answers_draw_what_they_say(row: Row) -> None:
    check(row, DIALECT, issues=False)


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed_answers_draw_what_is_sound(row: Row) -> None:
    check(row, DIALECT, issues=True)


class Tokenizer:
    all_special_tokens = ("<s>", "</s>", "<pad>")


@pytest.mark.parametrize(
    ("kind", "question", "answer"),
    [
        ("description_with_bboxes", OD, f"</s><s>car{CAR}door{DOOR}</s>"),
        ("description_with_bboxes", OD, f"car{CAR}{DOOR}"),
        ("description_with_bboxes", OD, f"car{CAR}door{DOOR[:18]}"),
        ("phrase_grounding", BOX, f"A green car{CAR}a yellow door{DOOR}"),
    ],
)
def test_boxes_equal_those_of_transformers(kind: str, question: Question, answer: str) -> None:
    config = {"phrase_grounding": {}, "description_with_bboxes": {}}
    found = Florence2PostProcessor(config, Tokenizer())(text=answer, image_size=(1000, 500), parse_tasks=kind)[kind]
    expected = [(one["cat_name"], box) for one in found for box in np.reshape(one["bbox"], (-1, 4)).tolist()]
    outputs = parse(DIALECT, answer, question).outputs
    assert [item.label for item in outputs] == [name for name, _ in expected]
    for item, (_, box) in zip(outputs, expected, strict=True):
        assert isinstance(item.output, Box)
        pixels = torch.tensor(item.output.xyxy) * torch.tensor([1000, 500, 1000, 500])
        assert (pixels - torch.tensor(box)).abs().max() <= 1  # transformers cuts to whole pixels


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (DETECT, "<OPEN_VOCABULARY_DETECTION>dogs"),
        (Question(text="Detect all objects.", task="detect", sizes=SIZES), "<OD>"),
        (BOX, "<CAPTION_TO_PHRASE_GROUNDING>the dog"),
        (SEGMENT, "<REFERRING_EXPRESSION_SEGMENTATION>the dog"),
        (CAPTION, "<DETAILED_CAPTION>"),
        (OCR, "<OCR_WITH_REGION>"),
    ],
)
def test_asks_with_its_task_tokens(question: Question, words: str) -> None:
    assert DIALECT.ask(question).text == words


def test_asks_what_is_in_a_box() -> None:
    prompt = VisualPrompt(kind="box", xyxy=(0.1, 0.2, 0.5, 1.0))
    question = Question(text="What is this?", visual_prompts=(prompt,), sizes=SIZES)
    assert DIALECT.ask(question).text == "<REGION_TO_DESCRIPTION><loc_100><loc_200><loc_500><loc_999>"


@pytest.mark.parametrize("question", [POINT, Question(text="Is it raining?", sizes=SIZES)])
def test_refuses_what_it_has_no_task_for(question: Question) -> None:
    with pytest.raises(GeneralistError, match="use"):
        DIALECT.ask(question)
