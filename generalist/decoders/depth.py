"""Depth maps from a range and a raster of codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image

from generalist.decoders.depth_codec import DepthCodec
from generalist.tokens import Vocabulary
from generalist.types import DepthMap, Kind, Ref

FILE = "depth_codec.safetensors"
NEAREST, DECADES = 0.1, 3.0
"""Where the range scale begins, in metres, and how many powers of ten it spans: 0.1 m to 100 m."""


def range_metres(value: float) -> float:
    """Metres of a value 0-1 of the range scale."""
    return float(NEAREST * 10 ** (DECADES * value))


def range_value(metres: float) -> float:
    """The value in 0-1 of a distance in metres above 0; what lies off the scale goes to its end."""
    return min(max(math.log10(metres / NEAREST) / DECADES, 0.0), 1.0)


class DepthDecoder:
    """Payload: near, far (location bins on a log scale), then the codes of the map between them."""

    kind: ClassVar[Kind] = "depth"

    def __init__(self, vocab: Vocabulary, codec: DepthCodec) -> None:
        self.vocab = vocab
        self.codec = codec

    @classmethod
    def load(cls, folder: Path, vocab: Vocabulary) -> DepthDecoder:
        """With the codec of a checkpoint; :class:`GeneralistError` when it is missing or does not fit."""
        return cls(vocab, DepthCodec.load(folder / FILE, vocab.sizes))

    @torch.no_grad()
    def decode(self, refs: Sequence[Ref], image_hw: tuple[int, int]) -> list[DepthMap]:
        """One map of the image's size a ref, in metres. A range written far to near is read near to far."""
        if not refs:
            return []
        maps = self.codec.decode(torch.tensor([ref.codes[2:] for ref in refs])).numpy()
        return [DepthMap(values=self._metres(ref, u, image_hw)) for ref, u in zip(refs, maps, strict=True)]

    def _metres(self, ref: Ref, u: np.ndarray, image_hw: tuple[int, int]) -> np.ndarray:
        near, far = sorted(range_metres(self.vocab.loc_value(code)) for code in ref.codes[:2])
        height, width = image_hw
        # Stretched as logarithms, as the codec saw them, so that a far edge does not bleed into a near one.
        full = np.asarray(Image.fromarray(u).resize((width, height), Image.Resampling.BILINEAR))
        return np.float32(near) * np.exp(np.float32(math.log(far / near)) * full)
