"""One ranking from several (reciprocal-rank fusion: Cormack, Clarke and Büttcher 2009)."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from statistics import mean, stdev
from typing import TypeVar

K = 60
"""The usual constant: how little the first ranks differ."""
WEIGHTS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""What may come out of fitting."""

T = TypeVar("T", bound=Hashable)


def fuse(rankings: Sequence[Sequence[T]], weights: Sequence[float] | None = None) -> list[tuple[T, float]]:
    """What is in any of ``rankings`` (the best first, each thing once), by the sum of weight / (K + rank).

    Among equals the order of the first ranking counts. A ranking of weight 0 adds nothing, not even at the end.
    """
    scores: dict[T, float] = {}
    for ranking, weight in zip(rankings, weights or [1.0] * len(rankings), strict=True):
        for rank, thing in enumerate(ranking if weight else (), 1):
            scores[thing] = scores.get(thing, 0.0) + weight / (K + rank)
    return sorted(scores.items(), key=lambda item: -item[1])


def fit_weight(
    ways: Sequence[Sequence[Sequence[T]]],
    weights: Sequence[float],
    which: int,
    relevant: Sequence[Collection[T]],
    among: Sequence[float] = WEIGHTS,
) -> float:
    """How much one of several ways to rank is to count, the others counting as ``weights`` say.

    Of ``among`` the weight with the best mean reciprocal rank of a relevant thing, and of equals the smallest: a
    ranking that adds nothing gets no say.

    Args:
        ways: for each way the rankings of all questions.
        weights: of each way; that of ``which`` does not matter.
        which: the way whose weight is asked for.
        relevant: of each question.
        among: what may come out.
    """
    found = {weight: quality(ways, _with(weights, which, weight), relevant) for weight in among}
    return max(among, key=lambda weight: (round(found[weight], 9), -weight))


def harmless(
    ways: Sequence[Sequence[Sequence[T]]], weights: Sequence[float], which: int, relevant: Sequence[Collection[T]]
) -> list[float]:
    """The weights of :data:`WEIGHTS` that make these questions go no worse than without the way ``which``."""
    without = quality(ways, _with(weights, which, 0.0), relevant)
    return [one for one in WEIGHTS if quality(ways, _with(weights, which, one), relevant) >= without - 1e-9]


def clearly_better(
    ways: Sequence[Sequence[Sequence[T]]], weights: Sequence[float], which: int, relevant: Sequence[Collection[T]]
) -> bool:
    """Whether the way ``which`` helps these questions by more than the standard error of its help."""
    before = _reciprocal_ranks(ways, _with(weights, which, 0.0), relevant)
    gains = [b - a for a, b in zip(before, _reciprocal_ranks(ways, weights, relevant), strict=True)]
    return len(gains) > 1 and mean(gains) > stdev(gains) / len(gains) ** 0.5


def quality(
    ways: Sequence[Sequence[Sequence[T]]], weights: Sequence[float], relevant: Sequence[Collection[T]]
) -> float:
    """The mean reciprocal rank of a relevant thing when ``ways`` are fused."""
    found = _reciprocal_ranks(ways, weights, relevant)
    return sum(found) / max(1, len(found))


def _reciprocal_ranks(
    ways: Sequence[Sequence[Sequence[T]]], weights: Sequence[float], relevant: Sequence[Collection[T]]
) -> list[float]:
    fused = (fuse(rankings, weights) for rankings in zip(*ways, strict=True))
    return [_reciprocal_rank(ranking, good) for ranking, good in zip(fused, relevant, strict=True)]


def _with(weights: Sequence[float], which: int, weight: float) -> list[float]:
    return [weight if k == which else one for k, one in enumerate(weights)]


def _reciprocal_rank(ranking: Sequence[tuple[T, float]], relevant: Collection[T]) -> float:
    return next((1 / rank for rank, (thing, _) in enumerate(ranking, 1) if thing in relevant), 0.0)
