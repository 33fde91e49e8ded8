"""Depth maps by Depth Anything, DPT and ZoeDepth, as transformers has them.

What the numbers mean follows from the configuration and from nothing else. Metres are said only where it says so:

- ZoeDepth, and Depth Anything of type ``metric``, give metres.
- Depth Anything of type ``relative`` and DPT (as MiDaS) give inverse depth up to a scale and a shift that nobody
  knows, so that only the order of distances is left: 0 to 1, the farthest 1, unit ``relative``.
- DPT on a DINOv2 tower was trained on depth itself. Its configuration names no unit: the same, not turned around.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from generalist.decoders.hub.model import HubModel
from generalist.decoders.hub.source import seen_size
from generalist.types import DepthMap, GeneralistError

_SLIM = 4
"""Sides of a picture that keeps its shape; a slimmer one would be far larger than what the model was trained on."""
_NEAREST = 1 / 65535
"""Of a relative map: the least level of a 16-bit picture, whose 0 is unknown."""


class HubDepth(HubModel[np.ndarray]):
    """Depth maps by a checkpoint of the hub."""

    what = "depth"
    model_types = ("depth_anything", "dpt", "zoedepth")

    @property
    def unit(self) -> Literal["metre", "relative"]:
        """ "metre" or "relative"."""
        config = self.source.config
        metric = config["model_type"] == "zoedepth" or config.get("depth_estimation_type") == "metric"
        return "metre" if metric else "relative"

    def draw(self, image: Image.Image) -> DepthMap:
        """The depth of every pixel, larger is farther; without a score, as these models have none."""
        with self._lock:
            self._load()
            values = self._features.of(image)
            with self._ledger.timed("draw_s"):
                box = self._inside(image, values)
                full = np.asarray(Image.fromarray(values).resize(image.size, Image.Resampling.BILINEAR, box=box))
            self._ledger.count(drawn=1)
        if self.unit == "metre":
            return DepthMap(values=np.maximum(full, 0), unit="metre")
        return DepthMap(values=_in_order(full, inverse=self._is_inverse), unit="relative")

    @property
    def _is_inverse(self) -> bool:
        backbone = self.source.config.get("backbone_config")
        tower = backbone.get("model_type") if isinstance(backbone, dict) else None
        return not (self.source.model_type == "dpt" and tower == "dinov2")

    def _classes(self) -> tuple[Any, Any]:
        from transformers import AutoModelForDepthEstimation, DPTImageProcessorPil, ZoeDepthImageProcessorPil

        zoe = self.source.model_type == "zoedepth"
        return AutoModelForDepthEstimation, ZoeDepthImageProcessorPil if zoe else DPTImageProcessorPil

    @torch.inference_mode()
    def _encode(self, image: Image.Image) -> np.ndarray:
        """What the model says, float32[h, w], in its own unit."""
        model, processor = self._load()
        slim = max(image.size) > _SLIM * min(image.size)
        made = self.source.process(processor, image, **({"keep_aspect_ratio": False} if slim else {}))
        values: np.ndarray = model(made["pixel_values"].to(self._device)).predicted_depth[0].float().cpu().numpy()
        if not np.isfinite(values).all():
            raise GeneralistError(f"depth: {self.source.name} gives numbers that are not finite; fetch its files again")
        return values

    def _inside(self, image: Image.Image, values: np.ndarray) -> tuple[float, float, float, float]:
        """Where the image lies in the map: ZoeDepth sees it with a border of reflections, by the size it was given."""
        height, width = values.shape
        _, processor = self._load()
        if self.source.model_type != "zoedepth" or not processor.do_pad:
            return 0.0, 0.0, float(width), float(height)
        seen_w, seen_h = seen_size(image)
        across, down = (int(math.sqrt(side / 2) * 3) / side for side in (seen_w, seen_h))
        x, y = width * across / (1 + 2 * across), height * down / (1 + 2 * down)
        return x, y, width - x, height - y


def _in_order(values: np.ndarray, *, inverse: bool) -> np.ndarray:
    """0 (not quite) to 1, the farthest 1; all 1 where nothing is farther than anything else."""
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return np.ones_like(values)
    share = (high - values if inverse else values - low) / np.float32(high - low)
    return np.asarray(np.maximum(share, np.float32(_NEAREST)), np.float32)
