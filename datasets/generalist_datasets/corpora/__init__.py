"""Formats of text corpora with questions: which of them is at a path, and reading it."""

from __future__ import annotations

import os
from pathlib import Path

from generalist.types import GeneralistError
from generalist_datasets.corpora import beir, squad, texts, trec
from generalist_datasets.corpora.base import Corpus, CorpusFormat
from generalist_datasets.corpora.cards import CARDS, CardsCorpus

__all__ = ["CARDS", "CORPORA", "Corpus", "CorpusFormat", "detect_corpus", "open_corpus"]

CORPORA: dict[str, CorpusFormat] = {module.FORMAT.name: module.FORMAT for module in (beir, squad, trec, texts)}
"""In the order of detection."""


def detect_corpus(path: Path) -> CorpusFormat | None:
    """The format of the corpus at ``path``, a folder or a file; None when there is none."""
    return next((found for found in CORPORA.values() if found.detect(path)), None)


def open_corpus(path: Path, format: str | None = None) -> Corpus:
    """The corpus at ``path``, in ``format`` or in the one that its files are in; that of the world's things for CARDS.

    Raises :class:`GeneralistError` for an unknown format, and where there is no corpus.
    """
    formats = ", ".join(CORPORA)
    if format is not None and format not in CORPORA:
        raise GeneralistError(f"there is no corpus format {format!r}; use one of {formats}")
    if path == CARDS and format is None:
        return CardsCorpus()
    if not os.path.exists(path):
        raise GeneralistError(f"{str(path)[:200]}: no such file or folder; check the path")
    found = detect_corpus(path) if format is None else CORPORA[format]
    if found is None:
        raise GeneralistError(f"{path}: no known corpus; name its format: {formats}")
    return found.open(path)
