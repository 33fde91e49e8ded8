"""Segments of small made-up streams: V = 10 tokens of text, marks behind them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from generalist.index import Segment, Stream, make_segment

V = 10
D, P, S = V, V + 1, V + 2
"""The marks of documents, passages and sentences."""


def segment(documents: Sequence[Sequence[int]], names: Sequence[str] | None = None) -> Segment:
    """Sorted documents, each with its marks."""
    lengths = [len(document) for document in documents]
    stream = Stream(
        tokens=np.concatenate([np.asarray(document, np.uint16) for document in documents]),
        starts=np.cumsum([0, *lengths])[:-1],
        ids=tuple(names or [f"d{number}" for number in range(len(documents))]),
    )
    return make_segment(stream, V)
