"""Gemini's JSON: y before x, 0 to 1000, masks as pictures of the box or as polygons."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from supervision.detection.vlm import from_google_gemini_2_5, from_google_gemini_3_6

from generalist.dialects import Question, get_dialect, parse
from generalist.types import Mask, VisualPrompt

from .rows import BOX, CHAT, POINT, SEGMENT, SIZES, Row, check, documented, malformed

DIALECT = get_dialect("gemini")


def picture(width: int = 64, height: int = 64) -> str:
    """A disc as a base64 PNG."""
    y, x = np.mgrid[:height, :width]
    disc = np.hypot((x - width / 2) / width, (y - height / 2) / height) < 0.4
    buffer = io.BytesIO()
    Image.fromarray(disc.astype(np.uint8) * 255).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


DOG = '{"box_2d": [100, 200, 500, 600], "label": "dog"}'
CAT = '{"box_2d": [0, 0, 1000, 1000], "label": "cat"}'
DOG_BOX, CAT_BOX = "dog box 200 50 600 250", "cat box 0 0 1000 500"
MASKED = f'{{"box_2d": [100, 200, 500, 600], "mask": "{picture()}", "label": "dog"}}'
CORNERS = '{"box_2d": [100, 200, 500, 600], "mask": [[200, 100], [600, 100], [400, 500]], "label": "dog"}'
DOG_MASK = "dog mask 200 50 600 250"

DOCUMENTED = [
    documented(f"```json\n[\n  {DOG},\n  {CAT}\n]\n```", f"{DOG_BOX}; {CAT_BOX}", clean="dog, cat"),
    documented(f"[{DOG}]", DOG_BOX),
    documented(DOG, DOG_BOX),
    documented(f'{{"boxes": [{DOG}, {CAT}]}}', f"{DOG_BOX}; {CAT_BOX}"),
    documented('[{"point": [250, 500], "label": "dog"}]', "dog point 500 125", POINT),
    documented(
        '[{"point": [250, 500], "label": "dog"}, {"point": [0, 0], "label": "x"}]',
        "dog point 500 125; x point 0 0",
        POINT,
    ),
    documented(f"```json\n[{MASKED}]\n```", DOG_MASK, SEGMENT),
    documented(f"[{MASKED}, {CAT}]", f"{DOG_MASK}; {CAT_BOX}", SEGMENT),
    documented(f'{{"boxes": [{CORNERS}]}}', DOG_MASK, SEGMENT),
    documented(f"Here is the list:\n```json\n[{DOG}]\n```", DOG_BOX, CHAT, "Here is the list:\ndog"),
    documented("```json\n[]\n```", "", clean=""),
    documented('{"box_2d": [100, 200, 500, 600]}', "the dog box 200 50 600 250", BOX),
    documented('[{"box_2d": [100, 200, 500, 600], "label": "dog", "confidence": 0.9}]', DOG_BOX),
    documented("I cannot see a dog.", "", clean="I cannot see a dog."),
]

MALFORMED = [
    malformed(f"[{DOG}, {CAT[:20]}", DOG_BOX),  # cut off
    malformed(f'{{"boxes": [{DOG}, {CAT[:20]}', DOG_BOX),  # cut off within a wrapper
    malformed(f"[{MASKED[:300]}", "", SEGMENT),  # cut off in a picture
    malformed(MASKED.replace("iVBOR", "?????"), DOG_BOX, SEGMENT),  # not base64
    malformed(MASKED.replace("iVBOR", "iVBOS"), DOG_BOX, SEGMENT),  # not a PNG
    malformed(MASKED.replace(picture(), picture()[:200]), DOG_BOX, SEGMENT),  # part of a PNG
    malformed(MASKED.replace(picture(), ""), DOG_BOX, SEGMENT),  # an empty picture
    malformed(MASKED.replace(picture(), "data:image/png;base64,"), DOG_BOX, SEGMENT),  # no bytes
    malformed(MASKED.replace(f'"{picture()}"', "7"), DOG_BOX, SEGMENT),  # a number for a picture
    malformed(MASKED.replace(f'"{picture()}"', '["<start_of_mask>"]'), DOG_BOX, SEGMENT),  # a word for a corner
    malformed(CORNERS.replace("[600, 100], ", ""), DOG_BOX, SEGMENT),  # two corners
    malformed(CORNERS.replace("[600, 100]", "[600]"), DOG_BOX, SEGMENT),  # half a corner
    malformed(CORNERS.replace("[[200, 100], [600, 100], [400, 500]]", "[]"), DOG_BOX, SEGMENT),  # no corners
    malformed('[{"box_2d": [500, 600, 100, 200], "label": "dog"}]', DOG_BOX),  # corners turned round
    malformed('[{"box_2d": [100, 200, 500, 1600], "label": "dog"}]', "dog box 200 50 1000 250"),  # beyond the edge
    malformed('[{"box_2d": [1500, 200, 1600, 600], "label": "dog"}]', ""),  # outside
    malformed('[{"box_2d": [100, 200, 500], "label": "dog"}]', ""),  # three numbers
    malformed('[{"box_2d": null, "box": 5, "label": "dog"}]', ""),  # a number for a box
    malformed('[{"point": [2500, 500], "label": "dog"}]', "", POINT),  # a point outside
    malformed('[{"point": [], "label": "dog"}]', "", POINT),  # no point
    malformed(f'[{{"box_2d": [100, 200, 500, 600] "label" "dog"}}, {CAT}]', CAT_BOX),  # a comma and a colon missing
    malformed(f"[{DOG}, {DOG[:-1]}]", f"{DOG_BOX}; {DOG_BOX}"),  # no "}"
    malformed(f"[{DOG}, " * 2 + "...", f"{DOG_BOX}; {DOG_BOX}"),  # repeated, then cut off
]


@pytest.mark.parametrize("row", DOCUMENTED)
def test_documented_answers_draw_what_they_say(row: Row) -> None:
    check(row, DIALECT, issues=False)


@pytest.mark.parametrize("row", MALFORMED)
def test_malformed_answers_draw_what_is_sound(row: Row) -> None:
    check(row, DIALECT, issues=True)


def bitmap(mask: Mask) -> np.ndarray:
    return coco.decode({"size": list(mask.size), "counts": mask.counts.encode()}).astype(bool)


@pytest.mark.parametrize("answer", [f"```json\n[{DOG}, {CAT}]\n```", f"```json\n[{MASKED}]\n```"])
def test_boxes_and_masks_equal_those_of_supervision(answer: str) -> None:
    expected, _, names, _, masks = from_google_gemini_2_5(answer, resolution_wh=SIZES.submitted)
    outputs = parse(DIALECT, answer, SEGMENT).outputs
    found = np.array([item.output.xyxy for item in outputs]) * (1000, 500, 1000, 500)  # type: ignore[union-attr]
    assert np.allclose(found, expected)
    assert [item.label for item in outputs] == list(names)
    if masks is not None:
        drawn = [item.output for item in outputs]
        assert all(isinstance(one, Mask) for one in drawn)
        found_masks = np.stack([bitmap(one) for one in drawn if isinstance(one, Mask)])
        assert (found_masks == masks).mean() > 0.9999


def test_a_polygon_equals_that_of_supervision() -> None:
    *_, masks = from_google_gemini_3_6(f'{{"boxes": [{CORNERS}]}}', resolution_wh=SIZES.submitted)
    (item,) = parse(DIALECT, CORNERS, SEGMENT).outputs
    assert masks is not None and isinstance(item.output, Mask)
    found = bitmap(item.output)
    assert (found & masks[0]).sum() / (found | masks[0]).sum() > 0.98


def test_shows_drawings_y_first() -> None:
    prompts = (VisualPrompt(kind="box", xyxy=(0.1, 0.2, 0.5, 0.6)), VisualPrompt(kind="point", xy=(0.1, 0.2)))
    question = Question(text="What is this?", visual_prompts=prompts, sizes=SIZES)
    assert DIALECT.ask(question).text.splitlines()[1:] == ['{"box_2d": [200, 100, 600, 500]}', '{"point": [200, 100]}']


def test_asks_for_masks() -> None:
    assert '"mask"' in DIALECT.ask(SEGMENT).text
