"""Boxes from four location bins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from generalist.tokens import Vocabulary
from generalist.types import Box, Kind, Ref


def read_xyxy(codes: Sequence[int], vocab: Vocabulary) -> tuple[float, float, float, float]:
    """Bins x1 y1 x2 y2 -> corners in 0-1, ordered, since a model may write them in either order."""
    a, b, c, d = (vocab.loc_value(code) for code in codes)
    return min(a, c), min(b, d), max(a, c), max(b, d)


class BoxDecoder:
    """Payload: x1 y1 x2 y2, location bins."""

    kind: ClassVar[Kind] = "box"

    def __init__(self, vocab: Vocabulary) -> None:
        self.vocab = vocab

    @classmethod
    def load(cls, folder: Path, vocab: Vocabulary) -> BoxDecoder:
        """Needs nothing of ``folder``."""
        return cls(vocab)

    def decode(self, refs: Sequence[Ref], image_hw: tuple[int, int]) -> list[Box]:
        """One box a ref."""
        return [Box(xyxy=read_xyxy(ref.codes, self.vocab)) for ref in refs]
