"""Nearest entries and k-means: what both codecs quantise with.

N vectors, K entries, D dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from generalist.types import GeneralistError

_CHUNK = 16384


def distances(vectors: Tensor, entries: Tensor) -> Tensor:
    """Squared distances float[N, K] of ``vectors`` float[N, D] to ``entries`` float[K, D], never below 0."""
    square = vectors.pow(2).sum(1, keepdim=True) - 2 * vectors @ entries.T + entries.pow(2).sum(1)
    return square.clamp(min=0)


def nearest(vectors: Tensor, entries: Tensor) -> Tensor:
    """Index int64[N] of the entry nearest to each vector; in pieces, so that memory stays small."""
    return torch.cat([distances(piece, entries).argmin(1) for piece in vectors.split(_CHUNK)])


def kmeans(vectors: Tensor, count: int, *, rounds: int, generator: torch.Generator) -> Tensor:
    """``count`` cluster centres float[count, D] of ``vectors`` float[N, D]; an empty cluster starts anew.

    Raises :class:`GeneralistError` when there are fewer vectors than clusters.
    """
    if len(vectors) < count:
        raise GeneralistError(f"{len(vectors)} samples are too few for {count} codebook entries; give {count} or more")

    def sample() -> Tensor:
        return vectors[torch.randperm(len(vectors), generator=generator)[:count].to(vectors.device)]

    centres = sample()
    for _ in range(rounds):
        index = nearest(vectors, centres)
        sizes = torch.bincount(index, minlength=count)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, index, vectors)
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), sample())
    return centres
