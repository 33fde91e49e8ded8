"""The indexes of a server, and searching them: requests, and what comes back as typed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from generalist.images import ImageSource
from generalist.types import VisualPrompt
from generalist_serving.client.asking import drawn_on, read_image
from generalist_serving.client.reading import WRONG, not_ours

_STORES = "/v1/vector_stores"
STORES = f"{_STORES}?limit=100&order=asc"
"""As many of them as a page can hold."""
RERANK = "/v1/rerank"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreInfo:
    """An index of ``documents`` documents. ``modes``: how it can be searched, the default first; ``images``: whether a
    question may be about one."""

    id: str
    name: str
    documents: int
    modes: tuple[str, ...]
    images: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Words that speak for a hit: the characters ``span`` = [start, stop) of its text, None for words of its title."""

    text: str
    span: tuple[int, int] | None
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentHit:
    """A document that was found; the higher its ``score``, the better."""

    document_id: str
    title: str
    text: str
    score: float
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranked:
    """A text in its new place; ``index`` is the one that it had. ``score``: 0-1, comparable within one answer."""

    index: int
    text: str
    score: float


def search_path(store: str) -> str:
    """Where the index with this id is searched."""
    return f"{_STORES}/{quote(store, safe='')}/search"


def search_body(
    question: str | Sequence[str],
    image: ImageSource | None,
    visual_prompts: Sequence[VisualPrompt],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """The body of a search; of ``options``, those that are None are the server's to choose."""
    body: dict[str, Any] = {"query": question if isinstance(question, str) else list(question)}
    pictures = []
    if image is not None:
        body["image"], picture = read_image(image)
        pictures.append(picture)
    if visual_prompts:
        body["visual_prompts"] = [drawn_on(prompt, pictures) for prompt in visual_prompts]
    return body | {name: value for name, value in options.items() if value is not None}


def read_stores(response: httpx.Response) -> tuple[StoreInfo, ...]:
    """The indexes that a server lists."""
    try:
        return tuple(
            StoreInfo(
                id=str(one["id"]),
                name=str(one["name"]),
                documents=int(one["file_counts"]["total"]),
                modes=tuple(map(str, one["modes"])),
                images=bool(one["images"]),
            )
            for one in response.json()["data"]
        )
    except WRONG as error:
        raise not_ours(error, response.status_code) from error


def read_hits(response: httpx.Response) -> tuple[DocumentHit, ...]:
    """What was found, the best first."""
    try:
        return tuple(_hit(one) for one in response.json()["data"])
    except WRONG as error:
        raise not_ours(error, response.status_code) from error


def rerank_body(query: str, texts: Sequence[str], model: str, mode: str) -> dict[str, Any]:
    """The body of a request to order texts."""
    return {"model": model, "query": query, "documents": list(texts), "mode": mode, "return_documents": False}


def read_reranked(response: httpx.Response, texts: Sequence[str]) -> tuple[Reranked, ...]:
    """``texts``, which were sent, in their new order."""
    try:
        return tuple(
            Reranked(index=int(one["index"]), text=texts[one["index"]], score=float(one["relevance_score"]))
            for one in response.json()["results"]
        )
    except WRONG as error:
        raise not_ours(error, response.status_code) from error


def _hit(entry: Mapping[str, Any]) -> DocumentHit:
    spans = [(one, one["span"]) for one in entry.get("evidence") or ()]
    return DocumentHit(
        document_id=str(entry["file_id"]),
        title=str(entry["filename"]),
        text="\n".join(str(part["text"]) for part in entry["content"]),
        score=float(entry["score"]),
        evidence=tuple(
            Evidence(
                text=str(one["text"]),
                span=None if span is None else (int(span[0]), int(span[1])),
                score=float(one["score"]),
            )
            for one, span in spans
        ),
    )
