"""The tool ``file_search``: documents are looked up for a conversation, and its reply may name those of one store.

The model does not read what is found. It is told to clients beside the reply; what the reply itself names, it names as
drawings of kind ``doc``, held to documents that exist, and these become its citations.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, JsonValue, Tag

from generalist.documents import Hit, SearchOptions
from generalist.documents.asking import Question
from generalist.documents.fusion import fuse
from generalist.hub_line import HubLine
from generalist.types import Documents, Message
from generalist_serving.api.errors import ApiError
from generalist_serving.api.fields import Name, Only, Strict
from generalist_serving.api.hits import hit_dict
from generalist_serving.api.settings import Settings
from generalist_serving.api.vector_stores_schemas import NO_ATTRIBUTES, MaxResults, RankingOptions
from generalist_serving.open_index import OpenIndex
from generalist_serving.service import Service

_HITS = 10


class FileSearchTool(Strict):
    """Look documents up for the last question, and let the reply name those of the first store that it can."""

    type: Literal["file_search"]
    vector_store_ids: Annotated[list[Name], Field(min_length=1, max_length=8)]
    max_num_results: MaxResults | None = Field(default=None, description="10 by default.")
    ranking_options: RankingOptions | None = None
    filters: Annotated[Any, Only(None, reason=NO_ATTRIBUTES)] = None


def _kind(tool: Any) -> str:
    kind = tool.get("type") if isinstance(tool, dict) else getattr(tool, "type", None)
    return "file_search" if kind == "file_search" else "other"


Tool = Annotated[
    Annotated[FileSearchTool, Tag("file_search")] | Annotated[JsonValue, Tag("other")], Discriminator(_kind)
]
Tools = Annotated[
    list[Tool], Field(max_length=128, description="`file_search` is served; others are accepted and never called.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSearch:
    """What was looked up. ``index``: whose documents the reply may name, if any."""

    query: str
    hits: tuple[Hit, ...]
    index: Documents | None = None
    id: str = field(default_factory=lambda: f"fs_{uuid.uuid4().hex}")

    def hit_dicts(self, settings: Settings) -> list[dict[str, Any]]:
        """The hits, as ``/v1/vector_stores/{id}/search`` tells of them."""
        return [hit_dict(hit, settings) for hit in self.hits]


async def search_files(
    tools: Sequence[Any] | None,
    messages: Sequence[Message],
    service: Service,
    settings: Settings,
    *,
    draws: bool,
) -> FileSearch | None:
    """Look up what a tool of a request asks for; None without one, or without a question.

    ``draws``: whether the reply may name documents. Raises :class:`ApiError` and :class:`GeneralistError` for what is
    wrong with the tool, and :class:`Busy`.
    """
    asked = [tool for tool in tools or () if isinstance(tool, FileSearchTool)]
    if len(asked) > 1:
        raise ApiError(400, "file_search is given twice; name all stores in one", param="tools", code="invalid_value")
    last = messages[-1] if messages else None
    if not asked or last is None or last.role != "user":
        return None
    stores = [service.indexes.get(name) for name in dict.fromkeys(asked[0].vector_store_ids)]
    query = last.text[: settings.max_query_chars]
    most = asked[0].max_num_results or _HITS
    found = [await _hits(service, store, query, last, most) for store in stores] if query.strip() else []
    # In a thread: an index that has changed is opened.
    index = await asyncio.to_thread(_named, stores, service) if draws else None
    least = (asked[0].ranking_options and asked[0].ranking_options.score_threshold) or 0.0
    hits = tuple(hit for hit in _together(found)[:most] if hit.score >= least)
    return FileSearch(query=query, hits=hits, index=index)


def _named(stores: Sequence[OpenIndex], service: Service) -> Documents | None:
    """The first store whose documents the model can write the names of."""
    if isinstance(service.line, HubLine):
        return None
    vocab_hash = service.line.vocabulary.hash
    return next((one.naming for one in stores if one.naming and one.naming.vocab_hash == vocab_hash), None)


async def _hits(service: Service, store: OpenIndex, query: str, asked: Message, most: int) -> list[Hit]:
    """Of one store. About an image it is asked by the names of its documents, where it sees images and has names."""
    if asked.images and store.sees_images:
        question = Question(
            text=query,
            images=asked.images,
            visual_prompts=asked.visual_prompts,
            granularity="entity" if await asyncio.to_thread(lambda: store.has_titles) else "document",
        )
        return await service.indexes.search(store.name, [question], SearchOptions(mode="generative", most=most))
    options = SearchOptions(mode=store.modes[0], most=most)
    return await service.indexes.search(store.name, [Question(text=query)], options)


def _together(found: Sequence[Sequence[Hit]]) -> list[Hit]:
    """The hits of several stores by their ranks, as their scores have different scales."""
    if len(found) == 1:
        return list(found[0])
    hits = {(store, hit.document_id): hit for store, ranking in enumerate(found) for hit in ranking}
    fused = fuse([[(store, hit.document_id) for hit in ranking] for store, ranking in enumerate(found)])
    return [replace(hits[key], score=score) for key, score in fused]
