"""An index of a collection's text as token ids: which of them can follow which, and where they stand.

A folder of segments, each a stream of tokens with its suffix array (Manber and Myers 1993), memory-mapped; reading it
takes numpy alone. It is made from documents in ``generalist.documents``.
"""

from __future__ import annotations

from generalist.index.automaton import TextAutomaton
from generalist.index.segment import Segment, Stream, make_segment, merge, without_documents
from generalist.index.store import MANIFEST, Index, open_index

__all__ = [
    "MANIFEST",
    "Index",
    "Segment",
    "Stream",
    "TextAutomaton",
    "make_segment",
    "merge",
    "open_index",
    "without_documents",
]
