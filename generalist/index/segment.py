"""One segment of an index: the tokens of some documents as one stream, and its suffixes in order.

The stream is, for every document::

    DOCUMENT title  PASSAGE sentence  SENTENCE sentence ...  PASSAGE sentence ...

and one more DOCUMENT behind the last. Marks are ids behind the vocabulary's V tokens, so they are sorted last and no
identifier can hold one. What begins with the same tokens stands together in the suffix array: the places of a
sequence are one range of it, its continuations are the runs within that range, and the titles are what follows
DOCUMENT. Shapes: n tokens, m suffixes, D documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from generalist.types import GeneralistError

Int64s = npt.NDArray[np.int64]
Tokens = npt.NDArray[Any]
"""uint16 or int32, whichever holds the vocabulary and the marks."""

DOCUMENT, PASSAGE, SENTENCE = 0, 1, 2
"""Marks, counted from the end of the vocabulary."""
MARKS = 3

MOST_TOKENS = 2**31 - 2
"""Of one segment: places are int32."""

_READ_WHOLE = 2048
"""Ranges up to this size are read; in larger ones the ends of runs are searched for."""
_PARTS = 8
"""Into how many a stretch between two different tokens is cut at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Documents before they are sorted: their tokens without the last mark, where each begins, and their ids."""

    tokens: Tokens
    starts: Int64s
    ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """Sorted documents.

    ``tokens`` [n + 1], a DOCUMENT mark at the end; ``suffixes`` int32 [m], places in the order of what follows them;
    ``first`` int64 [V + MARKS + 1], where in ``suffixes`` those that begin with a token begin; ``starts`` int64 [D];
    the id of document d is the UTF-8 of ``names[name_ends[d - 1]:name_ends[d]]``.
    """

    tokens: Tokens
    suffixes: npt.NDArray[np.int32]
    first: Int64s
    starts: Int64s
    names: npt.NDArray[np.uint8]
    name_ends: Int64s
    _units: dict[int, Int64s] = field(default_factory=dict, repr=False)

    @property
    def vocabulary_size(self) -> int:
        """V: the marks begin here."""
        return len(self.first) - 1 - MARKS

    @property
    def documents(self) -> int:
        return len(self.starts)

    def check(self) -> None:
        """ValueError unless the arrays fit together; reads the small ones only."""
        n, m = len(self.tokens) - 1, len(self.suffixes)
        if self.tokens.dtype not in (np.uint16, np.int32) or self.suffixes.dtype != np.int32:
            raise ValueError("its arrays have other types")
        if m != n or len(self.first) <= MARKS or self.first[0] != 0 or self.first[-1] != m:
            raise ValueError("its arrays do not fit together")
        if (np.diff(self.first) < 0).any() or len(self.starts) != len(self.name_ends):
            raise ValueError("its tables are out of order")
        if len(self.starts) and (self.starts[0] != 0 or self.starts[-1] >= n or (np.diff(self.starts) <= 0).any()):
            raise ValueError("its documents lie outside the text")
        ends = np.concatenate([[0], self.name_ends])
        if ends[-1] != len(self.names) or (np.diff(ends) < 0).any():
            raise ValueError("its ids do not fit together")

    # --- continuations ---

    def children(self, low: int, high: int, depth: int) -> tuple[Int64s, Int64s]:
        """What follows ``depth`` tokens that the suffixes ``low:high`` share.

        Tokens ascending [k], marks included, and bounds [k + 1]: child i is ``bounds[i]:bounds[i + 1]``.
        """
        if depth == 0:
            tokens = np.flatnonzero(np.diff(self.first))
            return tokens, np.append(self.first[tokens], high)
        if high <= low:
            return np.empty(0, np.int64), np.array([low])
        cuts = self._cuts(low, high, depth)
        bounds = np.concatenate([[low], cuts, [high]])
        return self._at(bounds[:-1], depth).astype(np.int64), bounds

    def _at(self, ranks: Int64s, depth: int) -> Tokens:
        """The token ``depth`` behind the beginning of each suffix."""
        return self.tokens[self.suffixes[ranks].astype(np.int64) + depth]

    def _cuts(self, low: int, high: int, depth: int) -> Int64s:
        """Where within ``low:high`` the token at ``depth`` changes."""
        if high - low <= _READ_WHOLE:
            following = self.tokens[self.suffixes[low:high].astype(np.int64) + depth]
            return low + 1 + np.flatnonzero(following[1:] != following[:-1])
        left, right = np.array([low]), np.array([high - 1])
        found: list[Int64s] = []
        while len(left):
            grid = left[:, None] + (right - left)[:, None] * np.arange(_PARTS + 1) // _PARTS
            tokens = self._at(grid, depth)
            differs = tokens[:, 1:] != tokens[:, :-1]
            begins, ends = grid[:, :-1][differs], grid[:, 1:][differs]
            found.append(ends[ends - begins == 1])
            left, right = begins[ends - begins > 1], ends[ends - begins > 1]
        return np.sort(np.concatenate(found))

    # --- places ---

    def places(self, low: int, high: int) -> Int64s:
        """Where in the stream the suffixes ``low:high`` begin, ascending."""
        return np.sort(self.suffixes[low:high].astype(np.int64))

    def units(self, mark: int) -> Int64s:
        """Where documents (their marks), passages, or sentences (every PASSAGE and SENTENCE mark) begin, ascending."""
        if mark == DOCUMENT:
            return self.starts
        if mark not in self._units:
            v = self.vocabulary_size
            marks = (PASSAGE,) if mark == PASSAGE else (PASSAGE, SENTENCE)
            found = [self.suffixes[self.first[v + k] : self.first[v + k + 1]] for k in marks]
            self._units[mark] = np.sort(np.concatenate(found).astype(np.int64))
        return self._units[mark]

    def end_of(self, place: int, mark: int) -> int:
        """Where the document, passage or sentence that begins at ``place`` ends."""
        ends = [self.starts, *([] if mark == DOCUMENT else [self.units(mark)])]
        after = [int(one[k]) for one in ends if (k := int(np.searchsorted(one, place, "right"))) < len(one)]
        return min(after, default=len(self.tokens) - 1)

    def document_id(self, document: int) -> str:
        begin = int(self.name_ends[document - 1]) if document else 0
        return self.names[begin : int(self.name_ends[document])].tobytes().decode("utf-8", "replace")

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The id of every document."""
        return tuple(self.some_ids())

    def some_ids(self) -> Iterator[str]:
        """Ids one by one, for whoever wants but a few."""
        return (self.document_id(document) for document in range(self.documents))


