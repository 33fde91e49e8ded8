"""Boxes and masks of targets and answers as arrays: how much they overlap, and which of them belong together.

Shapes: N drawn, M true, H, W pixels of a picture. Boxes are ``xyxy`` in 0-1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from generalist.evaluation.cases import Case, Outcome
from generalist.types import Box, Grounded, Mask, Output, Point
from generalist.visual import mask_bitmap

Kind = TypeVar("Kind", Box, Point, Mask)


def drawn(outputs: Sequence[Grounded], kind: type[Kind]) -> list[tuple[str, Kind]]:
    """(label, output) of every output of one kind, labels as :func:`name` writes them."""
    return [(name(item.label), item.output) for item in outputs if isinstance(item.output, kind)]


def name(label: str) -> str:
    """A label as it is compared: lower case, single spaces."""
    return " ".join(label.split()).casefold()


def score(output: Output) -> float:
    """How sure the model was, in 0-1: 1 where it does not say, 0 where what it says is no number."""
    if output.score is None:
        return 1.0
    return 0.0 if math.isnan(output.score) else min(max(float(output.score), 0.0), 1.0)


_BY_NAME = ("box", "segment")
"""Abilities of the world that ask for a thing by its name alone."""


def way_of_asking(case: Case) -> str:
    """How the question says what is meant: "box prompt" and the like for what the user drew, "by name" for the
    plain name of a thing of the world; empty for anything else."""
    if case.sample.visual_prompts:
        return f"{case.sample.visual_prompts[0].kind} prompt"
    return "by name" if case.sample.meta.get("ability") in _BY_NAME else ""


# --- boxes ---------------------------------------------------------------------------------------------


def box_array(boxes: Sequence[Box | Mask]) -> np.ndarray:
    """float64 [N, 4], inside the picture; what is no number becomes 0."""
    xyxy = np.array([box.xyxy for box in boxes], np.float64).reshape(-1, 4)
    return np.clip(np.nan_to_num(xyxy), 0.0, 1.0)


def true_boxes(case: Case) -> tuple[list[str], np.ndarray]:
    """Labels and float64 [M, 4] of the targets that are boxes; where none is, the boxes of the masks."""
    targets: Sequence[tuple[str, Box | Mask]] = drawn(case.sample.targets, Box) or drawn(case.sample.targets, Mask)
    return [label for label, _ in targets], box_array([box for _, box in targets])


def box_overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every two boxes, float64 [N, M]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    either = _area(a)[:, None] + _area(b)[None, :] - shared
    return np.where(either > 0, shared / np.where(either > 0, either, 1.0), 0.0)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)


# --- which belong together -----------------------------------------------------------------------------


def pairs(overlap: np.ndarray, at_least: float = 0.0) -> list[tuple[int, int]]:
    """(drawn, true) pairs, the best overlap first, each in one pair; only above 0 and of ``at_least`` so much."""
    found: list[tuple[int, int]] = []
    rows: set[int] = set()
    columns: set[int] = set()
    for flat in np.argsort(-overlap, axis=None, kind="stable"):
        row, column = divmod(int(flat), overlap.shape[1])
        if overlap[row, column] <= 0 or overlap[row, column] < at_least:
            break
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            found.append((row, column))
    return found


def agreement(overlap: np.ndarray, scores: Sequence[float]) -> float:
    """How well what was drawn fits the targets, 0-1, from overlaps [N, M].

    One target: the overlap of the drawing that the model is surest of, the first of several. Several: the sum
    over pairs, by the larger of N and M, so that missing and superfluous drawings count as 0. None: 1 if nothing
    was drawn.
    """
    many_drawn, many_true = overlap.shape
    if not many_drawn or not many_true:
        return float(many_drawn == many_true)
    if many_true == 1:
        return float(overlap[int(np.argmax(scores)), 0])
    return float(sum(overlap[pair] for pair in pairs(overlap)) / max(overlap.shape))


def right(overlap: np.ndarray, at_least: float = 0.5) -> list[bool]:
    """For each drawing, whether it is the one for a target that it overlaps ``at_least`` so much."""
    rows = {row for row, _ in pairs(overlap, at_least)}
    return [row in rows for row in range(len(overlap))]


# --- masks ---------------------------------------------------------------------------------------------


def picture_shape(case: Case) -> tuple[int, int]:
    """(H, W) at which masks of a case are compared: that of its first mask, else the picture's."""
    masks = drawn(case.sample.targets, Mask)
    return masks[0][1].size if masks else (case.sample.image.height, case.sample.image.width)


def bitmap(mask: Mask, shape: tuple[int, int]) -> np.ndarray:
    """bool [H, W] of a mask, stretched to ``shape`` by nearest pixels; empty where it cannot be read."""
    try:
        found = mask_bitmap(mask)
    except (ValueError, OverflowError):  # run lengths that do not fit the size
        return np.zeros(shape, np.bool_)
    if not found.size:
        return np.zeros(shape, np.bool_)
    if found.shape == shape:
        return found
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64) for old, new in zip(found.shape, shape, strict=True)
    )
    return found[rows[:, None], columns[None, :]]


def union(bitmaps: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """bool [H, W]: the pixels of any."""
    return np.logical_or.reduce([np.zeros(shape, np.bool_), *bitmaps])


def shared_and_either(a: np.ndarray, b: np.ndarray) -> tuple[int, int]:
    """Pixels of the intersection and of the union."""
    return int(np.count_nonzero(a & b)), int(np.count_nonzero(a | b))


def iou(shared: int, either: int) -> float:
    """Intersection over union; 1 for two empty masks."""
    return shared / either if either else 1.0


def mask_overlap(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> np.ndarray:
    """Intersection over union of every two bitmaps, float64 [N, M]."""
    found = [[shared / max(either, 1) for shared, either in (shared_and_either(x, y) for y in b)] for x in a]
    return np.array(found, np.float64).reshape(len(a), len(b))


def ellipse(xyxy: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The ellipse that fills a box, bool [H, W]."""
    x, y = _centres(shape)
    x1, y1, x2, y2 = xyxy
    across, down = max(x2 - x1, 1e-6), max(y2 - y1, 1e-6)
    inside: np.ndarray = ((x - (x1 + x2) / 2) / across) ** 2 + ((y - (y1 + y2) / 2) / down) ** 2 <= 0.25
    return inside


def filled(xyxy: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A box as a mask, bool [H, W]: the pixels whose middle is inside."""
    x, y = _centres(shape)
    x1, y1, x2, y2 = xyxy
    inside: np.ndarray = (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)
    return inside


def _centres(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    height, width = shape
    return (np.arange(width)[None, :] + 0.5) / width, (np.arange(height)[:, None] + 0.5) / height


def masks_of(outcome: Outcome) -> list[Mask]:
    """The masks of an answer, in the order drawn."""
    return [mask for _, mask in drawn(outcome.outputs, Mask)]
