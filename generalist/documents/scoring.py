"""From n-grams to documents: how much each says, and which documents hold those that say most.

After SEAL (Bevilacqua et al. 2022, "Autoregressive search engines"): an n-gram counts for how much likelier the model
finds it than the collection does, as log-odds, squared; a document gets the sum over its n-grams, the heaviest first,
none overlapping another, where words that were counted before count less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from generalist.documents.beam import Search, Written
from generalist.documents.collection import Collection, Place
from generalist.index.automaton import TextAutomaton
from generalist.index.segment import DOCUMENT, Int64s

SMOOTHING = 5
"""Added to how often an n-gram occurs, so that one that occurs once is no miracle."""
POWER = 2.0
NEWNESS = 0.8
"""The part of an n-gram's weight that is lost as its tokens were all counted before."""
MOST_PLACES = 1000
"""An n-gram that stands in more places tells no documents apart, and is left out."""
UNIGRAMS = 100
"""How many of the likeliest single tokens count, beside the n-grams."""
_CANDIDATES = 200
"""Documents, passages or sentences whose n-grams are looked at one by one, for each hit that is wanted: at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A document, passage or sentence, and where its n-grams stand: (begin, end, weight) in the stream."""

    place: Place
    score: float
    evidence: tuple[tuple[int, int, float], ...]


def rank(
    search: Search, collection: Collection, automaton: TextAutomaton, *, mark: int = DOCUMENT, most: int = 100
) -> list[Found]:
    """What holds the n-grams or titles of ``search``, the best first.

    Titles are ranked by their probability alone. ``mark`` says what is ranked.
    """
    if automaton.what == "titles":
        return _rank_titles(search.written, collection, automaton, most)
    grams = _weighed(search, collection, automaton)
    table = _occurrences(grams, collection, automaton, mark)
    if not len(table.unit):
        return []
    # What all of a unit's n-grams would give together, for choosing whom to look at.
    order = np.lexsort((table.gram, table.unit))
    unit, gram, at = table.unit[order], table.gram[order], table.at[order]
    fresh = np.append(True, (unit[1:] != unit[:-1]) | (gram[1:] != gram[:-1]))
    weights = np.array([weight for _, weight in grams])
    begins = np.flatnonzero(np.append(True, unit[1:] != unit[:-1]))
    bounds = np.append(begins, len(unit))
    hopes = np.add.reduceat(np.where(fresh, weights[gram], 0.0), begins)
    chosen = np.argsort(-hopes, kind="stable")[: max(_CANDIDATES, 2 * most)]
    found = []
    for k in chosen.tolist():
        rows = slice(bounds[k], bounds[k + 1])
        score, evidence = _cover(grams, gram[rows], at[rows])
        place = collection.place_at(*divmod(int(unit[bounds[k]]), _SEGMENT), mark)
        found.append(Found(place=place, score=score, evidence=evidence))
    found.sort(key=lambda one: (-one.score, one.place.segment, one.place.begin))
    return found[:most]


# --- weights -------------------------------------------------------------------------------------------

_SEGMENT = 2**32
"""A unit is its segment times this, and where it begins."""


def weight_of(logprob: float, count: int, total: int) -> float:
    """What an n-gram says that occurs ``count`` times in ``total`` tokens: max(0, log-odds ratio) ** POWER."""
    chance = min(logprob, -1e-6)
    model = chance - math.log(-math.expm1(chance))
    share = (count + SMOOTHING) / (total + SMOOTHING)
    corpus = math.log(share) - math.log1p(-share) if share < 1 else math.inf
    return max(0.0, model - corpus) ** POWER


