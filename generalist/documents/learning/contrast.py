"""Learning vectors: a question is to lie nearer to its own document than to others (InfoNCE: van den Oord et al. 2018).

The others are those of the batch, and for each question one that shares words with it (hard negatives by BM25: STAR,
Zhan et al. 2021). Documents are read in random stretches (Contriever: Izacard et al. 2022), half of them without the
sentence that the question was made from, so that words alone do not tell.
Shapes: B questions, d dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from generalist.documents.dense import LONGEST, pooled
from generalist.documents.learning.material import Material
from generalist.documents.learning.pairs import Pair, Pairs
from generalist.documents.network import Network
from generalist.documents.words import Words

if TYPE_CHECKING:
    import torch

BATCH = 16
"""Questions a step."""
TEMPERATURE = 0.05
STRETCH = (24, 96)
"""Tokens of a document that are read at a step."""
_WITHOUT = 0.5
"""How often the sentence that a question was made from is left out."""
_HARD = 10
"""Of the documents that share most words with a question one is drawn."""
_Row = list[int]


class Contrast:
    """What a step of the encoder learns from, and how well it does on held-out questions.

    ``words`` numbers the documents as the material does.
    """

    def __init__(self, network: Network, pairs: Pairs, words: Words, batch: int = BATCH) -> None:
        self.network, self.pairs, self.words, self.batch = network, pairs, words, batch
        self._tokenizer = network.base.tokenizer
        self._head = lru_cache(maxsize=4096)(self._read)

    def loss(self, step: int) -> torch.Tensor:
        """The mean negative log-probability of a question's own document."""
        return self._loss(self.pairs.step(step, self.batch))

    def look(self) -> float:
        """The mean log-probability of held-out questions' own documents; nan where nothing is held out."""
        import torch

        held = [(pair, np.random.default_rng([self.pairs.seed, k])) for k, pair in enumerate(self.pairs.held)]
        parts = [held[k : k + self.batch] for k in range(0, len(held), self.batch)]
        with torch.inference_mode():
            losses = [float(self._loss(part)) * len(part) for part in parts]
        return -sum(losses) / len(held) if losses else float("nan")

    def _loss(self, drawn: Sequence[tuple[Pair, np.random.Generator]]) -> torch.Tensor:
        import torch

        material = self.pairs.material
        own = [material.sentences[pair.sentence].document for pair, _ in drawn]
        others = [self._hard(pair, document, rng) for (pair, rng), document in zip(drawn, own, strict=True)]
        documents = [*own, *(other for other in others if other is not None)]
        rows = [self._read(pair.question)[:LONGEST] for pair, _ in drawn]
        rows += [self._stretch(pair, rng) for pair, rng in drawn]
        rows += [
            _cut(self._text(material, other), rng, self._title(other))
            for (_, rng), other in zip(drawn, others, strict=True)
            if other is not None
        ]
        vectors = self._embed(rows)
        questions, there = vectors[: len(drawn)], vectors[len(drawn) :]
        scores = questions @ there.T / TEMPERATURE
        # What is the same document, drawn twice, is no negative.
        same = torch.tensor([[a == b and i != j for j, b in enumerate(documents)] for i, a in enumerate(own)])
        scores = scores.masked_fill(same.to(scores.device), float("-inf"))
        return torch.nn.functional.cross_entropy(scores, torch.arange(len(drawn), device=scores.device))

    def _embed(self, rows: Sequence[_Row]) -> torch.Tensor:
        """Vectors [n, d]; rows of about the same length are read together."""
        import torch

        order = sorted(range(len(rows)), key=lambda k: len(rows[k]))
        parts = [order[k : k + self.batch] for k in range(0, len(order), self.batch)]
        vectors = torch.cat([pooled(self.network, [rows[k] for k in part]) for part in parts])
        return vectors[torch.tensor(np.argsort(order), device=vectors.device)]

    def _hard(self, pair: Pair, own: int, rng: np.random.Generator) -> int | None:
        """Another document with words of the question, if there is one."""
        (found,) = self.words.search([pair.question], _HARD + 1)
        numbers = [number for number, _ in found if number != own][:_HARD]
        return numbers[int(rng.integers(len(numbers)))] if numbers else None

    # --- stretches ---

    def _stretch(self, pair: Pair, rng: np.random.Generator) -> _Row:
        """Of a question's own document: from around the sentence, with or without it."""
        material = self.pairs.material
        around = material.of_document[material.sentences[pair.sentence].document]
        at = around.index(pair.sentence)
        document = material.sentences[pair.sentence].document
        if rng.random() < _WITHOUT and len(around) > 1:
            before = [token for k in around[max(0, at - 2) : at] for token in material.sentences[k].tokens]
            after = [token for k in around[at + 1 : at + 3] for token in material.sentences[k].tokens]
            return _cut([*before, *after], rng, self._title(document))
        tokens = [token for k in around[max(0, at - 1) : at + 2] for token in material.sentences[k].tokens]
        return _cut(tokens, rng, self._title(document))

    def _text(self, material: Material, document: int) -> _Row:
        return [token for k in material.of_document.get(document, ()) for token in material.sentences[k].tokens]

    def _title(self, document: int) -> _Row:
        return self._head(self.pairs.material.titles[document])[: STRETCH[0]]

    def _read(self, text: str) -> _Row:
        ids: _Row = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def _cut(tokens: Sequence[int], rng: np.random.Generator, title: Sequence[int]) -> _Row:
    """A random stretch of ``tokens`` behind the title, which a piece of an index begins with as well."""
    count = int(rng.integers(STRETCH[0], STRETCH[1] + 1))
    begin = int(rng.integers(max(1, len(tokens) - count + 1)))
    return [*title, *tokens[begin : begin + count]] or [0]
