"""``POST /v1/embeddings`` in OpenAI's shape, by the model of an index that has vectors.

Texts are embedded as the index's own documents are, so that both can be compared (cosine similarity).
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from generalist_serving.api.errors import ERROR_RESPONSES, ApiError, api_route
from generalist_serving.api.fields import WHOLE, Ignored, Name, Strict
from generalist_serving.api.settings import Settings
from generalist_serving.api.streams import while_connected
from generalist_serving.open_index import OpenIndex
from generalist_serving.service import Service

Text = Annotated[str, Field(min_length=1, max_length=100_000)]


class EmbeddingRequest(Strict):
    """OpenAI's request."""

    model: Name = Field(description="A vector store with mode `dense`.")
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = Field(
        default=None, description="`base64`: little-endian float32."
    )
    dimensions: Annotated[int, Field(ge=1), WHOLE] | None = Field(
        default=None, description="Only as many as the model has."
    )
    user: Ignored = None


class Embedding(BaseModel):
    """The vector of a text, of unit length."""

    object: Literal["embedding"] = "embedding"
    index: int = Field(ge=0, description="The text's place in the request.")
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """Tokens of all texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingAnswer(BaseModel):
    """Vectors in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


def router(service: Service, settings: Settings) -> APIRouter:
    """The route; it needs nothing of the app that it is attached to."""
    routes = APIRouter(route_class=api_route(settings), tags=["vector stores"], responses=ERROR_RESPONSES)
    indexes = service.indexes

    @routes.post("/v1/embeddings", response_model=EmbeddingAnswer)
    async def create_embeddings(request: Request, body: EmbeddingRequest) -> Any:
        """Turn texts into vectors."""
        index = indexes.find(body.model)
        if index is None or not index.dense:
            raise _unknown(body.model, [one for one in indexes.all if one.dense])
        texts = [body.input] if isinstance(body.input, str) else body.input
        if len(texts) > settings.max_texts or sum(map(len, texts)) > settings.max_texts_chars:
            told = f"use at most {settings.max_texts} texts, and {settings.max_texts_chars} characters of all together"
            raise ApiError(400, f"the input is too large; {told}", param="input", code="invalid_value")
        vectors, tokens = await while_connected(request, indexes.embed(index, texts))
        if body.dimensions is not None and body.dimensions != vectors.shape[1]:
            told = f"dimensions is {body.dimensions}; this model has {vectors.shape[1]}"
            raise ApiError(400, told, param="dimensions", code="invalid_value")
        plain = body.encoding_format != "base64"
        shown = [vector.tolist() if plain else _base64(vector) for vector in vectors]
        return {
            "data": [{"index": number, "embedding": vector} for number, vector in enumerate(shown)],
            "model": body.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    return routes


def _unknown(name: str, dense: list[OpenIndex]) -> ApiError:
    names = ", ".join(one.name for one in dense)
    told = f"use a vector store with vectors: {names}" if dense else "no vector store of this server has vectors"
    return ApiError(404, f"{name[:80]!r} makes no embeddings; {told}", param="model", code="model_not_found")


def _base64(vector: np.ndarray) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