def _weighed(search: Search, collection: Collection, automaton: TextAutomaton) -> list[tuple[Written, float]]:
    """N-grams that say something, the heaviest first."""
    total = collection.index.tokens
    written = {one.tokens: one for one in search.written}
    if search.first is not None:
        text = automaton.following(automaton.root).tokens
        likely = text[np.argsort(-search.first[text], kind="stable")[:UNIGRAMS]]
        for token in likely.tolist():
            logprob, state = float(search.first[token]), automaton.step(automaton.root, token)
            written.setdefault((token,), Written(tokens=(token,), logprob=logprob, state=state))
    weighed = []
    for one in written.values():
        count = automaton.count(one.state)
        weight = weight_of(one.logprob, count, total) if count <= MOST_PLACES else 0.0
        if weight > 0:
            weighed.append((one, weight))
    weighed.sort(key=lambda pair: (-pair[1], pair[0].tokens))
    return weighed


# --- places --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Table:
    """A row for each place of an n-gram: which unit, which n-gram (its rank by weight), which position."""

    unit: Int64s
    gram: Int64s
    at: Int64s


def _occurrences(
    grams: Sequence[tuple[Written, float]], collection: Collection, automaton: TextAutomaton, mark: int
) -> _Table:
    parts: list[tuple[Int64s, Int64s, Int64s]] = []
    for number, (written, _) in enumerate(grams):
        for segment, (low, high) in enumerate(automaton.ranges(written.state)[1]):
            if low == high:
                continue
            one = collection.index.segments[segment]
            at = one.places(low, high)
            starts = one.units(mark)
            index = np.searchsorted(starts, at, "right") - 1
            document = one.starts[np.searchsorted(one.starts, at, "right") - 1]
            # In a title there is no passage or sentence: that counts for the document as a whole.
            begin = np.where(index >= 0, starts[index.clip(0)], document)
            begin = np.maximum(begin, document)
            parts.append((segment * _SEGMENT + begin, np.full(len(at), number), at))
    if not parts:
        empty = np.empty(0, np.int64)
        return _Table(unit=empty, gram=empty, at=empty)
    unit, gram, at = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return _Table(unit=unit, gram=gram, at=at)


def _cover(
    grams: Sequence[tuple[Written, float]], which: npt.NDArray[np.int64], at: npt.NDArray[np.int64]
) -> tuple[float, tuple[tuple[int, int, float], ...]]:
    """The score of one unit, and the places that gave it. ``which`` ascends, so the heaviest come first."""
    taken: set[int] = set()
    counted: set[int] = set()
    used: set[int] = set()
    score, evidence = 0.0, []
    for gram, begin in zip(which.tolist(), at.tolist(), strict=True):
        written, weight = grams[gram]
        positions = range(begin, begin + len(written.tokens))
        if gram in used or not taken.isdisjoint(positions):
            continue
        used.add(gram)
        taken.update(positions)
        tokens = set(written.tokens)
        part = weight * (1 - NEWNESS + NEWNESS * len(tokens - counted) / len(tokens))
        counted |= tokens
        score += part
        evidence.append((begin, begin + len(written.tokens), part))
    return score, tuple(evidence)


def _rank_titles(
    written: Sequence[Written], collection: Collection, automaton: TextAutomaton, most: int
) -> list[Found]:
    """Documents by the probability of their titles, whole titles before beginnings.

    The score is the geometric mean of the tokens' probabilities, that of the end included.
    """
    best: dict[Place, Found] = {}
    for one in sorted(written, key=lambda one: (not one.whole, -one.logprob)):
        for segment, (low, high) in enumerate(automaton.ranges(one.state)[1]):
            places = collection.index.segments[segment].places(low, high)[:most]
            for begin in places.tolist():
                place = collection.document_of(segment, begin)
                if one.whole and not _is_title(collection, place, one.tokens):
                    continue
                score = math.exp(one.logprob / (len(one.tokens) + one.whole))
                begun = (begin + 1, begin + 1 + len(one.tokens), score)
                best.setdefault(place, Found(place=place, score=score, evidence=(begun,)))
    return list(best.values())[:most]


def _is_title(collection: Collection, place: Place, tokens: Sequence[int]) -> bool:
    """Whether the document at ``place`` is called exactly this, rather than this and more."""
    behind = collection.segment_of(place).tokens[place.begin + 1 + len(tokens)]
    return int(behind) >= collection.index.base.vocabulary_size
