"""What a user would draw lies on the thing that is meant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from generalist_datasets.world.drawing import draw_prompt, inner_point
from generalist_datasets.world.question import Drawn
from generalist_datasets.world.scene import Camera, Scene, Thing

CAMERA = Camera(focal=(1.0, 1.0), centre=(0.5, 0.4), eye=1.5)


def one_thing(mask: np.ndarray) -> Scene:
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    xyxy = (columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height)
    return Scene(
        image=np.zeros((*mask.shape, 3), np.uint8),
        instances=mask.astype(np.uint8),
        surfaces=np.ones(mask.shape, np.uint8),
        depth=np.full(mask.shape, 3, np.float32),
        things=(Thing(concept=0, xyxy=xyxy, distance=3.0),),
        camera=CAMERA,
    )


def ring(side: int = 64) -> np.ndarray:
    y, x = np.mgrid[:side, :side] / (side - 1) * 2 - 1
    return (np.hypot(x, y) <= 0.9) & (np.hypot(x, y) >= 0.6)


def test_the_inner_point_of_a_ring_is_on_it() -> None:
    mask = ring()
    x, y = inner_point(mask)
    assert mask[int(y * 64), int(x * 64)]
    assert 0.7 < np.hypot(2 * x - 1, 2 * y - 1) < 0.8  # midway between its edges


def test_the_inner_point_is_a_pixel_centre_in_the_widest_part() -> None:
    mask = np.zeros((20, 40), bool)
    mask[10, :] = True  # a hairline
    mask[5:16, 20:31] = True  # a square
    assert inner_point(mask) == (25.5 / 40, 10.5 / 20)


@pytest.mark.parametrize("seed", range(5))
def test_points_and_masks_lie_on_the_thing(seed: int) -> None:
    mask = ring()
    scene, rng = one_thing(mask), np.random.default_rng(seed)
    point = draw_prompt(rng, scene, Drawn(kind="point", thing=0)).xy
    assert point is not None and mask[int(point[1] * 64), int(point[0] * 64)]
    bitmap = draw_prompt(rng, scene, Drawn(kind="mask", thing=0)).bitmap
    assert bitmap is not None and (bitmap == mask).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_box_takes_in_the_thing_beside_and_a_point_excludes_it(seed: int) -> None:
    left, right = np.zeros((2, 64, 64), bool)
    left[10:30, 4:20], right[20:60, 40:60] = True, True
    scene, rng = one_thing(left | right), np.random.default_rng(seed)
    boxes = ((4 / 64, 10 / 64, 20 / 64, 30 / 64), (40 / 64, 20 / 64, 60 / 64, 60 / 64))
    things = tuple(replace(scene.things[0], xyxy=box) for box in boxes)
    scene = replace(scene, instances=(left + 2 * right).astype(np.uint8), things=things)
    beside = draw_prompt(rng, scene, Drawn(kind="point", thing=1, excludes=True))
    assert beside.excludes and beside.xy is not None and right[int(beside.xy[1] * 64), int(beside.xy[0] * 64)]
    both = draw_prompt(rng, scene, Drawn(kind="box", thing=0, beside=1))
    assert not both.excludes and both.xyxy is not None
    off = np.abs(np.array(both.xyxy) - (4 / 64, 10 / 64, 60 / 64, 60 / 64)) / (56 / 64, 50 / 64, 56 / 64, 50 / 64)
    assert off.max() <= 0.101  # hands are not exact, a tenth of a side


@pytest.mark.parametrize("seed", range(5))
def test_a_scribble_is_a_thin_stroke_over_the_thing(seed: int) -> None:
    y, x = np.mgrid[:96, :96]
    mask = (np.abs(x - 40) < 30) & (np.abs(y - 50) < 20)  # convex, so that a stroke stays on it but for its width
    bitmap = draw_prompt(np.random.default_rng(seed), one_thing(mask), Drawn(kind="scribble", thing=0)).bitmap
    assert bitmap is not None and bitmap.shape == mask.shape
    assert 0 < bitmap.sum() < mask.sum() / 2
    assert (bitmap & mask).sum() > 0.9 * bitmap.sum()


def test_a_drawn_box_is_near_the_true_one_and_inside_the_picture() -> None:
    mask = np.zeros((50, 100), bool)
    mask[10:40, 0:60] = True
    scene = one_thing(mask)
    rng = np.random.default_rng(0)
    boxes = [draw_prompt(rng, scene, Drawn(kind="box", thing=0)).xyxy for _ in range(50)]
    array = np.array(boxes)
    assert array.min() >= 0 and array.max() <= 1
    assert (array[:, :2] < array[:, 2:]).all()
    assert np.abs(array - (0, 0.2, 0.6, 0.8)).max() <= 0.061  # a tenth of a side
    assert array[:, 3].std() > 0.005  # hands are not exact
