"""A small collection, indexed with the tiny model's tokens; models that say what a test wants."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from generalist.documents import Collection, build_index
from generalist.documents.asking import Question
from generalist.documents.models import Floats, Reading
from generalist.model import Checkpoint
from generalist_datasets.records import Document

from ...conftest import make_tokenizer

DOCUMENTS = (
    Document(id="dog", title="The dog", text="The dog is asleep on a sofa. A sofa is red.\n\nWhere is the mug?"),
    Document(id="cat", title="The cat", text="The cat is on a map. The map is a mask!"),
    Document(id="box/1", title="", text="There are 12 boxes, a point and a doc."),
    Document(id="é", title="Ünder", text="Größe 日本語。次の文。"),
)


@pytest.fixture(scope="session")
def _built(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index") / "small"
    build_index(DOCUMENTS, folder, base=tiny_checkpoint.folder)
    return folder


@pytest.fixture(scope="session")
def small(_built: Path) -> Collection:
    """The index of ``DOCUMENTS``. Shared: do not change it."""
    return Collection.open(_built)


@pytest.fixture
def own(_built: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(_built, tmp_path / "own"))


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random causal language model that reads 512 tokens. Weights are large, so that texts differ clearly."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    place = tmp_path_factory.mktemp("llama")
    tokenizer = make_tokenizer()
    tokenizer.save(str(place / "tokenizer.json"))
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=512, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(place)
    return place


class MadeUpModel:
    """A model whose log-probabilities are what ``think(tokens so far)`` says, not normalised, [V]."""

    def __init__(self, think: Callable[[tuple[int, ...]], Floats], end: int = 0) -> None:
        self.think, self.end = think, end
        self.questions: list[Question] = []

    def read(self, questions: Sequence[Question]) -> tuple[Reading, Floats]:
        self.questions += questions
        rows: list[tuple[int, ...]] = [() for _ in questions]
        return _MadeUpReading(self.think, rows), np.stack([self.think(row) for row in rows])


class _MadeUpReading:
    def __init__(self, think: Callable[[tuple[int, ...]], Floats], rows: list[tuple[int, ...]]) -> None:
        self._think, self._rows = think, rows

    def go_on(self, rows: Sequence[int], tokens: Sequence[int]) -> Floats:
        self._rows = [(*self._rows[row], token) for row, token in zip(rows, tokens, strict=True)]
        return np.stack([self._think(row) for row in self._rows])


def log_softmax(logits: Floats) -> Floats:
    return (logits - np.logaddexp.reduce(logits)).astype(np.float32)


def told(wanted: Sequence[int], size: int, *, surely: float = 20.0) -> Callable[[tuple[int, ...]], Floats]:
    """Thinks that ``wanted`` comes next, token by token."""

    def think(tokens: tuple[int, ...]) -> Floats:
        logits = np.zeros(size, np.float32)
        if len(tokens) < len(wanted) and tokens == tuple(wanted[: len(tokens)]):
            logits[wanted[len(tokens)]] = surely
        return log_softmax(logits)

    return think
