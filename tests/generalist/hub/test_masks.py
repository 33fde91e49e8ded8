"""A vision-language model of the hub that has no masks, with one that makes masks of its boxes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from generalist import Generalist
from generalist.reply import TextDelta
from generalist.types import Grounded, Mask, Sampling

SHORT = Sampling(max_new_tokens=80)


@pytest.fixture(scope="module")
def model(hub_folder: Callable[[str], Path], drawer_folder: Callable[[str], Path]) -> Generalist:
    return Generalist.from_pretrained(hub_folder("paligemma"), device="cpu", masks=drawer_folder("sam2"))


def test_segments(model: Generalist, pictures: tuple[Image.Image, Image.Image]) -> None:
    boxes = model.detect(pictures[0], "dogs", sampling=SHORT)
    answer = model.segment(pictures[0], "dogs", sampling=SHORT)
    assert boxes.boxes and not boxes.masks
    assert len(answer.masks) == len(answer.outputs) == len(boxes.boxes)
    assert [item.label for item in answer.outputs] == [item.label for item in boxes.outputs]
    for box, mask in zip(boxes.boxes, answer.masks, strict=True):
        assert mask.size == (60, 100)
        assert box.score is not None and mask.score is not None and mask.score <= box.score
    assert model.drawing is not None and model.drawing.report()["masks"]["encoded"] == 1
    answer.overlay()


def test_streams_masks(model: Generalist, pictures: tuple[Image.Image, Image.Image]) -> None:
    answer = model.segment(pictures[1], "dogs", sampling=SHORT)
    events = list(model.stream(pictures[1], "Segment dogs.", task="segment", sampling=SHORT))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == answer.text
    drawn = [event.output for event in events if isinstance(event, Grounded)]
    assert len(drawn) == len(answer.masks) > 0
    assert all(isinstance(output, Mask) for output in drawn)
