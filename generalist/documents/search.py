"""Questions to hits: by generated identifiers, by words, or by both.

A mode is a function from questions to rankings, and an entry of :data:`MODES`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from generalist.documents.asking import Granularity, Question, check_questions
from generalist.documents.beam import BeamOptions, Search
from generalist.documents.collection import MARKS_OF, Collection, Place
from generalist.documents.fusion import fuse
from generalist.documents.scoring import rank
from generalist.documents.vectors import Vectors
from generalist.documents.words import FEEDBACK_DOCUMENTS, Words
from generalist.index.automaton import TextAutomaton
from generalist.index.segment import DOCUMENT
from generalist.types import GeneralistError

if TYPE_CHECKING:
    from generalist.documents.dense import Encoder

Write = Callable[[TextAutomaton, Sequence[Question], BeamOptions], list[Search]]
"""How identifiers are written: ``beam.write`` or ``sampled.write_with_engine`` with a model."""

_MOST = 1000
_DEPTH = 100
"""Of each ranking that is fused."""
_EVIDENCE = 8
"""Pieces of evidence of a hit, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """``mode``: of :data:`MODES`. ``feedback``: look for words again, with those of what was found first."""

    mode: str = "hybrid"
    most: int = 10
    feedback: bool = False
    beams: BeamOptions = field(default_factory=BeamOptions)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise GeneralistError(f"there is no mode {self.mode!r}; use one of {', '.join(MODES)}")
        if not 1 <= self.most <= _MOST:
            raise GeneralistError(f"{self.most} hits are asked for; use 1 to {_MOST}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Words of a hit that speak for it. ``span``: in characters of its text; None for words of its title."""

    text: str
    span: tuple[int, int] | None
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A document that was found, or a passage or sentence of it: then ``text`` is that."""

    document_id: str
    title: str
    score: float
    text: str
    evidence: tuple[Evidence, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        evidence = [
            {"text": one.text, "span": None if one.span is None else list(one.span), "score": round(one.score, 4)}
            for one in self.evidence
        ]
        return {
            "document_id": self.document_id,
            "title": self.title,
            "score": round(self.score, 6),
            "text": self.text,
            "evidence": evidence,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A place with its score; ``grams``: n-grams that speak for it, (begin, end, weight) in the stream."""

    place: Place
    score: float
    grams: tuple[tuple[int, int, float], ...] = ()


Ranking = list[Ranked]


class Searcher:
    """Searches one collection. ``write`` is needed for modes that generate, ``encoder`` for those with vectors."""

    def __init__(
        self, collection: Collection, write: Write | None = None, encoder: Callable[[], Encoder] | None = None
    ) -> None:
        self.collection = collection
        self._write, self._encoder = write, encoder
        self._words: Words | None = None
        self._vectors: Vectors | None = None
        self._numbers: list[Place] = list(collection.places.values())

    @property
    def words(self) -> Words:
        """The index of words, opened once; its documents are numbered as in the collection."""
        if self._words is None:
            manifest = self.collection.index.manifest
            if manifest.words is None:
                raise GeneralistError(f"{self.collection.index.folder}: there is no index of words; build it anew")
            self._words = Words.open(self.collection.index.folder / manifest.words.folder)
        return self._words

    @property
    def dense(self) -> bool:
        """Whether the index has vectors, and there is what makes those of questions."""
        return self._encoder is not None and self.collection.index.manifest.vectors is not None

    @property
    def encoder(self) -> Encoder:
        """What makes vectors of texts; :class:`GeneralistError` where there is none."""
        if self._encoder is None:
            raise GeneralistError("mode 'dense' needs a model, and there is none; use mode 'lexical'")
        return self._encoder()

    @property
    def vectors(self) -> Vectors:
        """Those of the documents, opened once; numbered as in the collection."""
        if self._vectors is None:
            part, folder = self.collection.index.manifest.vectors, self.collection.index.folder
            if part is None:
                raise GeneralistError(f"{folder}: this index has no vectors; make them with `generalist index train "
                                      f"{folder} --mode dense`")  # fmt: skip
            vectors = Vectors.open(folder / part.folder)
            if vectors.documents != len(self._numbers):
                raise GeneralistError(f"{folder}: the index is damaged (vectors are missing); build it anew")
            self._vectors = vectors
        return self._vectors

    def search(self, questions: Sequence[Question], options: SearchOptions) -> list[list[Hit]]:
        """Hits for each question, the best first; questions are worked on together.

        Raises :class:`GeneralistError` for a question that is empty or that this mode cannot answer.
        """
        return [
            [self._hit(question, ranked) for ranked in ranking]
            for question, ranking in zip(questions, self.rank(questions, options), strict=True)
        ]

    def rank(self, questions: Sequence[Question], options: SearchOptions) -> list[Ranking]:
        """As :meth:`search`, without the text of anything."""
        check_questions(questions)
        if options.mode != "generative":
            other = next((q.granularity for q in questions if q.granularity != "document"), None)
            if other is not None:
                raise GeneralistError(f"mode {options.mode!r} finds whole documents; use generative for {other!r}")
        try:
            rankings = MODES[options.mode](self, questions, options)
        except (IndexError, ValueError) as error:
            if isinstance(error, GeneralistError):
                raise
            folder = self.collection.index.folder
            raise GeneralistError(f"{folder}: the index is damaged; see `generalist index check {folder}`") from error
        return [ranking[: options.most] for ranking in rankings]

    # --- modes ---

    def lexical(self, questions: Sequence[Question], options: SearchOptions) -> list[Ranking]:
        """By words: BM25, with ``feedback`` twice."""
        texts, most = [question.text for question in questions], max(options.most, FEEDBACK_DOCUMENTS)
        found = self.words.search(texts, most)
        if options.feedback:
            first = [[self._all_text(number) for number, _ in one[:FEEDBACK_DOCUMENTS]] for one in found]
            found = self.words.search_again(texts, first, most)
        return [[Ranked(place=self._numbers[number], score=score) for number, score in one] for one in found]

    def generative(self, questions: Sequence[Question], options: SearchOptions) -> list[Ranking]:
        """By identifiers that the model writes."""
        if self._write is None:
            raise GeneralistError(f"mode {options.mode!r} needs a model, and there is none; use mode 'lexical'")
        rankings: list[Ranking] = [[] for _ in questions]
        for granularity in dict.fromkeys(question.granularity for question in questions):
            rows = [row for row, question in enumerate(questions) if question.granularity == granularity]
            automaton = self._automaton(granularity)
            written = self._write(automaton, [questions[row] for row in rows], options.beams)
            for row, search in zip(rows, written, strict=True):
                mark = MARKS_OF.get(granularity, DOCUMENT)
                found = rank(search, self.collection, automaton, mark=mark, most=options.most)
                rankings[row] = [Ranked(place=one.place, score=one.score, grams=one.evidence) for one in found]
        return rankings

    def by_vectors(self, questions: Sequence[Question], options: SearchOptions) -> list[Ranking]:
        """By the vector of the question's text."""
        if any(question.images or question.visual_prompts for question in questions):
            raise GeneralistError("vectors are made of words, and the question has an image; use mode 'generative'")
        vectors = self.vectors
        if not questions:
            return []
        found = vectors.search(self.encoder.embed([question.text for question in questions]), options.most)
        return [[Ranked(place=self._numbers[number], score=score) for number, score in one] for one in found]

    def hybrid(self, questions: Sequence[Question], options: SearchOptions) -> list[Ranking]:
        """By words, vectors and identifiers, fused by rank.

        Vectors and identifiers count as far as they have proved right on this index (its ``dense_trust`` and
        ``trust``), so that a model that knows nothing of the collection does no harm: it is not even asked. About a
        picture, or where no document has a word of the question, words say nothing, and all count alike.
        """
        deep = replace(options, most=max(_DEPTH, options.most))
        manifest = self.collection.index.manifest
        by_words = self.lexical(questions, deep)
        lost = [bool(question.images) or not found for question, found in zip(questions, by_words, strict=True)]
        rankings, weights = [by_words], [[1.0] * len(questions)]
        if self.dense:
            weights.append([
                0.0 if question.images else 1.0 if alone else manifest.dense_trust
                for question, alone in zip(questions, lost, strict=True)
            ])  # fmt: skip
            rankings.append(self._where(weights[-1], self.by_vectors, questions, deep))
        weights.append([1.0 if alone else manifest.trust for alone in lost])
        rankings.append(self._where(weights[-1], self.generative, questions, deep))
        return [
            _fused(found, weight)
            for found, weight in zip(zip(*rankings, strict=True), zip(*weights, strict=True), strict=True)
        ]

    def _where(
        self,
        weights: Sequence[float],
        rank: Callable[[Sequence[Question], SearchOptions], list[Ranking]],
        questions: Sequence[Question],
        options: SearchOptions,
    ) -> list[Ranking]:
        """The rankings of those questions for which they count; nothing for the others."""
        asked = [row for row, weight in enumerate(weights) if weight]
        found = dict(zip(asked, rank([questions[row] for row in asked], options) if asked else [], strict=True))
        return [found.get(row, []) for row in range(len(questions))]

    # --- hits ---

    def _automaton(self, granularity: Granularity) -> TextAutomaton:
        if granularity != "entity":
            return self.collection.automaton("ngrams")
        automaton = self.collection.automaton("titles")
        if not len(automaton.following(automaton.root).tokens):
            raise GeneralistError(f"{self.collection.index.folder}: no document has a title; ask for documents instead")
        return automaton

    def _all_text(self, number: int) -> str:
        place = self._numbers[number]
        return f"{self.collection.title(place)}\n{self.collection.text(place)}"

    def _hit(self, question: Question, ranked: Ranked) -> Hit:
        text = self.collection.text(ranked.place)
        evidence = [self._evidence(ranked.place, *gram, text=text) for gram in ranked.grams[:_EVIDENCE]]
        if not evidence:
            spans = self.words.matches(question.text, text)[:_EVIDENCE]
            evidence = [Evidence(text=text[a:b], span=(a, b), score=weight) for a, b, weight in spans]
        return Hit(
            document_id=self.collection.id_of(ranked.place),
            title=self.collection.title(ranked.place),
            score=ranked.score,
            text=text,
            evidence=tuple(evidence),
        )

    def _evidence(self, place: Place, begin: int, end: int, weight: float, *, text: str) -> Evidence:
        span = self.collection.span(place, begin, end)
        if span is None:
            tokens = np.asarray(self.collection.segment_of(place).tokens[begin:end], np.int64)
            return Evidence(text=self.collection.decode(tokens), span=None, score=weight)
        return Evidence(text=text[span[0] : span[1]], span=span, score=weight)


def _fused(rankings: Sequence[Ranking], weights: Sequence[float]) -> Ranking:
    grams = {one.place: one.grams for ranking in rankings for one in ranking if one.grams}
    fused = fuse([[one.place for one in ranking] for ranking in rankings], weights)
    return [Ranked(place=place, score=score, grams=grams.get(place, ())) for place, score in fused]


MODES: dict[str, Callable[[Searcher, Sequence[Question], SearchOptions], list[Ranking]]] = {
    "generative": Searcher.generative,
    "lexical": Searcher.lexical,
    "dense": Searcher.by_vectors,
    "hybrid": Searcher.hybrid,
}
"""How to search, by name."""
