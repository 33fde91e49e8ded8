"""Depth by models of the hub: of every pixel, larger is farther, and metres only where the model has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from generalist.decoders.hub import HubDepth
from generalist.types import GeneralistError
from generalist.visual import decode_png16, encode_png16

from ...random_drawers import noise

Find = Callable[[str], Path]
UNITS = {
    "depth_anything": "relative",
    "metric_anything": "metre",
    "dpt": "relative",
    "dpt_dinov2": "relative",
    "zoedepth": "metre",
}


@pytest.fixture
def open_depth(drawer_folder: Find) -> Callable[[str], HubDepth]:
    return lambda name: HubDepth.open(drawer_folder(name), "cpu")


Open = Callable[[str], HubDepth]


@pytest.mark.parametrize("name", UNITS)
def test_maps_have_the_images_size_and_the_models_unit(name: str, open_depth: Open) -> None:
    depth = open_depth(name)
    drawn = depth.draw(noise(90, 60))
    assert drawn.values.shape == (60, 90) and drawn.values.dtype == np.float32
    assert np.isfinite(drawn.values).all() and drawn.values.min() >= 0
    assert drawn.unit == depth.unit == UNITS[name]
    assert drawn.score is None
    if drawn.unit == "relative":
        assert drawn.values.max() == 1 and drawn.values.min() > 0
        data, scale = encode_png16(drawn)
        assert decode_png16(data, scale).min() > 0  # 0 would be "unknown"


def said(depth: HubDepth, image: Image.Image) -> np.ndarray:
    """What the model says before it is turned and stretched."""
    model, processor = depth._load()
    made = processor(images=[image], return_tensors="pt")
    with torch.inference_mode():
        return np.asarray(model(made["pixel_values"]).predicted_depth[0])


@pytest.mark.parametrize(("name", "sign"), [("depth_anything", -1), ("dpt", -1), ("dpt_dinov2", 1)])
def test_inverse_depth_is_turned_around(name: str, sign: int, open_depth: Open) -> None:
    depth, image = open_depth(name), noise(56, 56)
    raw = said(depth, image)
    assert np.ptp(raw) > 0
    full = np.asarray(Image.fromarray(raw).resize((56, 56), Image.Resampling.BILINEAR))
    assert np.corrcoef(depth.draw(image).values.ravel(), sign * full.ravel())[0, 1] > 0.99


def test_metres_are_the_models_own(open_depth: Open) -> None:
    depth, image = open_depth("metric_anything"), noise(56, 56)
    raw = said(depth, image)
    assert 0 < raw.max() <= 20
    assert np.allclose(depth.draw(image).values, np.asarray(Image.fromarray(raw).resize((56, 56), 2)), atol=1e-4)


def test_the_border_that_zoedepth_adds_is_taken_off(open_depth: Open) -> None:
    depth, image = open_depth("zoedepth"), noise(128, 72)
    across, down = int(np.sqrt(128 / 2) * 3), int(np.sqrt(72 / 2) * 3)
    raw = torch.tensor(said(depth, image))[None, None]
    whole = torch.nn.functional.interpolate(raw, (72 + 2 * down, 128 + 2 * across), mode="bilinear")[0, 0]
    inner = whole[down:-down, across:-across].numpy()
    drawn = depth.draw(image).values
    assert np.abs(drawn - inner).mean() < 0.02 * np.ptp(inner) < np.ptp(inner)


def test_one_image_is_looked_at_once(open_depth: Open) -> None:
    depth = open_depth("depth_anything")
    runs: list[object] = []
    depth._load()[0].register_forward_hook(lambda *_: runs.append(1))
    first, second = depth.draw(noise(56, 56)), depth.draw(noise(56, 56))
    assert np.array_equal(first.values, second.values)
    assert len(runs) == 1 and (depth.work.encoded, depth.work.reused, depth.work.drawn) == (1, 1, 2)


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("size", [(9000, 20), (3, 700), (1, 1)])
def test_pictures_of_unusual_shape(size: tuple[int, int], name: str, open_depth: Open) -> None:
    assert open_depth(name).draw(noise(*size)).values.shape == size[::-1]


@pytest.mark.parametrize("mode", ["L", "P"])
def test_pictures_of_other_modes(mode: str, open_depth: Open) -> None:
    picture, depth = noise(50, 40).convert(mode), open_depth("dpt")
    assert np.array_equal(depth.draw(picture).values, depth.draw(picture.convert("RGB")).values)


def test_a_flat_answer_is_all_one_distance(open_depth: Open) -> None:
    depth = open_depth("dpt")
    with torch.no_grad():
        for weight in depth._load()[0].head.parameters():
            weight.zero_()
    assert (depth.draw(noise(30, 20)).values == 1).all()


def test_numbers_that_are_not_finite(open_depth: Open) -> None:
    depth = open_depth("metric_anything")
    with torch.no_grad():
        next(depth._load()[0].head.parameters()).fill_(float("nan"))
    with pytest.raises(GeneralistError, match="not finite"):
        depth.draw(noise(30, 20))
