"""Variations keep labels on the things that they are of."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from generalist.types import Message
from generalist_adapters.finetune.augment import Augmentation, cut, mirrors, turned, vary
from generalist_adapters.finetune.pictures import Picture, Region, Said

W, H = 60, 40


def picture(*places: tuple[int, int, int, int]) -> Picture:
    """White rectangles, with a box, a mask and a point in the middle of each."""
    pixels = np.zeros((H, W, 3), np.uint8)
    boxes, masks, points = [], [], []
    for x1, y1, x2, y2 in places:
        pixels[y1:y2, x1:x2] = 255
        mask = np.zeros((H, W), bool)
        mask[y1:y2, x1:x2] = True
        xyxy = (x1 / W, y1 / H, x2 / W, y2 / H)
        boxes.append(Region(label="thing", xyxy=xyxy))
        masks.append(Region(label="thing", xyxy=xyxy, mask=mask))
        points.append(("middle", ((x1 + x2) / 2 / W, (y1 + y2) / 2 / H)))
    return Picture(id="p", image=Image.fromarray(pixels), boxes=tuple(boxes), masks=tuple(masks), points=tuple(points))


def white(image: Image.Image, xyxy: tuple[float, float, float, float]) -> float:
    """The share of white pixels in a box."""
    x1, y1, x2, y2 = (round(v * side) for v, side in zip(xyxy, image.size * 2, strict=True))
    return float((np.asarray(image)[y1:y2, x1:x2] > 127).mean())


@pytest.mark.parametrize("seed", range(12))
def test_labels_stay_on_their_things(seed: int) -> None:
    varied = vary(
        np.random.default_rng(seed), picture((6, 4, 20, 18), (30, 20, 44, 36)), Augmentation(flips="all", light=False)
    )
    assert varied.boxes and len(varied.boxes) == len(varied.masks)
    for box, mask in zip(varied.boxes, varied.masks, strict=True):
        assert white(varied.image, box.xyxy) > 0.9 and mask.mask is not None
        assert mask.mask.shape == (varied.image.height, varied.image.width)
        assert np.asarray(varied.image)[..., 0][mask.mask].min() == 255
    for _, (x, y) in varied.points:
        assert np.asarray(varied.image)[int(y * varied.image.height), int(x * varied.image.width), 0] == 255


def test_the_generator_decides() -> None:
    first, again, other = (
        vary(np.random.default_rng(seed), picture((24, 14, 36, 26)), Augmentation(flips="all")) for seed in (0, 0, 1)
    )
    assert first.boxes[0].xyxy == again.boxes[0].xyxy and first.image.tobytes() == again.image.tobytes()
    assert first.image.tobytes() != other.image.tobytes()


def test_four_quarters_are_none() -> None:
    one = picture((6, 4, 20, 18))
    four = one
    for _ in range(4):
        four = turned(four, 1, mirrored=False)
    assert four.image.tobytes() == one.image.tobytes()
    assert four.boxes[0].xyxy == pytest.approx(one.boxes[0].xyxy)


def test_a_cut_drops_what_hardly_shows_and_does_not_deny_it() -> None:
    left = cut(picture((2, 2, 12, 12), (40, 4, 60, 30)), (0.0, 0.0, 0.7, 1.0))  # 2 of 20 columns of the second
    assert len(left.boxes) == len(left.masks) == 1
    assert left.uncounted == {"thing"}  # something of it is still to be seen
    assert left.boxes[0].xyxy == pytest.approx((2 / 42, 2 / 40, 12 / 42, 12 / 40))


def test_an_expression_goes_when_one_of_its_things_does() -> None:
    one = picture((2, 2, 12, 12), (45, 4, 58, 30))
    phrases = (("the thing on top", (one.boxes[0],)), ("both things", one.boxes))
    left = cut(Picture(id="p", image=one.image, boxes=one.boxes, phrases=phrases), (0.0, 0.0, 0.7, 1.0))
    assert [phrase for phrase, _ in left.phrases] == ["the thing on top"]


def test_pictures_whose_labels_speak_of_sides_are_not_mirrored() -> None:
    plain = picture((6, 4, 20, 18))
    told = Picture(id="p", image=plain.image, said=(Said(task="caption", prompt="?", answer="A dog, Left of a cat."),))
    earlier = Said(task="chat", prompt="And?", answer="Yes", history=(Message(role="user", text="On the right?"),))
    assert mirrors([plain]) and not mirrors([plain, told])
    assert not mirrors([Picture(id="p", image=plain.image, said=(earlier,))])
