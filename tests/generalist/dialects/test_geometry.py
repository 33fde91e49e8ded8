"""Masks of crops, as COCO's own run lengths have them."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from generalist.dialects.geometry import crop_mask, polygons_mask


@pytest.mark.parametrize(
    "xyxy", [(0.0, 0.0, 1.0, 1.0), (0.25, 0.5, 0.75, 1.0), (0.1, 0.1, 0.1, 0.1), (0.9, 0.0, 1.0, 0.3)]
)
@pytest.mark.parametrize("kind", ["full", "empty", "noise", "stripes"])
def test_a_crop_is_stretched_over_its_box(xyxy: tuple[float, float, float, float], kind: str) -> None:
    width, height = 40, 24
    rng = np.random.default_rng(0)
    crops = {
        "full": np.ones((8, 8)),
        "empty": np.zeros((8, 8)),
        "noise": rng.integers(0, 2, (8, 8)),
        "stripes": np.tile([[0], [1]], (4, 8)),
    }
    mask = crop_mask(crops[kind].astype(np.float32), xyxy, (width, height))
    bitmap = coco.decode({"size": list(mask.size), "counts": mask.counts.encode()})
    assert bitmap.shape == (height, width)
    assert mask.counts == coco.encode(np.asfortranarray(bitmap))["counts"].decode()
    x1, x2 = (round(v * width) for v in xyxy[0::2])
    y1, y2 = (round(v * height) for v in xyxy[1::2])
    inside = bitmap[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    assert inside.sum() == bitmap.sum()
    assert bool(inside.all()) == (kind == "full") or kind in ("noise", "stripes")
    assert bool(bitmap.any()) == (kind != "empty") or kind in ("noise", "stripes")


def test_polygons_need_three_corners() -> None:
    assert polygons_mask([[0.1, 0.1, 0.2, 0.2]], (10, 10)) is None
    mask = polygons_mask([[0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0], [0.1, 0.1]], (10, 20))
    assert mask is not None and mask.size == (20, 10) and mask.xyxy == (0, 0, 1, 1)
