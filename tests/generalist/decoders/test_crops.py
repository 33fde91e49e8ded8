from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generalist.decoders.crops import from_rle, mask_to_payload, paste, pixel_box, to_rle
from generalist.types import GeneralistError

ANY = st.floats(-2, 3) | st.sampled_from([0.0, 0.5, 1.0])


def rectangle(height: int, width: int, y1: int, x1: int, y2: int, x2: int) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[y1:y2, x1:x2] = True
    return mask


def disc(height: int, width: int, y: float, x: float, radius: float) -> np.ndarray:
    rows, columns = np.ogrid[:height, :width]
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


@pytest.mark.parametrize(
    "mask",
    [
        rectangle(1, 1, 0, 0, 1, 1),
        rectangle(480, 640, 0, 0, 480, 640),
        rectangle(480, 640, 17, 31, 18, 32),  # one pixel
        rectangle(480, 640, 479, 0, 480, 640),  # the last row
        rectangle(3, 20000, 1, 5, 2, 19999),
        rectangle(333, 77, 100, 3, 201, 70),
    ],
)
def test_a_rectangle_survives_exactly(mask: np.ndarray) -> None:
    xyxy, crop = mask_to_payload(mask)
    assert crop.shape == (64, 64) and crop.all()
    assert np.array_equal(paste(crop, xyxy, mask.shape), mask)


def test_a_disc_survives_nearly_with_its_box_exact() -> None:
    mask = disc(300, 400, 140, 210, 77)
    xyxy, crop = mask_to_payload(mask)
    back = paste(crop, xyxy, mask.shape)
    assert (back & mask).sum() / (back | mask).sum() > 0.97
    assert mask_to_payload(back)[0] == xyxy


def test_a_small_disc_survives_nearly() -> None:
    mask = disc(100, 100, 50, 50, 9)
    xyxy, crop = mask_to_payload(mask)
    back = paste(crop, xyxy, mask.shape)
    assert (back & mask).sum() / (back | mask).sum() > 0.95


def test_a_hairline_in_a_large_box_does_not_vanish() -> None:
    xyxy, crop = mask_to_payload(np.eye(1000, dtype=bool))
    assert xyxy == (0.0, 0.0, 1.0, 1.0)
    assert crop.diagonal().all()


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(GeneralistError, match=r"size \[4, 5\] has no set pixel"):
        mask_to_payload(np.zeros((4, 5), dtype=bool))


@given(st.tuples(ANY, ANY, ANY, ANY), st.integers(1, 50), st.integers(1, 20000))
def test_any_box_is_at_least_one_pixel_inside_the_image(
    xyxy: tuple[float, float, float, float], height: int, width: int
) -> None:
    x1, y1, x2, y2 = pixel_box(xyxy, (height, width))
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height


@pytest.mark.parametrize(
    ("xyxy", "expected"),
    [
        ((0.0, 0.0, 1.0, 1.0), (0, 0, 10, 20)),
        ((0.24, 0.27, 0.76, 0.72), (2, 5, 8, 14)),  # edges rounded to the nearest
        ((0.76, 0.72, 0.24, 0.27), (2, 5, 8, 14)),  # corners swapped
        ((0.5, 0.5, 0.5, 0.5), (5, 10, 6, 11)),  # no area
        ((1.0, 1.0, 1.0, 1.0), (9, 19, 10, 20)),  # no area, at the far corner
        ((-1.0, 0.5, 3.0, 9.0), (0, 10, 10, 20)),  # outside the image
    ],
)
def test_box_in_pixels(xyxy: tuple[float, float, float, float], expected: tuple[int, int, int, int]) -> None:
    assert pixel_box(xyxy, (20, 10)) == expected


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (2, 20000), (480, 640)])
def test_run_lengths_give_the_mask_back(size: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random(size) > 0.5
    counts = to_rle(mask)
    assert isinstance(counts, str)
    assert np.array_equal(from_rle(counts, size), mask)
