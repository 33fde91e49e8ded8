"""Points from two location bins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from generalist.tokens import Vocabulary
from generalist.types import Kind, Point, Ref


class PointDecoder:
    """Payload: x y, location bins."""

    kind: ClassVar[Kind] = "point"

    def __init__(self, vocab: Vocabulary) -> None:
        self.vocab = vocab

    @classmethod
    def load(cls, folder: Path, vocab: Vocabulary) -> PointDecoder:
        """Needs nothing of ``folder``."""
        return cls(vocab)

    def decode(self, refs: Sequence[Ref], image_hw: tuple[int, int]) -> list[Point]:
        """One point a ref."""
        points = []
        for ref in refs:
            x, y = ref.codes
            points.append(Point(xy=(self.vocab.loc_value(x), self.vocab.loc_value(y))))
        return points
