"""Images to tensors with PIL and torch alone: RGB, squashed to the tower's size, normalised.

The aspect ratio is not kept: coordinates are relative to the whole image, so nothing is lost by
squashing and nothing has to be undone. EXIF rotation is the caller's (``generalist.images``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor

from generalist.types import GeneralistError

# (255 x - 127) / 128, what EfficientNet-Lite0 was trained with, for x in 0-1.
LITE0_MEAN = (127 / 255,) * 3
LITE0_STD = (128 / 255,) * 3


class GeneralistImageProcessor(BaseImageProcessor):
    """PIL images (or uint8 [H, W, 3] arrays) -> ``pixel_values`` float32 [I, 3, height, width].

    ``size``: {"height", "width"} of the vision tower's input. ``image_mean``, ``image_std``: of a channel in
    0-1; another tower than ours usually wants its own.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012

    def __init__(
        self,
        size: Mapping[str, int] | None = None,
        image_mean: Sequence[float] = LITE0_MEAN,
        image_std: Sequence[float] = LITE0_STD,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        chosen = {"height": 192, "width": 192} if size is None else {name: size[name] for name in ("height", "width")}
        if min(chosen.values()) < 1:
            raise GeneralistError(f"image size is {chosen}; use a height and width above 0")
        if len(image_mean) != 3 or len(image_std) != 3 or min(image_std) <= 0:
            raise GeneralistError(
                f"image_mean is {list(image_mean)}, image_std {list(image_std)}; use three values each, std above 0"
            )
        self.size = chosen
        self.image_mean = [float(v) for v in image_mean]
        self.image_std = [float(v) for v in image_std]

    def preprocess(self, images: Any, *args: Any, **kwargs: Any) -> BatchFeature:
        """One image or a (nested) list of them. Raises :class:`GeneralistError` on anything else."""
        pixels = [self._pixels(image) for image in _flatten(images)]
        if not pixels:
            raise GeneralistError("no images were given; pass at least one, or leave images out")
        batch = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
        mean = torch.tensor(self.image_mean).view(3, 1, 1)
        std = torch.tensor(self.image_std).view(3, 1, 1)
        return BatchFeature({"pixel_values": ((batch - mean) / std).contiguous()})

    def shrink(self, image: Image.Image) -> Image.Image:
        """RGB in the tower's size, still a picture; what has been shrunk already stays as it is."""
        size = (self.size["width"], self.size["height"])
        if image.mode != "RGB":
            image = image.convert("RGB")
        # The gap makes PIL first shrink big images by a whole factor, which is far cheaper and looks the same.
        return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)

    def _pixels(self, image: Image.Image) -> np.ndarray:
        """uint8 [height, width, 3]."""
        return np.array(self.shrink(image), dtype=np.uint8)


def _flatten(images: Any) -> Iterator[Image.Image]:
    if isinstance(images, Image.Image):
        yield images
    elif isinstance(images, torch.Tensor | np.ndarray):
        array = np.asarray(images)
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != 3:
            raise GeneralistError(f"an image array is {array.dtype} {array.shape}; use uint8 [height, width, 3]")
        yield Image.fromarray(array)
    elif isinstance(images, Iterable) and not isinstance(images, str | bytes):
        for image in images:
            yield from _flatten(image)
    else:
        raise GeneralistError(f"an image is a {type(images).__name__}; pass PIL images")
