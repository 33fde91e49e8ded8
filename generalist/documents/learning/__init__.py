"""Learning a collection: a base learns to write identifiers of its documents, or to tell them apart by vectors.

Stages: documents -> sentences (``material``) -> questions made of them (``questions``), or written by a language model
(``written``) -> what a step learns from (``identifiers``, ``contrast``) -> ``fit`` -> the index (``run``).
"""

from __future__ import annotations

from generalist.documents.learning.run import LearningOptions, Watcher, train_index

__all__ = ["LearningOptions", "Watcher", "train_index"]
