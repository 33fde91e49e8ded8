"""What the components of the tab show, as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from generalist_serving.client import DocumentHit, StoreInfo
from generalist_serving.demo import order
from generalist_serving.demo.conversations import plain_name

MODE_NAMES = {
    "hybrid": "All ways together",
    "lexical": "Words",
    "generative": "Identifiers",
    "dense": "Vectors",
}
"""What the page calls the ways to search; one that it does not know keeps its name."""
FINDS = (("Documents", "document"), ("Passages", "passage"), ("Sentences", "sentence"), ("Entities", "entity"))
"""What a hit can be. All but documents are found by identifiers."""

_EXCERPT = 420
"""Letters of a text that are shown at once."""
_BEFORE = 140
"""Of these, before the first that speak for it."""


def store_choices(stores: Sequence[StoreInfo]) -> list[tuple[str, str]]:
    """(name, id) of all indexes, for a menu."""
    return [(f"{plain_name(one.name)} ({one.documents})", one.id) for one in stores]


def mode_choices(store: StoreInfo) -> list[tuple[str, str]]:
    """(name, mode) of the ways to search ``store``, for a menu; the first is what the server takes by itself."""
    return [("Automatic", ""), *((MODE_NAMES.get(mode, mode), mode) for mode in store.modes)]


def find_choices(store: StoreInfo) -> list[tuple[str, str]]:
    """(name, granularity) of what can be found in ``store``, for a menu."""
    return list(FINDS if "generative" in store.modes else FINDS[:1])


def hits(
    store: StoreInfo | None, found: Sequence[DocumentHit] | None = None, *, question: str = "", seconds: float = 0.0
) -> dict[str, Any]:
    """The value of :func:`~generalist_serving.demo.documents.parts.Hits`; ``found`` None where nothing was asked.

    ``pictures`` says whether the index can be asked about one.
    """
    return {
        "asked": found is not None,
        "status": "" if found is None else status(found, question, seconds),
        "hits": [_hit(one, found[0].score) for one in found] if found else [],
        "pictures": store is not None and store.images,
        "at": order.number(),
    }


def failure(store: StoreInfo | None, why: str) -> dict[str, Any]:
    """The same for a search that came to nothing; ``why``, a sentence."""
    return {**hits(store), "asked": True, "status": why}


def status(found: Sequence[DocumentHit], question: str, seconds: float) -> str:
    """How many there are, in a sentence."""
    count = f"{len(found)} {'hit' if len(found) == 1 else 'hits'}" if found else "Nothing was found"
    return f"{count} for “{question}” in {seconds:.1f} s."


def _hit(hit: DocumentHit, best: float) -> dict[str, Any]:
    text = hit.text
    spans = merged([one.span for one in hit.evidence if one.span is not None], len(text))
    start, stop = excerpt(len(text), spans)
    title = hit.title or hit.document_id
    said = list(dict.fromkeys(one.text.strip() for one in hit.evidence if one.span is None))
    places = [(title.find(words), title.find(words) + len(words)) for words in said]
    return {
        "id": hit.document_id if hit.document_id != title else "",
        "title": marked(title, merged(places, len(title)), 0, len(title)),
        "score": round(hit.score, 4),
        "share": round(min(max(hit.score / best, 0), 1), 3) if best > 0 else 0,
        "excerpt": marked(text, spans, start, stop),
        "whole": marked(text, spans, 0, len(text)) if (start, stop) != (0, len(text)) else [],
        "title_evidence": [words for words in said if words not in title],
    }


def merged(spans: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """``spans`` of a text of ``length`` letters in order, those that touch as one; what does not lie in it is left out.

    >>> merged([(4, 7), (0, 2), (6, 9), (8, 99)], 12)
    [(0, 2), (4, 9)]
    """
    whole: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if not 0 <= start < stop <= length:  # what a server says of a text need not be so
            continue
        if whole and start <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(stop, whole[-1][1]))
        else:
            whole.append((start, stop))
    return whole


def excerpt(length: int, spans: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """[start, stop) of the part of a text of ``length`` letters that is shown at once: around the first span."""
    if length <= _EXCERPT:
        return 0, length
    start = max(0, min(spans[0][0] - _BEFORE if spans else 0, length - _EXCERPT))
    return start, start + _EXCERPT


def marked(text: str, spans: Sequence[tuple[int, int]], start: int, stop: int) -> list[dict[str, Any]]:
    """``text[start:stop]`` in pieces; ``mark``: it speaks for the hit."""
    pieces: list[dict[str, Any]] = []
    at = start
    inside = [(max(first, start), min(last, stop)) for first, last in spans]
    for first, last in inside:
        if first < last:
            pieces += [{"text": text[at:first], "mark": False}, {"text": text[first:last], "mark": True}]
            at = last
    pieces.append({"text": text[at:stop], "mark": False})
    if start > 0:
        pieces.insert(0, {"text": "… ", "mark": False})
    if stop < len(text):
        pieces.append({"text": " …", "mark": False})
    return [piece for piece in pieces if piece["text"]]
