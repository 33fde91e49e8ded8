"""The whole server as one FastAPI app: routes, limits, errors, its OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

import generalist
from generalist_serving.api import chat, embeddings, models, moondream, rerank, responses, status, vector_stores
from generalist_serving.api.drain import Drain, DrainGate
from generalist_serving.api.errors import install_handlers
from generalist_serving.api.middleware import PUBLIC_PATHS, install
from generalist_serving.api.settings import Settings
from generalist_serving.metrics import CountRefusals, Metrics
from generalist_serving.service import Service

_DESCRIPTION = """Ask about images; get text with boxes, points, masks and depth maps as data.

`/v1/chat/completions` and `/v1/responses` are OpenAI's, with drawings in `visual`; `/v1/query`, `/v1/caption`,
`/v1/detect`, `/v1/point` and `/v1/segment` are Moondream's, with `/v1/depth` in their manner. `/v1/vector_stores` are
the server's indexes of documents, to be searched by words, images or both; `/v1/rerank` orders texts by a
question, `/v1/embeddings` makes vectors of them.
"""
_KEY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "moondream": {"type": "apiKey", "in": "header", "name": "X-Moondream-Auth"},
}


def create_app(
    service: Service, settings: Settings, *, drain: Drain | None = None, registries: Sequence[CollectorRegistry] = ()
) -> FastAPI:
    """The app of a service. It closes the backend when it ends, and counts what the service does.

    ``drain``: for whoever tells the server to stop. ``registries``: what ``/metrics`` tells besides its own.
    """
    drain = drain or Drain()
    metrics = Metrics(service.backend, registries, indexes=service.indexes)
    service.observe = metrics.observe
    service.indexes.observe = metrics.searched

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.indexes.close()
        await service.backend.close()

    app = FastAPI(
        title="generalist",
        version=generalist.__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # their scripts come from elsewhere
        redoc_url=None,
        # Answering /v1/models/ with a redirect to /v1/models would name whatever host the client made up.
        redirect_slashes=False,
    )
    for routes in (chat, responses, moondream, models, vector_stores, rerank, embeddings):
        app.include_router(routes.router(service, settings))
    app.include_router(status.router(metrics, drain))
    install_handlers(app)
    app.add_middleware(DrainGate, drain=drain)  # innermost: what has no key is not waited for
    install(app, settings)
    app.add_middleware(CountRefusals, metrics=metrics)
    if settings.api_keys:
        _declare_keys(app)
    return app


def _declare_keys(app: FastAPI) -> None:
    """Say in the OpenAPI document that requests need a key, and which do not."""
    document: dict[str, Any] = app.openapi()
    document.setdefault("components", {})["securitySchemes"] = _KEY_SCHEMES
    document["security"] = [{name: []} for name in _KEY_SCHEMES]
    for path in PUBLIC_PATHS & document["paths"].keys():
        for operation in document["paths"][path].values():
            operation["security"] = []
