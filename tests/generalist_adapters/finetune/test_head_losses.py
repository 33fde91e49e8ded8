"""What a head is taught: a perfect answer costs nothing, and no class and no thing counts more than another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from generalist.heads.decode import boxes_of
from generalist_adapters.finetune import head_losses
from generalist_adapters.finetune.head_losses import loss_of, things_of, usual_sides
from generalist_adapters.finetune.pictures import Picture, Region

CLASSES = ("large", "small")
LARGE = Region(label="large", xyxy=(0.1, 0.1, 0.7, 0.9))
SMALL = Region(label="small", xyxy=(0.3, 0.3, 0.4, 0.36))
BLANK = Image.new("RGB", (60, 40))
ROWS, COLUMNS = 24, 32


def pictured(*boxes: Region, masks: tuple[Region, ...] = ()) -> Picture:
    return Picture(id="p", image=BLANK, boxes=boxes, masks=masks)


def ideal(picture: Picture) -> tuple[torch.Tensor, torch.Tensor]:
    """Heat and sides that say just what is labelled."""
    heat, corners, weights = head_losses._box_targets(picture.boxes, CLASSES, (ROWS, COLUMNS))
    x = (np.arange(COLUMNS) + 0.5)[None] / COLUMNS
    y = (np.arange(ROWS) + 0.5)[:, None] / ROWS
    sides = np.stack([x - corners[0], y - corners[1], corners[2] - x, corners[3] - y]) * (weights > 0)
    logits = np.where(heat == 1, 12.0, -12.0)
    return torch.tensor(logits, dtype=torch.float32)[None], torch.tensor(sides, dtype=torch.float32)[None]


def test_what_is_taught_is_what_is_drawn() -> None:
    picture = pictured(LARGE, SMALL)
    heat, sides = ideal(picture)
    found = {CLASSES[one.label]: one.xyxy for one in boxes_of(heat[0], sides[0])}
    for region in picture.boxes:
        assert found[region.label] == pytest.approx(region.xyxy, abs=1e-5)
    perfect = float(loss_of({"heat": heat, "sides": sides, "pixels": None}, [picture], CLASSES, ()))
    moved = float(loss_of({"heat": heat, "sides": sides + 0.05, "pixels": None}, [picture], CLASSES, ()))
    silent = float(loss_of({"heat": heat * 0 - 12, "sides": sides, "pixels": None}, [picture], CLASSES, ()))
    assert perfect == pytest.approx(0, abs=1e-3) and moved > 0.5 and silent > 5


def test_a_rare_class_counts_as_much_as_a_frequent_one() -> None:
    many = [Region(label="large", xyxy=(x / 10, 0.1, x / 10 + 0.08, 0.2)) for x in range(10)]
    heat, sides = torch.full((1, 2, ROWS, COLUMNS), -9.0), torch.full((1, 4, ROWS, COLUMNS), 0.05)
    _, _, weights = head_losses._box_targets([*many, SMALL], CLASSES, (ROWS, COLUMNS))
    assert weights.sum() == pytest.approx(2) and weights[:6].sum() == pytest.approx(1, abs=1e-5)
    missed = float(loss_of({"heat": heat, "sides": sides, "pixels": None}, [pictured(*many)], CLASSES, ()))
    one = float(loss_of({"heat": heat, "sides": sides, "pixels": None}, [pictured(LARGE)], CLASSES, ()))
    assert missed == pytest.approx(one, rel=0.3)


def test_nothing_labelled_is_nothing_to_be_sure_of() -> None:
    heat = torch.zeros(1, 2, ROWS, COLUMNS, requires_grad=True)
    loss = loss_of(
        {"heat": heat, "sides": torch.full((1, 4, ROWS, COLUMNS), 0.1), "pixels": None}, [pictured()], CLASSES, ()
    )
    loss.backward()
    assert torch.isfinite(loss) and heat.grad is not None and bool((heat.grad > 0).all())


def test_pixels_of_small_regions_lie_over_large_ones() -> None:
    whole, part = np.ones((40, 60), bool), np.zeros((40, 60), bool)
    part[:20] = True
    masks = (
        Region(label="small", xyxy=(0, 0, 1, 0.5), mask=part),
        Region(label="large", xyxy=(0, 0, 1, 1), mask=whole),
    )
    right = torch.full((1, 3, 8, 8), -9.0)
    right[0, 2, :4], right[0, 1, 4:] = 9.0, 9.0
    maps = {"heat": torch.zeros(1, 1, 4, 4), "sides": torch.ones(1, 4, 4, 4)}
    good = float(loss_of({**maps, "pixels": right}, [pictured(masks=masks)], (), CLASSES))  # type: ignore[typeddict-item]
    bad = float(loss_of({**maps, "pixels": right.flip(2)}, [pictured(masks=masks)], (), CLASSES))  # type: ignore[typeddict-item]
    assert good < 1e-3 < 5 < bad


def test_things_are_what_has_boxes() -> None:
    thing = Region(label="large", xyxy=(0, 0, 0.5, 1), mask=np.ones((4, 4), bool))
    stuff = Region(label="small", xyxy=(0, 0, 1, 1), mask=np.ones((4, 4), bool), stuff=True)
    assert things_of(pictured(masks=(thing, stuff))) == (thing,) and things_of(pictured(LARGE, masks=(thing,))) == (
        LARGE,
    )
    assert usual_sides([pictured(LARGE)]).tolist() == pytest.approx([0.3, 0.4, 0.3, 0.4])
    assert usual_sides([pictured()]).tolist() == pytest.approx([0.1] * 4)
