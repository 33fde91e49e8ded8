"""Masks from a box and the codes of what is inside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from generalist.decoders.box import read_xyxy
from generalist.decoders.crops import XYXY, mask_to_payload, paste, to_rle
from generalist.decoders.mask_codec import MaskCodec
from generalist.tokens import Vocabulary
from generalist.types import Kind, Mask, Ref

FILE = "mask_codec.safetensors"


class MaskDecoder:
    """Payload: x1 y1 x2 y2, then the codes of the 64x64 crop of that box."""

    kind: ClassVar[Kind] = "mask"

    def __init__(self, vocab: Vocabulary, codec: MaskCodec) -> None:
        self.vocab = vocab
        self.codec = codec

    @classmethod
    def load(cls, folder: Path, vocab: Vocabulary) -> MaskDecoder:
        """With the codec of a checkpoint; :class:`GeneralistError` when it is missing or does not fit."""
        return cls(vocab, MaskCodec.load(folder / FILE, vocab.sizes))

    @torch.no_grad()
    def decode(self, refs: Sequence[Ref], image_hw: tuple[int, int]) -> list[Mask]:
        """One mask of the image's size a ref; empty when the codes say that nothing is set."""
        if not refs:
            return []
        crops = self.codec.decode(torch.tensor([ref.codes[4:] for ref in refs]), predicted=True).numpy()
        masks = []
        for ref, crop in zip(refs, crops, strict=True):
            xyxy = read_xyxy(ref.codes[:4], self.vocab)
            masks.append(Mask(size=image_hw, counts=to_rle(paste(crop, xyxy, image_hw)), xyxy=xyxy))
        return masks

    @torch.no_grad()
    def encode(self, bitmap: np.ndarray) -> tuple[XYXY, tuple[int, ...]]:
        """(tight box, mask codes) of a mask bool[H, W]: how a drawn mask enters a prompt.

        Raises :class:`GeneralistError` when no pixel is set.
        """
        xyxy, crop = mask_to_payload(bitmap)
        codes = self.codec.encode(torch.from_numpy(crop)[None])[0]
        return xyxy, tuple(int(code) for code in codes)
