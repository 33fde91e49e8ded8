"""What a visual head is taught: where centres of things are, how far the sides of their boxes, the class of a pixel.

Every class weighs the same, however often it is there: one that is rare is not to be drowned by one that fills the
picture.

Shapes: I pictures, B classes of boxes, M classes of masks, h x w cells of the maps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from generalist.heads.network import Maps
from generalist_adapters.finetune.pictures import Picture, Region

_PEAK, _INSIDE = 0.12, 0.2
"""How wide the bump over a centre is, and the cells around it whose sides count, as a share of the box."""
_NARROWEST = 0.6
"""Cells."""
_COUNTS = 0.1
"""The weight of a cell from which its sides count."""
_SIDES = 4.0
"""How much sides count against centres."""


def loss_of(maps: Maps, pictures: Sequence[Picture], boxes: Sequence[str], masks: Sequence[str]) -> torch.Tensor:
    """The loss of what a head says of ``pictures``; ``boxes`` and ``masks`` are its classes."""
    loss = maps["heat"].sum() * 0
    if boxes:
        planes = [_box_targets(things_of(picture), boxes, _plane(maps["heat"])) for picture in pictures]
        stacked = (torch.from_numpy(np.stack(part)).to(loss.device) for part in zip(*planes, strict=True))
        heat, corners, weights = stacked
        loss = loss + _focal(maps["heat"], heat) + _SIDES * _distance(maps["sides"], corners, weights)
    if maps["pixels"] is not None:
        labels = [_pixel_targets(picture.masks, masks, _plane(maps["pixels"])) for picture in pictures]
        loss = loss + _entropy(maps["pixels"], torch.from_numpy(np.stack(labels)).to(loss.device))
    return loss


def usual_sides(pictures: Sequence[Picture]) -> torch.Tensor:
    """float [4]: the geometric mean of how far sides are from centres, in 0-1; a tenth where there are no boxes."""
    halves = [((r.xyxy[2] - r.xyxy[0]) / 2, (r.xyxy[3] - r.xyxy[1]) / 2) for p in pictures for r in things_of(p)]
    if not halves:
        return torch.full((4,), 0.1)
    wide, high = np.exp(np.log(np.maximum(halves, 1e-3)).mean(0))
    return torch.tensor([wide, high, wide, high], dtype=torch.float32)


def things_of(picture: Picture) -> tuple[Region, ...]:
    """What has boxes: where only masks were asked for, those of things."""
    return picture.boxes or tuple(region for region in picture.masks if not region.stuff)


def _plane(values: torch.Tensor) -> tuple[int, int]:
    """Rows and columns."""
    return values.shape[-2], values.shape[-1]


# --- boxes ------------------------------------------------------------------------------------------------


def _box_targets(
    regions: Sequence[Region], classes: Sequence[str], shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Heat [B, h, w] with a bump over each centre, corners [4, h, w] of the box that a cell belongs to, and how much
    the cell counts for them [h, w]: every box as much as the others of its class, every class as much as the others."""
    rows, columns = shape
    heat = np.zeros((len(classes), rows, columns), np.float32)
    corners, weights = np.zeros((4, rows, columns), np.float32), np.zeros((rows, columns), np.float32)
    owner = np.full((rows, columns), -1)
    y, x = np.mgrid[:rows, :columns]
    ordered = sorted(regions, key=_area, reverse=True)  # a small thing in front of a large one keeps its cells
    for number, region in enumerate(ordered):
        x1, y1, x2, y2 = region.xyxy
        column = min(int((x1 + x2) / 2 * columns), columns - 1)
        row = min(int((y1 + y2) / 2 * rows), rows - 1)
        layer = classes.index(region.label)
        near = [_bump(x - column, y - row, share * (x2 - x1) * columns, share * (y2 - y1) * rows)
                for share in (_PEAK, _INSIDE)]  # fmt: skip
        heat[layer] = np.maximum(heat[layer], near[0])
        own = near[1] >= _COUNTS
        corners[:, own] = np.array(region.xyxy, np.float32)[:, None]
        weights[own], owner[own] = near[1][own], number
    for number, region in enumerate(ordered):
        own = owner == number
        alike = sum(other.label == region.label for other in ordered)
        weights[own] /= max(weights[own].sum(), 1e-6) * alike
    return heat, corners, weights


def _area(region: Region) -> float:
    x1, y1, x2, y2 = region.xyxy
    return (x2 - x1) * (y2 - y1)


def _bump(x: np.ndarray, y: np.ndarray, wide: float, high: float) -> np.ndarray:
    wide, high = max(wide, _NARROWEST), max(high, _NARROWEST)
    return np.exp(-(x**2) / (2 * wide**2) - y**2 / (2 * high**2)).astype(np.float32)


def _focal(logits: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
    """Penalty-reduced focal loss of Law and Deng 2018 (CornerNet), a mean over the centres of every class."""
    sure = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    centre = heat == 1
    loss = torch.where(centre, (1 - sure) ** 2 * sure.log(), (1 - heat) ** 4 * sure**2 * (1 - sure).log())
    by_class = -loss.sum((0, 2, 3)) / centre.sum((0, 2, 3)).clamp_min(1)
    return by_class.mean()


def _distance(sides: torch.Tensor, corners: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Generalised IoU loss (Rezatofighi et al. 2019), weighted; ``sides`` [I, 4, h, w] of what is said, ``corners`` of
    the truth."""
    rows, columns = _plane(sides)
    x = ((torch.arange(columns, device=sides.device) + 0.5) / columns)[None, None, :]
    y = ((torch.arange(rows, device=sides.device) + 0.5) / rows)[None, :, None]
    left, top, right, bottom = x - sides[:, 0], y - sides[:, 1], x + sides[:, 2], y + sides[:, 3]
    x1, y1, x2, y2 = corners.unbind(1)
    shared = (right.minimum(x2) - left.maximum(x1)).clamp_min(0) * (bottom.minimum(y2) - top.maximum(y1)).clamp_min(0)
    joined = (right - left) * (bottom - top) + (x2 - x1) * (y2 - y1) - shared
    hull = (right.maximum(x2) - left.minimum(x1)) * (bottom.maximum(y2) - top.minimum(y1))
    agreement = shared / joined.clamp_min(1e-9) - (hull - joined) / hull.clamp_min(1e-9)
    return (weights * (1 - agreement)).sum() / weights.sum().clamp_min(1e-6)


# --- pixels -----------------------------------------------------------------------------------------------


def _pixel_targets(regions: Sequence[Region], classes: Sequence[str], shape: tuple[int, int]) -> np.ndarray:
    """int64 [h, w]: 0 where nothing is labelled, else 1 + the class; smaller regions lie over larger ones."""
    labels = np.zeros(shape, np.int64)
    bitmaps = [(np.asarray(region.mask, np.bool_), region.label) for region in regions]
    for bitmap, label in sorted(bitmaps, key=lambda one: -np.count_nonzero(one[0])):
        mask = Image.fromarray(bitmap).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
        labels[np.asarray(mask, np.bool_)] = 1 + classes.index(label)
    return labels


def _entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, with classes between as often as they are and as if all were as frequent (square root)."""
    count = torch.bincount(labels.flatten(), minlength=logits.shape[1]).float()
    weight = torch.where(count > 0, count.clamp_min(1).rsqrt(), 0.0)
    return functional.cross_entropy(logits, labels, weight=weight)
