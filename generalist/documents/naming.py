"""An index in a conversation: which document a reply names by the identifier that it writes in ``<doc>``.

An identifier is a title where every document has one of its own, as in GENRE (De Cao et al. 2021, "Autoregressive
entity retrieval"); otherwise it is an n-gram of the text, as in SEAL (Bevilacqua et al. 2022), and of the documents
that hold it the one is meant that holds most of what the reply writes beside it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from generalist.documents.collection import Collection, Place
from generalist.identifiers import TITLES
from generalist.index import MANIFEST
from generalist.index.automaton import DEAD, TextAutomaton, What
from generalist.index.segment import DOCUMENT
from generalist.index.store import Base
from generalist.types import DocHit, GeneralistError, Ref

MOST_PLACES = 1000
"""Of an n-gram, in a segment: one that stands in more tells no documents apart."""

_Document = tuple[int, int]
"""Its segment, and where in the stream of that it begins."""


class DocumentIndex:
    """An open index whose documents replies may name (``ChatRequest.index``). Safe to share between threads.

    When another process changes the index, the next request sees it; what was deleted while a reply was being written
    is not drawn. Make one with :meth:`open`.
    """

    kind: ClassVar[Literal["doc"]] = "doc"

    def __init__(self, folder: Path, opened: _Opened) -> None:
        self.folder = folder
        self._opened = opened

    @classmethod
    def open(cls, folder: str | Path) -> DocumentIndex:
        """Map an index into memory; :class:`GeneralistError` for one that is unsound or names nothing in replies."""
        return cls(Path(folder), _open(Path(folder)))

    @property
    def base(self) -> Base:
        """Whose tokens the identifiers are in."""
        return self._opened.collection.index.base

    @property
    def vocab_hash(self) -> str:
        return self.base.vocab_hash

    @property
    def identifiers(self) -> str:
        """The whole path of the index, for ``Constraint.identifiers``; looked at anew when it has changed."""
        self._look()
        path = os.path.abspath(self.folder)  # whoever follows it may be a process that stands elsewhere
        return f"{path}{TITLES}" if self._opened.automaton.what == "titles" else path

    def decode(self, refs: Sequence[Ref], image_hw: tuple[int, int]) -> list[DocHit | None]:
        """The document of each ref, whose codes are text tokens; None for what is no identifier. Never raises."""
        with suppress(GeneralistError):  # then what was open before says what was meant
            self._look()
        opened = self._opened
        found = [opened.find(ref.codes) for ref in refs]
        votes = Counter(document for places in found for document in places)
        return [opened.hit(places, votes, len(ref.codes)) for ref, places in zip(refs, found, strict=True)]

    def _look(self) -> None:
        if _stamp(self.folder) != self._opened.stamp:
            self._opened = _open(self.folder)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Opened:
    """An index as it was at one time; ``stamp`` says at which."""

    stamp: tuple[int, int]
    collection: Collection
    automaton: TextAutomaton

    def find(self, tokens: Sequence[int]) -> dict[_Document, int]:
        """Documents that an identifier may mean, each with the place of it in the stream; in order."""
        found: dict[_Document, int] = {}
        # Sizes are looked at when an index is opened, not every byte: one that was damaged since must not end a reply.
        with suppress(IndexError, ValueError, OverflowError):
            for number, begin in self._places(tokens):
                found.setdefault((number, self.collection.document_of(number, begin).begin), begin)
        return found

    def hit(self, places: dict[_Document, int], votes: Counter[_Document], length: int) -> DocHit | None:
        """The one with the most votes, then the first, of documents that hold an identifier of ``length`` tokens."""
        if not places:
            return None
        with suppress(IndexError, ValueError, OverflowError):
            segment, begin = chosen = max(places, key=lambda document: votes[document])
            collection = self.collection
            place = collection.place_at(segment, begin, DOCUMENT)
            return DocHit(
                doc_id=collection.id_of(place),
                title=collection.title(place),
                text=collection.text(place),
                evidence=self._evidence(place, places[chosen], length),
            )
        return None

    def _evidence(self, place: Place, begin: int, length: int) -> tuple[int, int] | None:
        found = None if self.automaton.what == "titles" else self.collection.span(place, begin, begin + length)
        return None if found is None else (found[0], max(found[1], found[0] + 1))  # a token may be part of a letter

    def _places(self, tokens: Sequence[int]) -> Iterator[tuple[int, int]]:
        """(segment, position) of an identifier, in order; nothing for what is none."""
        state = self.automaton.find(tokens)
        if state == DEAD or not self.automaton.following(state).ends:
            return
        parts = self.automaton.following(state).parts
        for number, (low, high) in enumerate(self.automaton.ranges(state)[1]):
            # Behind titles that go on is the one that ends here.
            begin = int(parts[number][1][-1]) if self.automaton.what == "titles" else low
            if 0 < high - begin <= MOST_PLACES:
                yield from ((number, int(one)) for one in self.collection.index.segments[number].places(begin, high))


def _stamp(folder: Path) -> tuple[int, int]:
    """What differs when an index has changed; (0, 0) when it is gone."""
    try:
        found = (folder / MANIFEST).stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _open(folder: Path) -> _Opened:
    stamp = _stamp(folder)  # before it is read: a change in between is then seen the next time
    try:
        return _opened(stamp, Collection.open(folder))
    except (IndexError, OverflowError) as error:
        raise GeneralistError(f"{folder}: the index is damaged; see `generalist index check {folder}`") from error


def _opened(stamp: tuple[int, int], collection: Collection) -> _Opened:
    folder = collection.index.folder
    if collection.index.base.open is None:
        raise GeneralistError(
            f"{folder}: this index is in the tokens of {collection.index.base.name}, which cannot write <doc>; "
            "build it with --base nano or another checkpoint of this kind"
        )
    what: What = "titles" if _has_own_titles(collection) else "ngrams"
    automaton = collection.automaton(what)
    if not len(automaton.following(automaton.root).tokens):
        raise GeneralistError(f"{folder}: its documents have no words; build it from documents that say something")
    collection.decode(np.empty(0, np.int64))  # reads the tokenizer, which may be gone when a reply ends
    return _Opened(stamp=stamp, collection=collection, automaton=automaton)


def _has_own_titles(collection: Collection) -> bool:
    """Whether every document has a title, and no two the same."""
    seen: set[bytes] = set()
    for segment in collection.index.segments:
        marks = np.flatnonzero(segment.tokens >= segment.vocabulary_size)
        ends = marks[np.searchsorted(marks, segment.starts, "right").clip(max=len(marks) - 1)]
        for begin, end in zip((segment.starts + 1).tolist(), ends.tolist(), strict=True):
            title = segment.tokens[begin:end].tobytes()
            if not title or title in seen:
                return False
            seen.add(title)
    return True
