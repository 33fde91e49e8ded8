"""The sentences of an index, as text and as the tokens that identifiers are made of."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from generalist.documents.collection import Collection
from generalist.index.segment import DOCUMENT, PASSAGE

_LINK = re.compile(r"\[\[(?P<name>[^\]|]+)[^\]]*\]\]|\[[^\]]*\]\((?P<target>[^)\s#]+)[^)]*\)")
"""Of a wiki, by title; of Markdown, by file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """``document`` and ``passage`` are numbers; a passage's is its own in the whole collection."""

    document: int
    passage: int
    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """``title_tokens`` [D] and ``titles`` [D] are empty where a document has none; ``ids`` [D]."""

    ids: tuple[str, ...]
    titles: tuple[str, ...]
    title_tokens: tuple[tuple[int, ...], ...]
    sentences: tuple[Sentence, ...]
    counts: np.ndarray
    """How often a token occurs, int64 [V]."""

    @classmethod
    def of(cls, collection: Collection) -> Material:
        size = collection.index.base.vocabulary_size
        counts = np.zeros(size, np.int64)
        for segment in collection.index.segments:
            counts += np.diff(segment.first[: size + 1])
        titles, title_tokens, sentences = [], [], []
        passage = 0
        for number, place in enumerate(collection.places.values()):
            tokens = collection.tokens(place)
            marks = np.flatnonzero(tokens >= size)
            for at, end in zip(marks.tolist(), [*marks[1:].tolist(), len(tokens)], strict=True):
                part, mark = tokens[at + 1 : end], int(tokens[at]) - size
                text = collection.decode(part)
                if mark == DOCUMENT:
                    titles.append(text)
                    title_tokens.append(tuple(part.tolist()))
                    continue
                passage += mark == PASSAGE
                if text:
                    sentence = Sentence(document=number, passage=passage, text=text, tokens=tuple(part.tolist()))
                    sentences.append(sentence)
        return cls(
            ids=tuple(collection.places),
            titles=tuple(titles),
            title_tokens=tuple(title_tokens),
            sentences=tuple(sentences),
            counts=counts,
        )

    @cached_property
    def of_document(self) -> dict[int, list[int]]:
        """The numbers of a document's sentences, in order."""
        found: dict[int, list[int]] = {}
        for number, sentence in enumerate(self.sentences):
            found.setdefault(sentence.document, []).append(number)
        return found

    @cached_property
    def rarity(self) -> np.ndarray:
        """How much a token tells, float32 [V]: the logarithm of how rare it is."""
        return np.log(self.counts.sum() / np.maximum(self.counts, 1)).astype(np.float32)

    @cached_property
    def links(self) -> tuple[tuple[int, int], ...]:
        """(sentence, document that a link in it names), for links to documents of the collection."""
        named = {title.lower(): number for number, title in enumerate(self.titles) if title}
        numbers = {id: number for number, id in enumerate(self.ids)}
        return tuple(
            (number, target)
            for number, sentence in enumerate(self.sentences)
            for target in _targets(sentence.text, self.ids[sentence.document], named, numbers)
            if target != sentence.document
        )

    def neighbours(self, number: int) -> Sequence[int]:
        """The other sentences of a sentence's passage."""
        one = self.sentences[number]
        around = self.of_document[one.document]
        return [k for k in around if k != number and self.sentences[k].passage == one.passage]


def without_links(text: str) -> str:
    """The text as it reads, with the words of links."""
    return re.sub(r"\[\[([^\]|]*\|)?([^\]]*)\]\]|\[([^\]]*)\]\([^)]*\)", lambda one: one[2] or one[3] or "", text)


def _targets(text: str, id: str, named: dict[str, int], numbers: dict[str, int]) -> Iterator[int]:
    for link in _LINK.finditer(text):
        if link["name"] is not None:
            found = named.get(link["name"].strip().lower())
        else:
            found = numbers.get(posixpath.normpath(posixpath.join(posixpath.dirname(id), link["target"])))
        if found is not None:
            yield found
