"""``POST /v1/rerank`` in the shape that Cohere, Jina and vLLM share: given texts, ordered by a question.

The texts come with the request; an index lends its model alone. vLLM has a route of this name for models that are made
for ordering, which those served here are not.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from generalist_serving.api.errors import ERROR_RESPONSES, ApiError, api_route
from generalist_serving.api.fields import WHOLE, Ignored, Name, Strict
from generalist_serving.api.settings import Settings
from generalist_serving.api.streams import while_connected
from generalist_serving.api.vector_stores_schemas import QueryText
from generalist_serving.service import Service

Text = Annotated[str, Field(max_length=1_000_000)]


class RerankText(Strict):
    """A text to order."""

    text: Text


class RerankRequest(Strict):
    """Cohere's request, with `mode` beside its fields."""

    model: Name = Field(
        description="A vector store, whose model reads the texts, or a model of /v1/models, for words alone."
    )
    query: QueryText = Field(description="What the texts are to answer.")
    documents: Annotated[list[Text | RerankText], Field(min_length=1, max_length=1000)]
    top_n: Annotated[int, Field(ge=0), WHOLE] | None = Field(
        default=None, description="Return so many of the best; 0 is all of them."
    )
    return_documents: bool | None = Field(default=None, description="Return the texts as well; true by default.")
    mode: Literal["hybrid", "lexical", "generative"] = Field(
        default="lexical",
        description="`lexical`: BM25 among the texts. `generative`: how likely the query is behind a text. `hybrid`: "
        "both where the store's model is a language model, words alone elsewhere.",
    )

    max_chunks_per_doc: Ignored = None
    max_tokens_per_doc: Ignored = None
    priority: Ignored = None
    truncation: Ignored = None
    user: Ignored = None


class RerankedText(BaseModel):
    """A text of the request."""

    text: str


class RerankResult(BaseModel):
    """Where a text came to stand: results are the best first."""

    index: int = Field(ge=0, description="Its place in the request.")
    relevance_score: float = Field(ge=0, le=1, description="The higher, the better; comparable within one answer.")
    document: RerankedText | None = None


class RerankAnswer(BaseModel):
    """The texts in order."""

    id: str
    model: str
    results: list[RerankResult]


def router(service: Service, settings: Settings) -> APIRouter:
    """The route; it needs nothing of the app that it is attached to."""
    routes = APIRouter(route_class=api_route(settings), tags=["vector stores"], responses=ERROR_RESPONSES)
    indexes = service.indexes

    @routes.post("/v1/rerank", response_model=RerankAnswer, response_model_exclude_none=True)
    async def rerank(request: Request, body: RerankRequest) -> Any:
        """Order texts by how well they answer a question."""
        index = indexes.find(body.model)
        if index is None:
            service.adapter_of(body.model)
        texts = [one if isinstance(one, str) else one.text for one in body.documents]
        _check(body, texts, settings)
        ranked = await while_connected(request, indexes.rerank(index, body.query, texts, body.mode))
        results = [
            {
                "index": number,
                "relevance_score": round(score, 6),
                "document": None if body.return_documents is False else {"text": texts[number]},
            }
            for number, score in ranked[: body.top_n or None]
        ]
        return {"id": f"rerank-{uuid.uuid4().hex}", "model": body.model, "results": results}

    return routes


def _check(body: RerankRequest, texts: list[str], settings: Settings) -> None:
    characters = sum(map(len, texts))
    for count, most, what, param in (
        (len(body.query), settings.max_query_chars, "characters in its query", "query"),
        (len(texts), settings.max_texts, "documents", "documents"),
        (characters, settings.max_texts_chars, "characters in its documents", "documents"),
    ):
        if count > most:
            told = f"the request has {count} {what}; use at most {most}"
            raise ApiError(400, told, param=param, code="invalid_value")
