"""Boxes and points to masks by Segment Anything: SAM, SAM 2 and SAM 3's tracker, as transformers has them.

A box is not ambiguous and gets the one mask that SAM makes for such prompts; a point can mean a part or a whole, and
gets the surest of three (Kirillov et al. 2023, section 3).

Shapes: N prompts, h x w cells of the decoder's masks, H x W pixels of the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from generalist.decoders.crops import bounds, relative, to_rle
from generalist.decoders.hub.model import HubModel
from generalist.types import Box, Mask, Point

PADDED = ("sam",)
STRETCHED = ("sam2", "sam2_video", "sam3_tracker", "sam3_video")
"""Model types by how an image comes to the model's square: the video models' checkpoints hold the same weights."""
MOST_AT_ONCE = 32
"""Prompts that go through the mask decoder together."""

Prompted: TypeAlias = Box | Point | Mask


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Encoded:
    """``embeddings``: as the model takes them; ``inner``: (W, H) of the image in the model's square of ``outer``."""

    embeddings: Any
    inner: tuple[int, int]
    outer: tuple[int, int]


class HubMasks(HubModel[_Encoded]):
    """Masks of boxes and points by a checkpoint of the hub."""

    what = "masks"
    model_types = (*PADDED, *STRETCHED)

    def draw(self, image: Image.Image, prompts: Sequence[Prompted]) -> list[Mask]:
        """One mask a prompt, in order; of a mask its box is the prompt.

        The score is the decoder's own guess of the mask's IoU, times the prompt's score if it has one.
        """
        if not prompts:
            return []
        places = [_place(prompt, image.size) for prompt in prompts]
        drawn: dict[int, Mask] = {}
        with self._lock:
            self._load()
            encoded = self._features.of(image)
            with self._ledger.timed("draw_s"):
                for part in _batches(places):
                    logits, ious = self._decode(encoded, [places[at] for at in part])
                    for at, one, iou in zip(part, logits, ious, strict=True):
                        drawn[at] = _mask(one, iou, prompts[at], encoded, image.size)
            self._ledger.count(drawn=len(drawn))
        return [drawn[at] for at in range(len(prompts))]

    def _classes(self) -> tuple[Any, Any]:
        from transformers import AutoModelForMaskGeneration, SamImageProcessorPil, ViTImageProcessorPil

        # The processors of SAM 2 and 3 need torchvision; ViT's does the same: stretch, then normalise.
        padded = self.source.model_type in PADDED
        return AutoModelForMaskGeneration, SamImageProcessorPil if padded else ViTImageProcessorPil

    @torch.inference_mode()
    def _encode(self, image: Image.Image) -> _Encoded:
        model, processor = self._load()
        made = self.source.process(processor, image)
        pixels = made["pixel_values"]
        height, width = pixels.shape[-2:]
        padded = self.source.model_type in PADDED
        inner_h, inner_w = made["reshaped_input_sizes"][0].tolist() if padded else (height, width)
        embeddings = model.get_image_embeddings(pixels.to(self._device))
        return _Encoded(embeddings=embeddings, inner=(inner_w, inner_h), outer=(width, height))

    @torch.inference_mode()
    def _decode(self, encoded: _Encoded, places: Sequence[tuple[float, ...]]) -> tuple[np.ndarray, list[float]]:
        """Logits float32[N, h, w], and the IoU that the decoder thinks each has; places in 0-1, all boxes or points."""
        model, _ = self._load()
        is_box = len(places[0]) == 4
        scale = torch.tensor(encoded.inner * (2 if is_box else 1), device=self._device)
        placed = torch.tensor(places, device=self._device) * scale
        given: dict[str, Any] = {"input_boxes": placed[None]}
        if not is_box:
            marks = torch.ones(1, len(places), 1, dtype=torch.int, device=self._device)
            given = {"input_points": placed[None, :, None], "input_labels": marks}
        made = model(image_embeddings=encoded.embeddings, multimask_output=not is_box, **given)
        ious, best = made.iou_scores[0].max(dim=1)
        logits = made.pred_masks[0][torch.arange(len(best)), best]
        return logits.float().cpu().numpy(), ious.tolist()


def _batches(places: Sequence[tuple[float, ...]]) -> Iterator[list[int]]:
    """Numbers of places that can be decoded together: boxes with boxes, points with points."""
    for count in (4, 2):
        same = [at for at, place in enumerate(places) if len(place) == count]
        yield from (same[start : start + MOST_AT_ONCE] for start in range(0, len(same), MOST_AT_ONCE))


def _place(prompt: Prompted, size: tuple[int, int]) -> tuple[float, ...]:
    """Four or two numbers in 0-1. A box of less than a pixel has no inside: its middle is meant."""
    if isinstance(prompt, Point):
        return prompt.xy
    x1, y1, x2, y2 = prompt.xyxy
    if (x2 - x1) * size[0] < 1 or (y2 - y1) * size[1] < 1:
        return (x1 + x2) / 2, (y1 + y2) / 2
    return prompt.xyxy


def _mask(logits: np.ndarray, iou: float, prompt: Prompted, encoded: _Encoded, size: tuple[int, int]) -> Mask:
    cells = tuple(
        cells * inner / outer
        for cells, inner, outer in zip(logits.shape[::-1], encoded.inner, encoded.outer, strict=True)
    )
    bitmap = _stretched(logits, (cells[0], cells[1]), size)
    if bitmap.any():
        xyxy = relative(bounds(bitmap), bitmap.shape)
    else:
        xyxy = (*prompt.xy, *prompt.xy) if isinstance(prompt, Point) else prompt.xyxy
    score = min(max(iou, 0.0), 1.0) * (1.0 if prompt.score is None else prompt.score)
    return Mask(size=(size[1], size[0]), counts=to_rle(bitmap), xyxy=xyxy, score=score)


def _stretched(logits: np.ndarray, cells: tuple[float, float], size: tuple[int, int]) -> np.ndarray:
    """bool[H, W], set above 0, of logits[h, w] whose first (w, h) ``cells`` are the image of ``size`` (W, H).

    Only where something is set is anything computed: with many small things on a large image that is little of it.
    """
    bitmap = np.zeros(size[::-1], bool)
    rows, columns = np.nonzero(logits > 0)
    if not len(rows):
        return bitmap
    spans = []
    for found, most, pixels in ((columns, cells[0], size[0]), (rows, cells[1], size[1])):
        # One cell around it: there, between cells, it may still be above 0.
        low, high = max(int(found.min()) - 1, 0), min(int(found.max()) + 2, most)
        spans.append((min(int(low / most * pixels), pixels), min(int(np.ceil(high / most * pixels)), pixels)))
    (x1, x2), (y1, y2) = spans
    if x1 >= x2 or y1 >= y2:  # all of it lies in the padding
        return bitmap
    across, down = cells[0] / size[0], cells[1] / size[1]
    part = Image.fromarray(logits).resize(
        (x2 - x1, y2 - y1), Image.Resampling.BILINEAR, box=(x1 * across, y1 * down, x2 * across, y2 * down)
    )
    bitmap[y1:y2, x1:x2] = np.asarray(part) > 0
    return bitmap
