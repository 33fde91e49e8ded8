"""Ordering given texts by words, and by how likely a language model finds the question behind them."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from generalist.documents.bases import BaseModel
from generalist.documents.network import Network
from generalist.documents.reranking import MOST_QUESTION, MOST_TEXT, READ, QuestionReader, rerank
from generalist.index.store import Base
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError

TEXTS = ["The cat is on a map.", "The dog is asleep on a sofa.", "Nothing at all.", "A sofa and a dog: the dog's sofa."]


class Remembers:
    """A causal model to which tokens are likely that it has read; ``widths`` are those of what it was asked."""

    def __init__(self, size: int) -> None:
        self.device = torch.device("cpu")
        self.config = SimpleNamespace(max_position_embeddings=1024)
        self.widths: list[tuple[int, int]] = []
        self._size = size

    def __call__(self, *, input_ids: Any, attention_mask: Any, logits_to_keep: int, **_: Any) -> SimpleNamespace:
        self.widths.append(tuple(input_ids.shape))
        seen = torch.nn.functional.one_hot(input_ids, self._size).float() * attention_mask[..., None]
        return SimpleNamespace(logits=5 * seen.cumsum(1).clamp(max=1)[:, -logits_to_keep:])


class Reader(QuestionReader):
    """One that says what a test wants, by text."""

    def __init__(self, likelihood: dict[str, float]) -> None:
        self._likelihoods = likelihood

    def read(self, question: str, texts: Any) -> list[float]:
        return [self._likelihoods.get(text, -9.0) for text in texts]


@pytest.fixture
def remembers(vocab: Vocabulary) -> tuple[QuestionReader, Remembers]:
    model = Remembers(vocab.size)
    base = Base(name="made up", vocab_hash=vocab.hash, vocabulary_size=vocab.size)
    whole = BaseModel(folder=Path(), base=base, tokenizer=vocab.tokenizer, vocabulary=None)
    return QuestionReader(Network(base=whole, model=model)), model


def test_words_order_texts() -> None:
    ranked = rerank("dog sofa", TEXTS, "lexical")
    assert [number for number, _ in ranked] == [3, 1, 0, 2]
    assert ranked[0][1] == 1 and 0 < ranked[1][1] < 1 and ranked[2][1] == ranked[3][1] == 0
    assert rerank("zebra", TEXTS, "lexical") == [(number, 0.0) for number in range(4)]
    assert rerank("zebra", ["", "?"]) == [(0, 0.0), (1, 0.0)]


def test_the_likelihood_of_the_question_orders_texts() -> None:
    reader = Reader({TEXTS[2]: -0.5, TEXTS[1]: -1.0})
    ranked = rerank("dog sofa", TEXTS, "generative", lambda: reader)
    assert [number for number, _ in ranked][:2] == [2, 1]
    assert ranked[0][1] == pytest.approx(math.exp(-0.5))


def test_both_are_fused() -> None:
    first_of_both = rerank("dog sofa", TEXTS, "hybrid", lambda: Reader({TEXTS[3]: -0.5}))
    assert first_of_both[0] == (3, pytest.approx(1))
    ranked = rerank("dog sofa", TEXTS, "hybrid", lambda: Reader({TEXTS[1]: -0.5, TEXTS[2]: -1.0}))
    assert [number for number, _ in ranked][:2] == [1, 3]
    assert all(0 <= score <= 1 for _, score in ranked)


def test_only_the_best_by_words_are_read() -> None:
    texts = [*[f"The dog number {number} is asleep." for number in range(READ)], "A sofa.", "The dog."]
    read: list[str] = []

    class Counting(Reader):
        def read(self, question: str, texts: Any) -> list[float]:
            read.extend(texts)
            return super().read(question, texts)

    for mode in ("generative", "hybrid"):
        ranked = rerank("dog", texts, mode, lambda: Counting({}))
        assert sorted(number for number, _ in ranked) == list(range(len(texts)))
    assert len(read) == 2 * READ and "A sofa." not in read and "The dog." in read


def test_the_model_reads_each_text_before_the_question(remembers: tuple[QuestionReader, Remembers]) -> None:
    reader, model = remembers
    question = "Where is the red mug?"
    texts = ["Segment the cat.", "Where is the red mug?", "A dog " * 2000]
    alone = [reader.read(question, [text])[0] for text in texts]
    assert reader.read(question, texts) == pytest.approx(alone)  # padding changes nothing
    assert max(alone) == alone[1]
    assert max(width for _, width in model.widths) <= MOST_TEXT + MOST_QUESTION + 100


def test_many_texts_come_in_batches(remembers: tuple[QuestionReader, Remembers]) -> None:
    reader, model = remembers
    texts = ["The cat. " * (number % 5) + "mug" for number in range(19)]
    found = reader.read("mug", texts)
    assert found[0] == pytest.approx(found[5]) and found[0] != pytest.approx(found[1])
    assert sum(rows for rows, _ in model.widths) == 19 and max(rows for rows, _ in model.widths) <= 8


@pytest.mark.parametrize("question, texts, mode, says", [
    (" ", TEXTS, "lexical", "blank"), ("dog", [], "lexical", "no texts"), ("dog", TEXTS, "magic", "lexical"),
    ("dog", TEXTS, "generative", "needs a causal language model"),
])  # fmt: skip
def test_mistakes(question: str, texts: list[str], mode: str, says: str) -> None:
    with pytest.raises(GeneralistError, match=says):
        rerank(question, texts, mode)


def test_a_question_that_is_too_long(remembers: tuple[QuestionReader, Remembers]) -> None:
    with pytest.raises(GeneralistError, match=rf"use at most {MOST_QUESTION}"):
        remembers[0].read("dog " * 1000, TEXTS)
