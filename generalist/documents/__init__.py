"""Document indexes: making them from a collection, and finding documents in them.

Stages: corpus -> sentences -> tokens -> segments of ``generalist.index``; question -> n-grams that exist, or words
-> ranked documents -> hits with their evidence.
"""

from __future__ import annotations

from generalist.documents.build import add_documents, build_index, delete_documents
from generalist.documents.collection import Collection
from generalist.documents.naming import DocumentIndex
from generalist.documents.opening import open_searcher
from generalist.documents.search import MODES, Hit, Searcher, SearchOptions

__all__ = [
    "MODES",
    "Collection",
    "DocumentIndex",
    "Hit",
    "SearchOptions",
    "Searcher",
    "add_documents",
    "build_index",
    "delete_documents",
    "open_searcher",
]
