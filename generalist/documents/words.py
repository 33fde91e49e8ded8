"""BM25 over the words of whole documents (Robertson and Zaragoza 2009), by bm25s (Lù 2024).

Words are runs of two or more letters or digits, in small letters, without Lucene's 33 English stopwords, cut to their
stems by Snowball's English stemmer; k1 0.9 and b 0.4 are the defaults of Anserini. A title counts as text.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from generalist.types import GeneralistError

K1, B = 0.9, 0.4
_WORD = re.compile(r"\b\w\w+\b")
"""As bm25s cuts."""
FEEDBACK_DOCUMENTS, FEEDBACK_WORDS = 10, 20
"""Of pseudo-relevance feedback: how many documents are believed, and how many of their words are added."""


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """An index of words. Documents are numbered as they were given."""

    _scorer: Any

    @classmethod
    def build(cls, texts: Iterable[str], folder: Path) -> None:
        """Write the index of ``texts`` into an empty folder."""
        cls.of(texts)._scorer.save(folder, show_progress=False)

    @classmethod
    def of(cls, texts: Iterable[str]) -> Words:
        """The same, in memory."""
        bm25s = _bm25s()
        scorer = bm25s.BM25(k1=K1, b=B, method="lucene")
        cut = bm25s.tokenize(list(texts), stopwords="en", stemmer=_stemmer(), show_progress=False)
        if not cut.vocab or all(not len(ids) for ids in cut.ids):
            cut = [["\0"] for _ in cut.ids]  # it cannot count words where there are none; no query has this one
        scorer.index(cut, show_progress=False)
        return cls(scorer)

    @classmethod
    def open(cls, folder: Path) -> Words:
        """Map what :meth:`build` wrote; :class:`GeneralistError` for anything else."""
        try:
            return cls(_bm25s().BM25.load(folder, mmap=True, show_progress=False, verbosity=0))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:100]
            raise GeneralistError(f"{folder}: cannot read the index of words ({reason}); build it anew") from error

    @property
    def documents(self) -> int:
        return int(self._scorer.scores["num_docs"])

    def search(self, queries: Sequence[str], most: int) -> list[list[tuple[int, float]]]:
        """For each query up to ``most`` documents that have one of its words, the best first, with their scores."""
        return [self._best(words, most) for words in self._cut(queries)]

    def search_again(
        self, queries: Sequence[str], first: Sequence[Sequence[str]], most: int
    ) -> list[list[tuple[int, float]]]:
        """Pseudo-relevance feedback (Rocchio 1971): as :meth:`search`, with words added.

        ``first``: for each query the texts of the documents that were found first. Of their words those are added
        that are in most of them for how rare they are elsewhere; the query counts as much as all that is added.
        """
        found = []
        for words, texts in zip(self._cut(queries), first, strict=True):
            counts = Counter(word for cut in self._cut(texts) for word in set(cut))
            rarity = {word: float(np.log(1 + self.documents / self._frequency(word))) for word in counts}
            added = sorted(counts, key=lambda word: (-counts[word] * rarity[word], word))[:FEEDBACK_WORDS]
            repeats = max(1, round(len(added) / max(1, len(words))))
            found.append(self._best([*words * repeats, *added], most))
        return found

    def matches(self, query: str, text: str) -> list[tuple[int, int, float]]:
        """Where the words of ``query`` are in ``text``, each once: (begin, end, how rare it is), the rarest first."""
        (wanted,) = self._cut([query])
        stemmer, found = _stemmer(), {}
        for match in _WORD.finditer(text):
            stem = stemmer.stemWord(match[0].lower())
            if stem in wanted and stem not in found:
                rarity = float(np.log(1 + self.documents / self._frequency(stem)))
                found[stem] = (match.start(), match.end(), rarity)
        return sorted(found.values(), key=lambda one: -one[2])

    def _best(self, words: list[str], most: int) -> list[tuple[int, float]]:
        known = self._scorer.get_tokens_ids(words)
        if not known:
            return []
        scores = self._scorer.get_scores_from_ids(known)
        kept = min(most, len(scores))
        best = np.argpartition(-scores, kept - 1)[:kept] if kept < len(scores) else np.arange(kept)
        best = best[np.lexsort((best, -scores[best]))]
        return [(int(number), float(scores[number])) for number in best if scores[number] > 0]

    def _frequency(self, word: str) -> int:
        """In how many documents a word is; 1 for one that is in none."""
        number = self._scorer.vocab_dict.get(word)
        if number is None:
            return 1
        begins = self._scorer.scores["indptr"]
        return max(1, int(begins[number + 1] - begins[number]))

    def _cut(self, texts: Sequence[str]) -> list[list[str]]:
        if not texts:
            return []
        cut: list[list[str]] = _bm25s().tokenize(
            list(texts), stopwords="en", stemmer=_stemmer(), return_ids=False, show_progress=False
        )
        return cut


def _bm25s() -> Any:
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.ERROR)
    return bm25s


def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")
