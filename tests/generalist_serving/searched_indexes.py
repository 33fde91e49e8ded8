"""Small indexes for a server, and a model that can be asked for identifiers without weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from generalist.documents import build_index
from generalist.documents.asking import Question
from generalist.documents.bases import BaseModel
from generalist.documents.models import Floats, Reading
from generalist_datasets.records import Document

NOTES = (
    Document(id="dog", title="The dog", text="The dog is asleep on a sofa. A sofa is red.\n\nWhere is the mug?"),
    Document(id="cat", title="The cat", text="The cat is on a map. The map is a mask!"),
    Document(id="box/1", title="", text="There are 12 boxes, a point and a doc."),
    Document(id="é", title="Ünder", text="Größe 日本語。次の文。"),
)
CARDS = (
    Document(id="mug", title="red mug", text="A red mug. Category: kitchen."),
    Document(id="ball", title="blue ball", text="A blue ball. Category: toys."),
)


def build(root: Path) -> Path:
    """Indexes ``notes`` and ``cards`` in a new folder, both in nano's tokens."""
    root.mkdir(parents=True)
    build_index(NOTES, root / "notes")
    build_index(CARDS, root / "cards")
    return root


class Says:
    """A model to which the tokens of some words are likely, whatever it is asked; ``questions`` are those it was."""

    end = 0

    def __init__(self, words: str, base: BaseModel) -> None:
        self.questions: list[Question] = []
        logits = np.zeros(base.base.vocabulary_size, np.float32)
        logits[base.tokenizer.encode(words, add_special_tokens=False).ids] = 9
        self._logprobs = (logits - np.logaddexp.reduce(logits)).astype(np.float32)

    def read(self, questions: Sequence[Question]) -> tuple[Reading, Floats]:
        self.questions += questions
        return self, np.stack([self._logprobs] * len(questions))

    def go_on(self, rows: Sequence[int], tokens: Sequence[int]) -> Floats:
        return np.stack([self._logprobs] * len(rows))
