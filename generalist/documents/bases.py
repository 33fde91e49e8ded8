"""Whose tokens an index is in: a checkpoint of this project, or the folder of any causal language model."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from generalist.index.store import Base
from generalist.pipeline import resolve_model, shipped_models
from generalist.tokens import DOC_CLOSE, DOC_OPEN, Vocabulary
from generalist.types import GeneralistError

TOKENIZER = "tokenizer.json"
_VOCABULARY = "vocabulary.json"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BaseModel:
    """``vocabulary`` is None for a causal language model, which has neither images nor ``<doc>``."""

    folder: Path
    base: Base
    tokenizer: Tokenizer
    vocabulary: Vocabulary | None


def load_base(name: str | Path) -> BaseModel:
    """The tokens of a shipped model or of a folder with a ``tokenizer.json``.

    Raises :class:`GeneralistError` for what is neither.
    """
    folder = resolve_model(name)
    shown = str(name) if str(name) in shipped_models() else os.path.abspath(folder)
    if (folder / _VOCABULARY).is_file():
        vocabulary = Vocabulary.load(folder)
        base = Base(
            name=shown,
            vocab_hash=vocabulary.hash,
            vocabulary_size=vocabulary.size,
            open=vocabulary.structure[DOC_OPEN],
            close=vocabulary.structure[DOC_CLOSE],
        )
        return BaseModel(folder=folder, base=base, tokenizer=vocabulary.tokenizer, vocabulary=vocabulary)
    tokenizer = load_tokenizer(folder)
    base = Base(
        name=shown,
        vocab_hash=_hash(tokenizer),
        vocabulary_size=int(tokenizer.get_vocab_size(with_added_tokens=True)),
    )
    return BaseModel(folder=folder, base=base, tokenizer=tokenizer, vocabulary=None)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a folder; text that reads like a special token is text to it."""
    try:
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # tokenizers raises bare Exception
        reason = " ".join(str(error).split())[:100]
        raise GeneralistError(
            f"{folder}: cannot read {TOKENIZER} ({reason}); use a folder that save_pretrained wrote, tokenizer too"
        ) from error
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def check_base(base: BaseModel, index: Base, folder: Path) -> None:
    """Raises :class:`GeneralistError` when the index is in other tokens than the model's."""
    if base.base.vocab_hash != index.vocab_hash:
        raise GeneralistError(
            f"{folder}: this index is in the tokens of {index.name} ({index.vocab_hash}), the model {base.base.name} "
            f"has others ({base.base.vocab_hash}); use the former, or build the index with --base {base.base.name}"
        )


def _hash(tokenizer: Tokenizer) -> str:
    table = sorted(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda item: (item[1], item[0]))
    return hashlib.sha256(json.dumps(table, separators=(",", ":")).encode()).hexdigest()[:16]
