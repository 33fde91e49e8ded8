"""Documents from the identifier that the model wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from generalist.tokens import Vocabulary
from generalist.types import DocHit, Kind, Ref


class DocDecoder:
    """Payload: text token ids, which spell the identifier of a document."""

    kind: ClassVar[Kind] = "doc"

    def __init__(self, vocab: Vocabulary) -> None:
        self.vocab = vocab

    @classmethod
    def load(cls, folder: Path, vocab: Vocabulary) -> DocDecoder:
        """Needs nothing of ``folder``."""
        return cls(vocab)

    def decode(self, refs: Sequence[Ref], image_hw: tuple[int, int]) -> list[DocHit]:
        """One document a ref, named by its identifier."""
        identifiers = [self.vocab.decode_text(ref.codes) for ref in refs]
        return [DocHit(doc_id=identifier, title=identifier) for identifier in identifiers]
