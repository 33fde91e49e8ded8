"""Pictures made small together with what is drawn on them, for sheets and reports."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from PIL import Image

from generalist.types import Box, DepthMap, Mask, Output, Point, VisualPrompt
from generalist.visual import mask_bitmap
from generalist_datasets.world.masks import to_mask


def fitted(image: Image.Image, side: int) -> Image.Image:
    """``image`` with a longer side of ``side`` pixels, RGB."""
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def resized(output: Output, size: tuple[int, int]) -> Output:
    """What is drawn on a picture, for the same picture of ``size`` (W, H) pixels."""
    if isinstance(output, Mask):
        bitmap = np.asarray(Image.fromarray(mask_bitmap(output)).resize(size, Image.Resampling.NEAREST))
        # A few pixels of a large picture can vanish; its box still says where they are.
        return replace(to_mask(bitmap) if bitmap.any() else Box(xyxy=output.xyxy), score=output.score)
    if isinstance(output, DepthMap):
        values = np.asarray(Image.fromarray(output.values.astype(np.float32)).resize(size, Image.Resampling.NEAREST))
        return replace(output, values=values)
    if isinstance(output, Box) and not all(math.isfinite(v) for v in output.xyxy):
        return Box(xyxy=(0.0, 0.0, 0.0, 0.0))
    return output


def as_output(prompt: VisualPrompt) -> Output:
    """What a user drew, as if it were an answer."""
    if prompt.xyxy is not None:
        return Box(xyxy=prompt.xyxy)
    if prompt.xy is not None:
        return Point(xy=prompt.xy)
    assert prompt.bitmap is not None
    return to_mask(prompt.bitmap)
