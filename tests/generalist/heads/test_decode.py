"""From maps to boxes and masks, on maps whose meaning is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from generalist.heads.decode import Found, boxes_of, classes_of, nearest

ROWS, COLUMNS = 8, 16


def maps(*peaks: tuple[int, int, int, float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-odds at (class, row, column), and boxes of half the width and height of the image everywhere."""
    heat = torch.full((2, ROWS, COLUMNS), -8.0)
    for label, row, column, value in peaks:
        heat[label, row, column] = value
    return heat, torch.tensor([0.05, 0.1, 0.05, 0.1])[:, None, None].expand(4, ROWS, COLUMNS)


def test_a_box_a_peak_the_surest_first() -> None:
    found = boxes_of(*maps((0, 2, 3, 1.0), (0, 2, 4, 0.5), (1, 6, 12, 3.0), (0, 0, 15, -5.0)))
    assert [one.label for one in found] == [1, 0]  # a neighbour of a peak is none, and what is unlikely is left out
    assert found[0].score == pytest.approx(torch.sigmoid(torch.tensor(3.0)).item())
    assert found[1].xyxy == pytest.approx((3.5 / 16 - 0.05, 2.5 / 8 - 0.1, 3.5 / 16 + 0.05, 2.5 / 8 + 0.1))


def test_one_thing_is_one_box_and_two_classes_are_two() -> None:
    heat, sides = maps((0, 2, 3, 3.0), (0, 2, 5, 1.0), (1, 2, 3, 2.0))
    wide = sides * 8
    assert [(one.label, round(one.score, 2)) for one in boxes_of(heat, wide)] == [(0, 0.95), (1, 0.88)]
    assert len(boxes_of(heat, sides)) == 3


def test_boxes_stay_in_the_image_and_nothing_is_nothing() -> None:
    (found,) = boxes_of(*maps((0, 0, 0, 4.0)))
    assert found.xyxy[:2] == (0, 0)
    assert boxes_of(*maps()) == []


@pytest.mark.parametrize("hw", [(40, 60), (3, 5), (1, 1), (2100, 1400)])
def test_pixels_have_the_size_of_the_image(hw: tuple[int, int]) -> None:
    pixels = torch.zeros(3, 8, 8)
    pixels[2, :, :4], pixels[1, :, 4:] = 9.0, 9.0
    labels, sure = classes_of(pixels, hw)
    assert labels.shape == sure.shape == hw and ((sure > 0) & (sure <= 1)).all()
    if min(hw) > 2:
        assert (labels[:, : hw[1] // 3] == 2).all() and (labels[:, -hw[1] // 3 :] == 1).all()


def test_pixels_belong_to_the_nearest_thing_by_its_size() -> None:
    large = Found(label=0, xyxy=(0.0, 0.0, 0.8, 1.0), score=0.9)
    small = Found(label=0, xyxy=(0.8, 0.0, 1.0, 1.0), score=0.9)
    owner = nearest([large, small], (10, 20))
    assert (owner[5, :16] == 0).all() and (owner[5, 16:] == 1).all()
    assert nearest([large, small], (3000, 20)).shape == (3000, 20)
    assert np.array_equal(np.unique(owner), [0, 1])
