"""Cases and answers in one line each."""

from __future__ import annotations

import numpy as np
from PIL import Image

from generalist.evaluation.cases import Case, Outcome
from generalist.types import Box, DepthMap, Grounded, Mask, Output, Point, Sample, VisualPrompt
from generalist_datasets.world.masks import to_mask

SIZE = (20, 10)
"""(W, H) of the pictures."""


def grounded(*outputs: Output, label: str = "dog") -> tuple[Grounded, ...]:
    return tuple(Grounded(label=label, span=(0, 3), image=0, ref=k, output=output) for k, output in enumerate(outputs))


def case(
    group: str,
    *outputs: Output,
    text: str = "",
    label: str = "dog",
    targets: tuple[Grounded, ...] = (),
    prompt: VisualPrompt | None = None,
    **meta: object,
) -> Case:
    """A case whose targets are ``outputs``, all with one label, and then ``targets``."""
    sample = Sample(
        id="1",
        image=Image.new("RGB", SIZE),
        task="chat",
        prompt="?",
        text=text,
        targets=(*grounded(*outputs, label=label), *targets),
        visual_prompts=(prompt,) if prompt else (),
        meta=meta,
    )
    return Case(id="1", group=group, sample=sample)


def said(*outputs: Output, text: str = "", label: str = "dog", more: tuple[Grounded, ...] = ()) -> Outcome:
    return Outcome(case="1", text=text, outputs=(*grounded(*outputs, label=label), *more))


def box(x1: float, y1: float, x2: float, y2: float, score: float | None = None) -> Box:
    return Box(xyxy=(x1, y1, x2, y2), score=score)


def point(x: float, y: float, score: float | None = None) -> Point:
    return Point(xy=(x, y), score=score)


def region(x1: int, y1: int, x2: int, y2: int, shape: tuple[int, int] = (10, 20)) -> np.ndarray:
    """bool [H, W], set in rows y1 to y2 and columns x1 to x2."""
    pixels = np.zeros(shape, bool)
    pixels[y1:y2, x1:x2] = True
    return pixels


def mask(*at: int, shape: tuple[int, int] = (10, 20)) -> Mask:
    """A rectangle in pixels."""
    x1, y1, x2, y2 = at
    return to_mask(region(x1, y1, x2, y2, shape))


def depth(*rows: list[float]) -> DepthMap:
    return DepthMap(values=np.array(rows, np.float32))
