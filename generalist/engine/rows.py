"""One reply under way: what it has said, and what its grammar lets it say next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from generalist.identifiers import Automaton, Int32s

if TYPE_CHECKING:
    from xgrammar import GrammarMatcher


class Row:
    """A reply under way.

    ``forced`` is the only token that the grammar allows next, or None when there is a choice.
    ``candidates`` are the ids that ``identifiers`` allow next, None where they allow all.
    ``finish_reason`` stays None until the end token or the last of ``budget`` tokens is taken.
    """

    def __init__(
        self,
        slot: int,
        allowed: Allowed,
        matcher: GrammarMatcher | None,
        *,
        eos: int,
        budget: int,
        identifiers: Automaton | None = None,
    ) -> None:
        self.slot = slot
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.forced: int | None = None
        self.candidates: Int32s | None = None
        self.finish_reason: Literal["stop", "length"] | None = None
        self._read = 0
        self._allowed = allowed
        self._matcher = matcher
        self._eos = eos
        self._budget = budget
        self._identifiers = identifiers
        self._state = 0 if identifiers is None else identifiers.start()
        self._look()

    def take(self, token: int, logprob: float) -> bool:
        """Say ``token``; False for the end token, which is not part of the reply."""
        if token == self._eos:
            self.finish_reason = "stop"
            return False
        self.ids.append(token)
        self.logprobs.append(logprob)
        if self._matcher is not None and not self._matcher.accept_token(token):
            raise RuntimeError(f"internal error: the grammar refused token {token}, which it had allowed")
        if self._identifiers is not None:
            self._state = self._identifiers.advance(self._state, token)
        if len(self.ids) == self._budget:
            self.finish_reason = "length"
        else:
            self._look()
        return True

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
        if count == 0:
            raise RuntimeError(
                f"internal error: the grammar allows no token after {len(self.ids)} tokens (the last ones: "
                f"{self.ids[-8:]}); it must be able to go on or to end everywhere"
            )
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
