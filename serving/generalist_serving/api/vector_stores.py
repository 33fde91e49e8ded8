"""``/v1/vector_stores`` in OpenAI's shapes: the server's indexes, and searching them.

Indexes are made by whoever runs the server, with ``generalist index build``; over HTTP they are only read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal, NoReturn

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter

from generalist.documents import SearchOptions
from generalist.documents.asking import Question
from generalist_serving.api import vector_stores_schemas as schemas
from generalist_serving.api.errors import ERROR_RESPONSES, ApiError, api_route
from generalist_serving.api.hits import hit_dict
from generalist_serving.api.request_reading import Turn, read_messages
from generalist_serving.api.settings import Settings
from generalist_serving.api.streams import while_connected
from generalist_serving.open_index import OpenIndex
from generalist_serving.service import Service

DEFAULT_HITS = 10
_MADE = "stores are made, changed and deleted on the server's own machine, with `generalist index build`"

StoreId = Annotated[str, PathParameter(max_length=200, description="The id of a store of /v1/vector_stores.")]
Cursor = Annotated[str | None, Query(max_length=200)]


def router(service: Service, settings: Settings) -> APIRouter:
    """The routes; they need nothing of the app that they are attached to."""
    routes = APIRouter(route_class=api_route(settings), tags=["vector stores"], responses=ERROR_RESPONSES)
    indexes = service.indexes

    @routes.get("/v1/vector_stores", response_model=schemas.VectorStoreList)
    async def list_vector_stores(
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        order: Literal["asc", "desc"] = "desc",
        after: Cursor = None,
        before: Cursor = None,
    ) -> Any:
        """The indexes of this server, by when they were changed."""
        stores = await asyncio.to_thread(lambda: list(map(_store, indexes.all)))  # one that has changed is opened
        stores.sort(key=lambda one: (one.created_at, one.id), reverse=order == "desc")
        return _page(stores, limit, after, before)

    @routes.get("/v1/vector_stores/{vector_store_id}", response_model=schemas.VectorStore)
    async def retrieve_vector_store(vector_store_id: StoreId) -> Any:
        """One of them."""
        return await asyncio.to_thread(_store, indexes.get(vector_store_id))

    @routes.post("/v1/vector_stores/{vector_store_id}/search", response_model=schemas.SearchPage)
    async def search_vector_store(request: Request, vector_store_id: StoreId, body: schemas.VectorStoreSearch) -> Any:
        """Find documents by words, by an image or a region of one, or by both."""
        index = indexes.get(vector_store_id)
        options = _options(index, body)
        questions = await _questions(body, settings)
        hits = await while_connected(request, indexes.search(index.name, questions, options))
        least = (body.ranking_options and body.ranking_options.score_threshold) or 0.0
        return {
            "search_query": [question.text for question in questions],
            "data": [hit_dict(hit, settings) for hit in hits if hit.score >= least],
        }

    # Said here, because a client of OpenAI's that tries it would else learn only that it cannot.
    @routes.post("/v1/vector_stores", include_in_schema=False)
    async def create_vector_store() -> None:
        _refuse_changes("GET")

    @routes.api_route("/v1/vector_stores/{vector_store_id}", methods=["POST", "DELETE"], include_in_schema=False)
    async def change_vector_store(vector_store_id: StoreId) -> None:
        indexes.get(vector_store_id)
        _refuse_changes("GET")

    return routes


def _refuse_changes(allowed: str) -> NoReturn:
    raise ApiError(405, _MADE, code="read_only", headers={"allow": allowed})


# --- stores ----------------------------------------------------------------------------------------------


def _store(index: OpenIndex) -> schemas.VectorStore:
    opened = index.searcher.collection.index
    count = opened.documents
    return schemas.VectorStore(
        id=index.name,
        name=index.name,
        created_at=index.changed_at,
        usage_bytes=sum(part.size for part in opened.manifest.parts),
        file_counts=schemas.FileCounts(completed=count, total=count),
        metadata={"base": PurePath(opened.base.name).name},
        modes=list(index.modes),
        images=index.sees_images,
    )


def _page(
    stores: Sequence[schemas.VectorStore], limit: int, after: str | None, before: str | None
) -> schemas.VectorStoreList:
    names = [store.id for store in stores]
    for param, cursor in (("after", after), ("before", before)):
        if cursor is not None and cursor not in names:
            raise ApiError(400, f"{param} is {cursor[:80]!r}, which is no store", param=param, code="invalid_value")
    begin = 0 if after is None else names.index(after) + 1
    end = len(names) if before is None else names.index(before)
    # A page before a store ends with its neighbour.
    if before is not None and after is None:
        begin = max(begin, end - limit)
    shown = list(stores[begin:end][:limit])
    has_more = end - begin > limit or (before is not None and after is None and begin > 0)
    return schemas.VectorStoreList(
        data=shown,
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
        has_more=has_more,
    )


# --- searches --------------------------------------------------------------------------------------------


def _options(index: OpenIndex, body: schemas.VectorStoreSearch) -> SearchOptions:
    default = index.modes[0] if body.find == "document" else "generative"
    return SearchOptions(mode=body.mode or default, most=body.max_num_results or DEFAULT_HITS, feedback=body.feedback)


async def _questions(body: schemas.VectorStoreSearch, settings: Settings) -> list[Question]:
    """A question for each query, all about the same image."""
    texts = [body.query] if isinstance(body.query, str) else body.query
    if len(texts) > settings.max_queries:
        raise _wrong(f"the request has {len(texts)} queries; use at most {settings.max_queries}")
    for text in texts:
        if len(text) > settings.max_query_chars:
            raise _wrong(f"a query has {len(text)} characters; use at most {settings.max_query_chars}")
        if not text.strip():
            raise _wrong("a query is blank; say what to find")
    images = () if body.image is None else ((body.image, "image"),)
    turn = Turn(role="user", texts=(texts[0],), images=images)
    (about,) = await read_messages([turn], body.visual_prompts or (), task="chat", settings=settings, param="query")
    return [
        Question(text=text, images=about.images, visual_prompts=about.visual_prompts, granularity=body.find)
        for text in texts
    ]


def _wrong(message: str) -> ApiError:
    return ApiError(400, message, param="query", code="invalid_value")
