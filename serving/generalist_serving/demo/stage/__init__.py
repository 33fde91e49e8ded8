"""A picture with everything that is drawn on it, and tools to draw on it oneself: one component of the page."""

from __future__ import annotations

from generalist_serving.demo.stage.colours import colour, ink
from generalist_serving.demo.stage.component import Stage
from generalist_serving.demo.stage.prompts import read_prompts
from generalist_serving.demo.stage.value import StageDepth, StageImage, StageValue, stage_image, stage_value

__all__ = [
    "Stage",
    "StageDepth",
    "StageImage",
    "StageValue",
    "colour",
    "ink",
    "read_prompts",
    "stage_image",
    "stage_value",
]
