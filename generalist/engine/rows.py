"""One reply under way: what it has said, and what its grammar lets it say next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from generalist.identifiers import Automaton, Int32s
from generalist.types import Likeliest

if TYPE_CHECKING:
    from xgrammar import GrammarMatcher


class Row:
    """A reply under way.

    ``forced`` is the only token that the grammar allows next, or None when there is a choice. With a ``script`` (tokens
    and their log-probabilities) just that is said.
    ``candidates`` are the ids that ``identifiers`` allow next, None where they allow all.
    ``finish_reason`` stays None until an end token (``eos`` or one of ``ends``) or the last of ``budget`` tokens is
    taken, or the grammar allows nothing more. ``top``: the likeliest tokens of every step, with ``keeps_top``.
    """

    def __init__(
        self,
        slot: int,
        allowed: Allowed,
        matcher: GrammarMatcher | None,
        *,
        eos: int,
        ends: Collection[int] = (),
        budget: int,
        identifiers: Automaton | None = None,
        keeps_top: bool = False,
        script: Sequence[tuple[int, float]] | None = None,
    ) -> None:
        self.slot = slot
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.top: list[Likeliest] = []
        self.forced: int | None = None
        self.candidates: Int32s | None = None
        self.finish_reason: Literal["stop", "length"] | None = None
        self._read = 0
        self._allowed = allowed
        self._matcher = matcher
        self._eos = eos
        self._ends = {eos, *ends}
        self._budget = budget
        self._keeps_top = keeps_top
        self._script = script
        self._identifiers = identifiers
        self._state = 0 if identifiers is None else identifiers.start()
        self._look()

    def take(self, token: int, logprob: float, top: Likeliest | None = None) -> bool:
        """Say ``token``; False for an end token, which is not part of the reply. ``top`` is by default it alone."""
        if token in self._ends:
            self.finish_reason = "stop"
            return False
        self.ids.append(token)
        self.logprobs.append(logprob)
        if self._keeps_top:
            self.top.append(((token, logprob),) if top is None else top)
        if self._matcher is not None and not self._matcher.accept_token(token):
            raise RuntimeError(f"internal error: the grammar refused token {token}, which it had allowed")
        if self._identifiers is not None:
            self._state = self._identifiers.advance(self._state, token)
        if len(self.ids) == self._budget:
            self.finish_reason = "length"
        else:
            self._look()
        return True

    @property
    def has_script(self) -> bool:
        return self._script is not None

    @property
    def due(self) -> tuple[int, float] | None:
        """The next token and its log-probability, where the model has no say."""
        if self._script is not None:
            said = len(self.ids)
            return self._script[said] if said < len(self._script) else (self._eos, 0.0)
        return None if self.forced is None else (self.forced, 0.0)

    def unread(self) -> list[int]:
        """The tokens said since the last call: what the model has yet to read."""
        new = self.ids[self._read :]
        self._read = len(self.ids)
        return new

    @property
    def allowed(self) -> Tensor:
        """What may come next, one bit a token: int32[W]."""
        return self._allowed.bits[self.slot]

    def _look(self) -> None:
        if self._identifiers is not None:
            self.candidates = self._identifiers.allowed(self._state)
        if self._matcher is None:
            return
        self._allowed.fill(self.slot, self._matcher)
        count = self._allowed.count(self.slot)
        if count == 0:  # a grammar of the caller's may lead to where no token of the vocabulary can follow
            self.finish_reason = "stop"
            return
        # Where identifiers have a say, what the grammar would force may not exist.
        self.forced = self._allowed.first(self.slot) if count == 1 and self.candidates is None else None


class Allowed:
    """Which tokens each row may say next: ``bits`` int32[R, W], W = ceil(V / 32), on the CPU.

    A row without a grammar may say every token of the vocabulary, but not the rows of the embedding
    that a model has beyond it.
    """

    def __init__(self, rows: int, vocabulary_size: int) -> None:
        words, rest = divmod(vocabulary_size, 32)
        every = [2**32 - 1] * words + [2**rest - 1] * (rest > 0)
        self._every = np.array(every, dtype=np.uint32)
        self._words = np.tile(self._every, (rows, 1))
        self.bits: Tensor = torch.from_numpy(self._words.view(np.int32))

    def fill(self, slot: int, matcher: GrammarMatcher) -> None:
        """Ask the grammar of a row."""
        matcher.fill_next_token_bitmask(self.bits, slot)
        self._words[slot] &= self._every

    def count(self, slot: int) -> int:
        return int(np.bitwise_count(self._words[slot]).sum())

    def first(self, slot: int) -> int:
        """The lowest allowed token."""
        word = int(np.flatnonzero(self._words[slot])[0])
        value = int(self._words[slot, word])
        return 32 * word + (value & -value).bit_length() - 1
