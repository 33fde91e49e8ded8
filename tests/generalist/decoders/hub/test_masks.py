"""Boxes and points become masks by Segment Anything; one image is read once."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from generalist.decoders.crops import bounds, from_rle, relative
from generalist.decoders.hub import HubMasks
from generalist.decoders.hub.masks import MOST_AT_ONCE, _stretched
from generalist.decoders.hub.work import KEPT
from generalist.types import Box, GeneralistError, Mask, Point

from ...random_drawers import noise

Find = Callable[[str], Path]
WHOLE = Box(xyxy=(0.1, 0.2, 0.7, 0.9))
DOT = Point(xy=(0.4, 0.6))


@pytest.fixture(params=["sam", "sam2", "sam3"])
def masks(request: pytest.FixtureRequest, drawer_folder: Find) -> HubMasks:
    return HubMasks.open(drawer_folder(request.param), "cpu")


@pytest.fixture
def quick(drawer_folder: Find) -> HubMasks:
    return HubMasks.open(drawer_folder("sam"), "cpu")


def bitmaps(drawn: Sequence[Mask]) -> list[np.ndarray]:
    return [from_rle(mask.counts, mask.size) for mask in drawn]


def test_each_prompt_gets_its_mask_in_order(masks: HubMasks) -> None:
    image = noise(90, 40)
    prompts: list[Box | Point | Mask] = [DOT, WHOLE, Box(xyxy=(0.5, 0.0, 1.0, 0.4)), Point(xy=(0.9, 0.1))]
    together = masks.draw(image, prompts)
    alone = [masks.draw(image, [prompt])[0] for prompt in prompts]
    for one, other, a, b in zip(together, alone, bitmaps(together), bitmaps(alone), strict=True):
        assert one.size == (40, 90)
        assert one.score == pytest.approx(other.score, abs=1e-4) and 0 <= (one.score or 0) <= 1
        assert np.mean(a != b) < 0.01
        if a.any():
            assert one.xyxy == relative(bounds(a), a.shape)
    assert len({mask.counts for mask in together}) > 1


def test_the_mask_is_the_models_own(masks: HubMasks) -> None:
    """What transformers draws in its own way: but for cells that it stretches twice, the same pixels."""
    image = noise(90, 40)
    model, processor = masks._load()
    made = processor(images=[image], return_tensors="pt")
    height, width = made["pixel_values"].shape[-2:]
    inner_h, inner_w = made["reshaped_input_sizes"][0].tolist() if "reshaped_input_sizes" in made else (height, width)
    x1, y1, x2, y2 = WHOLE.xyxy
    boxes = torch.tensor([[[x1 * inner_w, y1 * inner_h, x2 * inner_w, y2 * inner_h]]])
    with torch.inference_mode():
        out = model(pixel_values=made["pixel_values"], input_boxes=boxes, multimask_output=False)
        full = torch.nn.functional.interpolate(out.pred_masks[0], (height, width), mode="bilinear")
        full = torch.nn.functional.interpolate(full[..., :inner_h, :inner_w], (40, 90), mode="bilinear")
    (mine,) = masks.draw(image, [WHOLE])
    (bitmap,) = bitmaps([mine])
    assert np.mean(bitmap != (full[0, 0] > 0).numpy()) < 0.08
    assert mine.score == pytest.approx(min(max(float(out.iou_scores), 0), 1), abs=1e-4)


def test_a_second_prompt_does_not_run_the_image_encoder(masks: HubMasks) -> None:
    runs: list[object] = []
    masks._load()[0].vision_encoder.register_forward_hook(lambda *_: runs.append(1))
    masks.draw(noise(90, 40), [WHOLE])
    masks.draw(noise(90, 40), [DOT])  # the same pixels, read again
    masks.draw(noise(90, 40, seed=1), [DOT])
    assert len(runs) == 2
    work = masks.work
    assert (work.encoded, work.reused, work.drawn) == (2, 1, 3)
    assert min(work.load_s, work.encode_s, work.draw_s) > 0


def test_features_of_few_images_are_kept(quick: HubMasks) -> None:
    for seed in (*range(KEPT + 1), KEPT, 0):  # the last is forgotten by then
        quick.draw(noise(16, 16, seed), [DOT])
    assert (quick.work.encoded, quick.work.reused) == (KEPT + 2, 1)
    assert len(quick._features) == KEPT


def test_the_score_is_the_guess_of_the_decoder_times_that_of_the_box(masks: HubMasks) -> None:
    sure, half = masks.draw(noise(90, 40), [WHOLE, Box(xyxy=WHOLE.xyxy, score=0.5)])
    assert sure.score is not None and half.score == pytest.approx(sure.score / 2, abs=1e-5)


def test_a_mask_is_drawn_anew_from_its_box(quick: HubMasks) -> None:
    old = Mask(size=(40, 90), counts="", xyxy=WHOLE.xyxy)
    assert quick.draw(noise(90, 40), [old]) == quick.draw(noise(90, 40), [WHOLE])


def test_a_box_without_an_inside_means_its_middle(quick: HubMasks) -> None:
    flat, line, point = quick.draw(noise(90, 40), [Box(xyxy=(0.4, 0.6, 0.4, 0.6)), Box(xyxy=(0.2, 0.6, 0.6, 0.6)), DOT])
    first, *others = bitmaps([flat, line, point])
    assert all(np.mean(other != first) < 0.01 for other in others)  # rows of a batch differ a little with threads
    assert (line.score, point.score) == pytest.approx((flat.score, flat.score), abs=1e-4)


def test_nothing_is_loaded_for_nothing(quick: HubMasks) -> None:
    assert quick.draw(noise(90, 40), []) == []
    assert quick.work == type(quick.work)()


def test_more_prompts_than_go_together(quick: HubMasks) -> None:
    prompts = [Box(xyxy=(0.0, 0.0, 0.2 + 0.01 * k, 0.9)) for k in range(MOST_AT_ONCE + 3)]
    drawn = quick.draw(noise(30, 30), prompts)
    assert len(drawn) == len(prompts)
    assert drawn[-1].score == pytest.approx(quick.draw(noise(30, 30), prompts[-1:])[0].score, abs=1e-4)


@pytest.mark.parametrize("name", ["sam2_video", "sam3_video"])
def test_checkpoints_for_videos_draw_on_images(name: str, drawer_folder: Find) -> None:
    masks = HubMasks.open(drawer_folder(name), "cpu")
    assert masks.source.model_type == name
    assert len({mask.score for mask in masks.draw(noise(90, 40), [WHOLE, DOT])}) == 2


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_pictures_of_other_modes(mode: str, quick: HubMasks) -> None:
    picture = noise(50, 30).convert(mode)
    assert quick.draw(picture, [WHOLE]) == quick.draw(picture.convert("RGB"), [WHOLE])


def test_pictures_that_differ_in_their_palette_alone(quick: HubMasks) -> None:
    one = noise(50, 30).convert("P")
    other = one.copy()
    other.putpalette(bytes(reversed(bytes(one.getpalette() or []))))
    quick.draw(one, [DOT])
    quick.draw(other, [DOT])
    assert quick.work.encoded == 2


def test_a_picture_larger_than_processors_are_given(quick: HubMasks) -> None:
    (drawn,) = quick.draw(noise(9000, 300), [WHOLE])
    assert drawn.size == (300, 9000)


def test_a_picture_that_is_a_hair(quick: HubMasks) -> None:
    with pytest.raises(GeneralistError, match=r"masks: .* cannot read an image of 3000x1 .*; cut it"):
        quick.draw(Image.new("RGB", (3000, 1)), [WHOLE])


@pytest.mark.parametrize("cells", [(32.0, 32.0), (32.0, 14.2)])
@pytest.mark.parametrize("size", [(90, 40), (7, 200), (300, 300)])
def test_a_part_is_stretched_as_the_whole_would_be(cells: tuple[float, float], size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    for low in (-3.0, -1.0, 0.2, 5.0):
        logits = rng.normal(low, 1.5, (32, 32)).astype(np.float32)
        logits[:4] = logits[:, -6:] = -2
        logits[int(cells[1]) + 1 :] = 3  # the padding
        box = (0, 0, *cells)
        whole = np.asarray(Image.fromarray(logits).resize(size, Image.Resampling.BILINEAR, box=box)) > 0
        assert np.array_equal(_stretched(logits, cells, size), whole)


def test_nothing_set(drawer_folder: Find) -> None:
    assert not _stretched(np.full((8, 8), -1, np.float32), (8, 8), (20, 10)).any()


def test_sams_own_processor_is_used(drawer_folder: Find, quick: HubMasks) -> None:
    """Its colours and sizes are the folder's, not the class's."""
    assert quick._load()[1].size["longest_edge"] == 64
    assert isinstance(quick._load()[1], transformers.SamImageProcessorPil)


def test_a_file_that_lies_on_its_side(quick: HubMasks) -> None:
    from generalist.images import load_image

    file = io.BytesIO()
    picture = noise(50, 30)
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(file, "JPEG", exif=exif)
    (drawn,) = quick.draw(load_image(file.getvalue()), [WHOLE])
    assert drawn.size == (50, 30)
