"""Masks of a scene as run lengths."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco

from generalist.types import Mask


def to_mask(bitmap: np.ndarray) -> Mask:
    """The mask of bool [H, W] with at least one pixel set; its box bounds the pixels exactly."""
    height, width = bitmap.shape
    columns, rows = np.flatnonzero(bitmap.any(0)), np.flatnonzero(bitmap.any(1))
    x1, y1, x2, y2 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    counts: bytes = coco.encode(np.asfortranarray(bitmap, dtype=np.uint8))["counts"]
    xyxy = (x1 / width, y1 / height, x2 / width, y2 / height)
    return Mask(size=(height, width), counts=counts.decode("ascii"), xyxy=xyxy)