# --- making --------------------------------------------------------------------------------------------


def make_segment(stream: Stream, vocabulary_size: int) -> Segment:
    """Sort a stream; :class:`GeneralistError` for one that is empty or too long for places of 32 bits."""
    n = len(stream.tokens)
    if not n:
        raise GeneralistError("there are 0 documents; give at least one")
    if n > MOST_TOKENS:
        raise GeneralistError(f"the text has {n:,} tokens; add it in parts of at most {MOST_TOKENS:,}")
    from pydivsufsort import divsufsort

    marked = np.append(stream.tokens, np.asarray([vocabulary_size + DOCUMENT], stream.tokens.dtype))
    suffixes = np.asarray(divsufsort(marked), np.int32)
    return _segment(marked, suffixes[suffixes < n], stream.starts, stream.ids, vocabulary_size)


def token_type(vocabulary_size: int) -> type[np.uint16] | type[np.int32]:
    """The narrowest type of tokens and marks."""
    return np.uint16 if vocabulary_size + MARKS <= 2**16 else np.int32


def without_documents(segment: Segment, numbers: Sequence[int]) -> Segment | None:
    """``segment`` without some of its documents; None when nothing is left.

    The order of what stays is kept rather than found anew: two suffixes compare alike up to the next mark, and
    nobody looks behind it.
    """
    stays = np.ones(segment.documents, bool)
    stays[list(numbers)] = False
    if not stays.any():
        return None
    n = len(segment.tokens) - 1
    lengths = np.diff(np.append(segment.starts, n))
    kept = np.repeat(stays, lengths)
    places = np.cumsum(kept, dtype=np.int64) - 1
    suffixes = places[segment.suffixes[kept[segment.suffixes]]].astype(np.int32)
    tokens = np.append(segment.tokens[:n][kept], segment.tokens[n:])
    starts = places[segment.starts[stays]]
    ids = tuple(id for id, stay in zip(segment.ids, stays, strict=True) if stay)
    return _segment(tokens, suffixes, starts, ids, segment.vocabulary_size)


def merge(segments: Sequence[Segment]) -> Segment:
    """One segment of the documents of several, in order."""
    offsets = np.cumsum([0, *(len(one.tokens) - 1 for one in segments)])
    stream = Stream(
        tokens=np.concatenate([one.tokens[:-1] for one in segments]),
        starts=np.concatenate([one.starts + offset for one, offset in zip(segments, offsets, strict=False)]),
        ids=tuple(id for one in segments for id in one.ids),
    )
    return make_segment(stream, segments[0].vocabulary_size)


def _segment(
    tokens: Tokens, suffixes: npt.NDArray[np.int32], starts: Int64s, ids: Sequence[str], vocabulary_size: int
) -> Segment:
    counts = np.bincount(tokens[:-1], minlength=vocabulary_size + MARKS)
    names = [id.encode() for id in ids]
    return Segment(
        tokens=tokens,
        suffixes=suffixes,
        first=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        starts=starts.astype(np.int64),
        names=np.frombuffer(b"".join(names), np.uint8),
        name_ends=np.cumsum([len(name) for name in names], dtype=np.int64),
    )
