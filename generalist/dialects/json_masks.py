"""Masks within JSON: a picture of the box (Gemini 2.5) or a polygon (later ones)."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from generalist.dialects.dialect import Question
from generalist.dialects.geometry import crop_mask, numbers, polygons_mask
from generalist.dialects.writer import Writer
from generalist.types import Box, Mask

_PREFIX = "data:image/png;base64,"
_MAX_SIDE = 4096
_THRESHOLD = 127
_EDGE = 1000


def draw_mask(value: Mapping[str, Any], box: Box, question: Question, out: Writer, at: int) -> Mask | None:
    """The mask under "mask", or None (with an issue when there is one that cannot be read).

    A picture is a map 0-255 of the box, set above 127; a polygon is a list of [x, y] in 0 to 1000 of the image.
    """
    held = value.get("mask")
    if held is None or question.sizes is None or out.full:
        return None
    if isinstance(held, list):
        flat = [v for corner in held for v in numbers(corner) or ()]
        mask = (
            polygons_mask([[v / _EDGE for v in flat]], question.sizes.submitted) if len(flat) == 2 * len(held) else None
        )
    else:
        crop = _picture(held)
        mask = None if crop is None else crop_mask(crop, box.xyxy, question.sizes.submitted)
    if mask is None:
        out.issue(at, "a mask: a PNG as base64, or 3 corners and more", repr(held))
    return mask


def _picture(held: object) -> np.ndarray | None:
    """float[h, w] in 0-1 of a base64 PNG; None for anything else."""
    if not isinstance(held, str):
        return None
    try:
        data = base64.b64decode(held.removeprefix(_PREFIX), validate=True)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if max(picture.size) > _MAX_SIDE:
                return None
            grey = np.asarray(picture.convert("L"))
    except (binascii.Error, ValueError, OSError, SyntaxError, Image.DecompressionBombError):
        return None
    # Half a level up, so that "above 127" is "above 0.5".
    return (grey.astype(np.float32) + 0.5) / 256
