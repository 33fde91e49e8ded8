"""Typed outputs: what the drawings of a reply mean. Geometry is in 0-1 of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Axis-aligned box: ``xyxy`` = (x1, y1, x2, y2) in 0-1 with x1 <= x2 and y1 <= y2."""

    xyxy: tuple[float, float, float, float]
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A single location: ``xy`` in 0-1."""

    xy: tuple[float, float]
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A binary mask at image resolution: ``size`` = (H, W) in pixels, ``counts`` = compressed COCO RLE."""

    size: tuple[int, int]
    counts: str
    xyxy: tuple[float, float, float, float]
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthMap:
    """Depth of every pixel: ``values`` float32 [H, W], in ``unit``; larger is farther."""

    values: np.ndarray
    unit: Literal["metre", "relative"] = "metre"
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocHit:
    """A document of an index, found by the identifier that the model wrote.

    ``evidence`` = [start, stop) in characters of ``text``: the identifier, where it is words of the text; None where it
    is the title.
    """

    doc_id: str
    title: str = ""
    text: str = ""
    score: float | None = None
    evidence: tuple[int, int] | None = None


Output: TypeAlias = Box | Point | Mask | DepthMap | DocHit


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grounded:
    """A typed output tied to the words it belongs to and to the image it lies on."""

    label: str
    span: tuple[int, int]
    image: int
    ref: int
    output: Output
