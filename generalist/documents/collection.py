"""The documents of an index as text again: what its tokens say.

Text is kept as tokens only. White space within a passage is single spaces, and a blank line parts passages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from generalist.documents.bases import load_tokenizer
from generalist.index.automaton import TextAutomaton, What
from generalist.index.segment import DOCUMENT, PASSAGE, SENTENCE, Int64s, Segment
from generalist.index.store import Index, open_index
from generalist.types import GeneralistError

PASSAGE_BREAK, SENTENCE_BREAK = "\n\n", " "


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A document, passage or sentence: the ``segment`` it is in, and where in its stream it begins and ends."""

    segment: int
    begin: int
    end: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Collection:
    """An open index with its tokenizer. Make one with :meth:`open`."""

    index: Index
    _automata: dict[What, TextAutomaton] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, folder: str | Path) -> Collection:
        """Raises :class:`GeneralistError` for what is no sound index."""
        return cls(index=open_index(folder))

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.index.folder / self.index.manifest.tokenizer.folder)

    def automaton(self, what: What = "ngrams") -> TextAutomaton:
        """That of the index, made once."""
        if what not in self._automata:
            self._automata[what] = self.index.automaton(what)
        return self._automata[what]

    # --- documents ---

    def segment_of(self, place: Place) -> Segment:
        return self.index.segments[place.segment]

    def document_of(self, segment: int, position: int) -> Place:
        """The document that holds a position of a segment's stream."""
        starts = self.index.segments[segment].starts
        return self.place_at(segment, int(starts[int(np.searchsorted(starts, position, "right")) - 1]), DOCUMENT)

    def place_at(self, segment: int, begin: int, mark: int) -> Place:
        """The passage or sentence that begins at ``begin``, as ``mark`` says; the document, where one begins there."""
        one = self.index.segments[segment]
        is_document = int(one.tokens[begin]) == one.vocabulary_size + DOCUMENT
        return Place(segment=segment, begin=begin, end=one.end_of(begin, DOCUMENT if is_document else mark))

    def id_of(self, place: Place) -> str:
        one = self.index.segments[place.segment]
        return one.document_id(int(np.searchsorted(one.starts, place.begin, "right")) - 1)

    @cached_property
    def places(self) -> dict[str, Place]:
        """Every document by its id, in order."""
        found: dict[str, Place] = {}
        for number, segment in enumerate(self.index.segments):
            ends = np.append(segment.starts[1:], len(segment.tokens) - 1).tolist()
            for id, begin, end in zip(segment.ids, segment.starts.tolist(), ends, strict=True):
                found[id] = Place(segment=number, begin=begin, end=end)
        return found

    def place(self, id: str) -> Place:
        """Where a document is; :class:`GeneralistError` when there is none of this id."""
        if id not in self.places:
            raise GeneralistError(f"{self.index.folder}: there is no document {id[:200]!r}; `generalist index info` "
                                  "shows the first ids")  # fmt: skip
        return self.places[id]

    # --- text ---

    def tokens(self, place: Place) -> Int64s:
        """The stream between two positions, marks included."""
        return np.asarray(self.segment_of(place).tokens[place.begin : place.end], np.int64)

    def title(self, place: Place) -> str:
        """The title of the document that a place is in."""
        document = self.document_of(place.segment, place.begin)
        tokens = self.tokens(document)
        marks = np.flatnonzero(tokens >= self.index.base.vocabulary_size)
        return self.decode(tokens[1 : marks[1] if len(marks) > 1 else len(tokens)])

    def text(self, place: Place) -> str:
        """What a place says, the title of a document left out."""
        tokens = self.tokens(place)
        return "".join(gap + self.decode(tokens[begin:end]) for begin, end, gap in self._sentences(tokens))

    def span(self, place: Place, begin: int, end: int) -> tuple[int, int] | None:
        """Where in :meth:`text` the tokens from position ``begin`` to ``end`` are written; None for those of a title.

        In characters, without the space before a word. They must lie within one sentence.
        """
        tokens, begin, end = self.tokens(place), begin - place.begin, end - place.begin
        before = [sentence for sentence in self._sentences(tokens) if sentence[0] <= begin]
        if not before:
            return None
        first, _, gap = before.pop()
        offset = sum(len(gap) + len(self.decode(tokens[a:b])) for a, b, gap in before) + len(gap)
        start = offset + len(self.decode(tokens[first:begin], strip=False).lstrip(" "))
        stop = offset + len(self.decode(tokens[first:end], strip=False).lstrip(" "))
        written = self.text(place)[start:stop]
        return start + len(written) - len(written.lstrip(" ")), stop

    def texts(self) -> Iterator[tuple[str, str]]:
        """Title and text of every document, in order."""
        for number, segment in enumerate(self.index.segments):
            ends = np.append(segment.starts[1:], len(segment.tokens) - 1).tolist()
            for begin, end in zip(segment.starts.tolist(), ends, strict=True):
                place = Place(segment=number, begin=begin, end=end)
                yield self.title(place), self.text(place)

    def _sentences(self, tokens: Int64s) -> list[tuple[int, int, str]]:
        """Where each sentence of a stream begins and ends, and what is written before it; a title is left out."""
        size = self.index.base.vocabulary_size
        marks = np.flatnonzero(tokens >= size)
        ends = np.append(marks[1:], len(tokens))
        found = [
            (at + 1, end, SENTENCE_BREAK if tokens[at] == size + SENTENCE else PASSAGE_BREAK)
            for at, end in zip(marks.tolist(), ends.tolist(), strict=True)
            if tokens[at] != size + DOCUMENT
        ]
        return [(begin, end, gap if number else "") for number, (begin, end, gap) in enumerate(found)]

    def decode(self, tokens: Int64s, *, strip: bool = True) -> str:
        """The text of tokens without marks, by default without the spaces around it."""
        text = str(self.tokenizer.decode(tokens.tolist(), skip_special_tokens=True))
        return text.strip(" ") if strip else text


MARKS_OF = {"document": DOCUMENT, "passage": PASSAGE, "sentence": SENTENCE}
"""What a hit is -> the mark that it begins with."""
