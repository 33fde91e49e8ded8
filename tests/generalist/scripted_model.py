"""A Generalist that says what it is told: real prompts, parsing and drawing; no weights, no codecs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pycocotools import mask as coco

from generalist.engine.scripted import ScriptedEngine
from generalist.pipeline import Generalist, Line
from generalist.tokens import Vocabulary
from generalist.types import Box, DepthMap, DocHit, Kind, Mask, Output, Point, Ref, VisualPrompt

DOG = "The <Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0016><loc_0016><loc_0032><loc_0048>) sits."
NOTHING = "There is no dog."


class StandInDecoder:
    """Geometry straight from the location bins: what stands in for codecs needs no codes."""

    def __init__(self, kind: Kind, vocab: Vocabulary) -> None:
        self.kind = kind
        self._vocab = vocab

    def decode(self, refs: Sequence[Ref], image_hw: tuple[int, int]) -> list[Output]:
        return [self._one(ref, image_hw) for ref in refs]

    def _one(self, ref: Ref, image_hw: tuple[int, int]) -> Output:
        if self.kind == "doc":
            return DocHit(doc_id=self._vocab.decode_text(ref.codes), score=0.5)
        first, second, *rest = (self._vocab.loc_value(code) for code in ref.codes[:4])
        if self.kind == "point":
            return Point(xy=(first, second))
        if self.kind == "depth":
            return DepthMap(values=np.full(image_hw, 2.5, np.float32))
        xyxy = (first, second, rest[0], rest[1])
        if self.kind == "box":
            return Box(xyxy=xyxy)
        counts = coco.encode(np.ones(image_hw, np.uint8, order="F"))["counts"].decode()
        return Mask(size=image_hw, counts=counts, xyxy=xyxy)


def scripted(
    vocab: Vocabulary, replies: Sequence[Sequence[int]], *, docs: bool = False, seed: int | None = None
) -> tuple[Generalist, ScriptedEngine]:
    """(model, its engine); with ``docs`` it can find documents as well."""
    engine = ScriptedEngine(replies)
    kinds: tuple[Kind, ...] = ("box", "point", "mask", "depth", "doc") if docs else ("box", "point", "mask", "depth")
    decoders = {kind: StandInDecoder(kind, vocab) for kind in kinds}

    def encode_mask(prompt: VisualPrompt) -> tuple[tuple[float, float, float, float], tuple[int, ...]]:
        return (0.0, 0.0, 1.0, 1.0), (1,) * vocab.sizes.mask_length

    return Generalist(engine, Line(vocab, decoders, encode_mask=encode_mask), seed=seed), engine


Ids = Callable[[str], list[int]]
