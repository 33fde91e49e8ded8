"""Concept cards: a short document for each named thing of the composed world. It needs no files; ``world/cards``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from generalist_datasets.records import Document, Judgement, Problems, Query

CARDS = Path("world/cards")
"""What stands for the path of this corpus."""


@dataclass(frozen=True, slots=True)
class CardsCorpus:
    """A card of every concept. ``entity`` questions about pictures find them by their titles, which are the names."""

    def documents(self, problems: Problems) -> Iterator[Document]:
        from generalist_datasets.world.ask_cards import concept_card
        from generalist_datasets.world.concepts import CONCEPTS

        for concept in CONCEPTS:
            # The title is the identifier that a model writes for a card, in the letters of its id.
            yield replace(concept_card(concept), title=concept.name)

    def queries(self, problems: Problems) -> Iterator[Query]:
        return iter(())

    def judgements(self, problems: Problems) -> Iterator[Judgement]:
        return iter(())
