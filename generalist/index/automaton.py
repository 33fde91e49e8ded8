"""Which tokens may come next in text that a collection holds: the automaton of all its n-grams, or of its titles.

A state is a whole number that holds the range of suffixes in every segment and how many tokens they share; so states
need no table, and the same text is the same state in every process. An n-gram stays within one sentence or title and
may end anywhere (the identifiers of SEAL: Bevilacqua et al. 2022); a title is written from its beginning to its end.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from generalist.index.segment import DOCUMENT, Int64s, Segment

Int32s = npt.NDArray[np.int32]
What = Literal["ngrams", "titles"]
Ranges = tuple[tuple[int, int], ...]
"""(low, high) in the suffixes of every segment."""

OUTSIDE, DEAD = -1, -2
_NOTHING: Int32s = np.empty(0, np.int32)
_KEPT = 16_384
"""States whose continuations are kept; most have a few."""


@dataclass(frozen=True, slots=True, eq=False)
class Following:
    """What follows a state: tokens ascending, and for each segment its own tokens and bounds [k + 1]."""

    tokens: Int32s
    ends: bool
    """Whether an identifier may end here."""
    parts: tuple[tuple[Int64s, Int64s], ...]


class TextAutomaton:
    """Follows the text of ``segments``, all of one vocabulary.

    As a reply's automaton (``generalist.identifiers``) it lets anything be written outside of ``open`` ... ``close``,
    the ids of ``<doc>`` and ``</doc>``; a base that has no such tokens uses :attr:`root`, :meth:`following` and
    :meth:`step` alone. Safe to share between threads.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        *,
        vocab_hash: str,
        open: int | None = None,
        close: int | None = None,
        what: What = "ngrams",
    ) -> None:
        self.vocab_hash, self.what = vocab_hash, what
        self.open, self.close = open, close
        self._segments = tuple(segments)
        self._size = self._segments[0].vocabulary_size if self._segments else 0
        self._struct = struct.Struct(f"<{1 + 2 * len(self._segments)}I")
        self.root = self._root()
        self.following = lru_cache(maxsize=_KEPT)(self._following)
        self._allowed = lru_cache(maxsize=_KEPT)(self._with_close)

    # --- within an identifier ---

    def _following(self, state: int) -> Following:
        """What may follow; cached as :attr:`following`."""
        depth, ranges = self.ranges(state)
        parts: list[tuple[Int64s, Int64s]] = []
        marked = False
        for segment, (low, high) in zip(self._segments, ranges, strict=True):
            tokens, bounds = segment.children(low, high, depth)
            text = int(np.searchsorted(tokens, self._size))
            marked |= text < len(tokens)
            parts.append((tokens[:text], bounds[: text + 1]))
        union = parts[0][0] if len(parts) == 1 else np.unique(np.concatenate([tokens for tokens, _ in parts]))
        ends = depth > 1 and marked if self.what == "titles" else depth > 0
        return Following(union.astype(np.int32), ends, tuple(parts))

    def step(self, state: int, token: int) -> int:
        """The state behind ``token``; :data:`DEAD` where it does not follow."""
        values = [self.ranges(state)[0] + 1]
        alive = False
        for tokens, bounds in self.following(state).parts:
            at = int(tokens.searchsorted(token))
            found = at < len(tokens) and tokens[at] == token
            values += (int(bounds[at]), int(bounds[at + 1])) if found else (0, 0)
            alive |= found
        return self._pack(values) if alive else DEAD

    def ranges(self, state: int) -> tuple[int, Ranges]:
        """How many tokens the suffixes of a state share, and which they are in every segment."""
        depth, *values = self._struct.unpack(state.to_bytes(self._struct.size, "little"))
        return depth, tuple(zip(values[::2], values[1::2], strict=True))

    def count(self, state: int) -> int:
        """How often the text of a state occurs."""
        return sum(high - low for low, high in self.ranges(state)[1])

    def find(self, tokens: Sequence[int]) -> int:
        """The state behind ``tokens``; :data:`DEAD` where the collection does not hold them."""
        state = self.root
        for token in tokens:
            if (state := self.step(state, token)) == DEAD:
                break
        return state

    # --- within a reply ---
    #
    # An index whose files were damaged since they were made ends the text that is written, never the engine, which
    # may be writing others.

    def start(self) -> int:
        return OUTSIDE

    def advance(self, state: int, token: int) -> int:
        if state == OUTSIDE:
            return self.root if token == self.open else OUTSIDE
        if state == DEAD:
            return DEAD
        try:
            if token == self.close:
                return OUTSIDE if self.following(state).ends else DEAD
            return self.step(state, token)
        except IndexError:
            return DEAD

    def allowed(self, state: int) -> Int32s | None:
        if state == OUTSIDE:
            return None
        try:
            return _NOTHING if state == DEAD else self._allowed(state)
        except IndexError:
            return _NOTHING

    def _with_close(self, state: int) -> Int32s:
        found = self.following(state)
        tokens = found.tokens[(found.tokens >= 0) & (found.tokens < self._size)]
        if not found.ends or self.close is None:
            return tokens
        return np.insert(tokens, int(tokens.searchsorted(self.close)), self.close)

    # --- states ---

    def _root(self) -> int:
        if self.what == "ngrams":
            return self._pack([0, *(k for one in self._segments for k in (0, len(one.suffixes)))])
        mark = self._size + DOCUMENT
        return self._pack([1, *(int(one.first[mark + k]) for one in self._segments for k in (0, 1))])

    def _pack(self, values: Sequence[int]) -> int:
        return int.from_bytes(self._struct.pack(*values), "little")
