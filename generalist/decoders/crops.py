"""Between masks at image resolution and the 64x64 crops of a codec; and COCO run lengths.

``xyxy`` in 0-1 of the image; H, W in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from generalist.types import GeneralistError

SIDE = 64
XYXY: TypeAlias = tuple[float, float, float, float]


def mask_to_payload(bitmap: np.ndarray) -> tuple[XYXY, np.ndarray]:
    """(tight box, crop bool[64, 64]) of a mask bool[H, W]; the crop has at least one set pixel.

    Raises :class:`GeneralistError` when no pixel is set.
    """
    x1, y1, x2, y2 = bounds(bitmap)
    region = Image.fromarray(bitmap[y1:y2, x1:x2].astype(np.uint8) * 255)
    cover = np.asarray(region.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.float32) / 255
    # A hairline in a large box never covers half of a crop's pixel, and must not vanish.
    crop = cover > min(0.5, float(cover.max()) / 2)
    return relative((x1, y1, x2, y2), bitmap.shape), crop


def bounds(bitmap: np.ndarray) -> tuple[int, int, int, int]:
    """The pixels x1 y1 x2 y2 that bound a mask bool[H, W] exactly; :class:`GeneralistError` when none is set."""
    columns, rows = np.flatnonzero(bitmap.any(axis=0)), np.flatnonzero(bitmap.any(axis=1))
    if not len(columns):
        raise GeneralistError(f"the mask of size {list(bitmap.shape)} has no set pixel; mark at least one")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def relative(box: tuple[int, int, int, int], image_hw: Sequence[int]) -> XYXY:
    """A box in pixels as one in 0-1."""
    height, width = image_hw
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def paste(crop: np.ndarray, xyxy: XYXY, image_hw: tuple[int, int]) -> np.ndarray:
    """Mask bool[H, W] of a crop float[64, 64] (set above 0.5) stretched over a box: undoes the above."""
    mask = np.zeros(image_hw, dtype=bool)
    x1, y1, x2, y2 = pixel_box(xyxy, image_hw)
    region = Image.fromarray(np.ascontiguousarray(crop, dtype=np.float32))
    mask[y1:y2, x1:x2] = np.asarray(region.resize((x2 - x1, y2 - y1), Image.Resampling.BILINEAR)) > 0.5
    return mask


def pixel_box(xyxy: XYXY, image_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box in whole pixels: edges rounded, corners ordered, inside the image, at least one pixel each way."""
    height, width = image_hw
    x1, x2 = _interval(xyxy[0], xyxy[2], width)
    y1, y2 = _interval(xyxy[1], xyxy[3], height)
    return x1, y1, x2, y2


def to_rle(mask: np.ndarray) -> str:
    """Compressed COCO run lengths of a mask bool[H, W]."""
    counts: bytes = coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return counts.decode("ascii")


def from_rle(counts: str, size: tuple[int, int]) -> np.ndarray:
    """Mask bool[H, W] of run lengths that :func:`to_rle` made; ``size`` = (H, W)."""
    decoded: np.ndarray = coco.decode({"size": list(size), "counts": counts.encode("ascii")})
    return decoded.astype(bool)


def _interval(a: float, b: float, length: int) -> tuple[int, int]:
    low, high = (math.floor(v * length + 0.5) for v in sorted((a, b)))
    low = min(max(low, 0), length - 1)
    return low, min(max(high, low + 1), length)
