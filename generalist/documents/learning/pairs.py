"""What is learnt from: questions, each with the sentence that speaks to it. A step's depend on the seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from generalist.documents.learning.material import Material
from generalist.documents.learning.questions import make_question
from generalist.types import GeneralistError

LEAST_WORDS = 5
"""Of a sentence that a question is made from."""
LONGEST = 300
"""Letters of a question."""
HELD = 64
"""Questions that nothing is learnt from, at most, and one in so many sentences."""
_HELD_SHARE = 20
_WRITTEN = 0.5
"""The share of questions that a language model wrote, where there are any."""
_TRAIN, _HOLD, _SHUFFLE = range(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """``sentence``: its number in the material."""

    question: str
    sentence: int


class Pairs:
    """Questions made of ``material`` by rules, and ``written`` ones; :class:`GeneralistError` where it says too little.

    Of the sentences a few are held out: no question is made of them but the ``held`` ones.
    """

    def __init__(self, material: Material, seed: int, written: Sequence[Pair] = ()) -> None:
        self.material, self.seed = material, seed
        usable = [k for k, one in enumerate(material.sentences) if len(one.text.split()) >= LEAST_WORDS]
        if len({material.sentences[k].document for k in usable}) < 2:
            raise GeneralistError(
                f"only sentences of {LEAST_WORDS} words or more can be learnt from, and fewer than two documents have "
                "one; add documents"
            )
        order = np.random.default_rng([seed, _HOLD]).permutation(usable).tolist()
        count = min(HELD, len(order) // _HELD_SHARE)
        held, self._sources = set(order[:count]), np.array(sorted(order[count:]))
        self._written = [pair for pair in written if pair.sentence not in held]
        self.held = tuple(self._made(k, np.random.default_rng([seed, _HOLD, k]), "cloze") for k in sorted(held))
        self.short = tuple(self._made(k, np.random.default_rng([seed, _HOLD, k]), "words") for k in sorted(held))
        """Of the same sentences only a few words."""
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def __len__(self) -> int:
        """Sentences and written questions that are learnt from."""
        return len(self._sources) + len(self._written)

    def step(self, step: int, size: int) -> list[tuple[Pair, np.random.Generator]]:
        """The pairs of a step, each with what decides everything else about it."""
        found = []
        for slot in range(size):
            rng = np.random.default_rng([self.seed, _TRAIN, step, slot])
            if self._written and rng.random() < _WRITTEN:
                pair = self._written[int(rng.integers(len(self._written)))]
            else:
                lap, at = divmod(step * size + slot, len(self._sources))
                pair = self._made(int(self._order(lap)[at]), rng)
            found.append((pair, rng))
        return found

    def _made(self, number: int, rng: np.random.Generator, kind: str | None = None) -> Pair:
        question = make_question(rng, self.material, number, kind) or self.material.sentences[number].text
        return Pair(question=question[:LONGEST], sentence=number)

    def _shuffled(self, lap: int) -> np.ndarray:
        """Every sentence once, in an order of its own each time round."""
        return np.random.default_rng([self.seed, _SHUFFLE, lap]).permutation(self._sources)
