"""From a head's maps to boxes and masks.

Shapes: B classes of boxes, M classes of masks, h x w cells of the maps, H x W pixels of the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

_MOST = 100
"""Boxes on an image, as COCO counts them."""
_FAINT = 0.2
"""The least score of a box."""
_SAME = 0.5
"""IoU from which two boxes of a class are one thing."""
_LONGEST = 1024
"""Pixels along the longer side, from which a map of pixels is made smaller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A box: number of its class, corners in 0-1, score in 0-1."""

    label: int
    xyxy: tuple[float, float, float, float]
    score: float


def boxes_of(heat: torch.Tensor, sides: torch.Tensor) -> list[Found]:
    """Boxes at the peaks of ``heat`` [B, h, w] (log-odds) with the ``sides`` [4, h, w] there, the surest first."""
    from supervision import box_non_max_suppression  # takes a second to import

    sure = heat.float().sigmoid().cpu()
    peaks = sure * (functional.max_pool2d(sure[None], 3, 1, 1)[0] == sure)
    scores, places = peaks.flatten().topk(min(_MOST, peaks.numel()))
    scores, places = scores[scores >= _FAINT], places[scores >= _FAINT]
    if not len(places):
        return []
    _, rows, columns = heat.shape
    labels, row, column = places // (rows * columns), places // columns % rows, places % columns
    left, top, right, bottom = sides.float().cpu()[:, row, column]
    x, y = (column + 0.5) / columns, (row + 0.5) / rows
    corners = torch.stack([x - left, y - top, x + right, y + bottom], dim=1).clamp(0, 1)
    found = torch.cat([corners, scores[:, None], labels[:, None].float()], dim=1).numpy()
    kept = found[box_non_max_suppression(found, _SAME)]
    return [
        Found(label=int(label), xyxy=(float(x1), float(y1), float(x2), float(y2)), score=float(score))
        for x1, y1, x2, y2, score, label in kept[np.argsort(-kept[:, 4], kind="stable")]
    ]


def classes_of(pixels: torch.Tensor, hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The class of every pixel of an image of (H, W) pixels, int64 [H, W], 0 for none, and how sure it is, float32
    [H, W] in 0-1; from log-odds ``pixels`` [1 + M, h, w]."""
    fine = _within(hw)
    logits = functional.interpolate(pixels[None].float().cpu(), size=fine, mode="bilinear", align_corners=False)[0]
    sure, labels = logits.softmax(0).max(0)
    return _enlarged(labels.numpy(), hw), _enlarged(sure.numpy(), hw)


def nearest(things: Sequence[Found], hw: tuple[int, int]) -> np.ndarray:
    """The number of the box that each pixel of an image of (H, W) pixels lies nearest to the middle of, by the size of
    the box: int64 [H, W]."""
    rows, columns = _within(hw)
    y, x = (np.arange(rows)[:, None] + 0.5) / rows, (np.arange(columns)[None] + 0.5) / columns
    least, owner = np.full((rows, columns), np.inf), np.zeros((rows, columns), np.int64)
    for number, thing in enumerate(things):
        x1, y1, x2, y2 = thing.xyxy
        far = np.maximum(abs(2 * x - x1 - x2) / max(x2 - x1, 1e-6), abs(2 * y - y1 - y2) / max(y2 - y1, 1e-6))
        owner[far < least] = number
        least = np.minimum(least, far)
    return _enlarged(owner, hw)


def _within(hw: tuple[int, int]) -> tuple[int, int]:
    """``hw`` or, of a large image, a size of its shape that takes little memory and is finer than any map."""
    share = min(1.0, _LONGEST / max(hw))
    return max(1, round(hw[0] * share)), max(1, round(hw[1] * share))


def _enlarged(values: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    """[h, w] -> [H, W], each pixel what is nearest."""
    rows, columns = (np.arange(size) * old // size for size, old in zip(hw, values.shape, strict=True))
    return values[rows[:, None], columns[None]]
