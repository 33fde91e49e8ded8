"""How the server is: ``/health``, ``/ready``, ``/metrics``, ``/version``."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

import generalist
from generalist_serving.api.drain import Drain
from generalist_serving.api.errors import ERROR_RESPONSES, ApiError, ApiRoute
from generalist_serving.metrics import Metrics


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Requests are taken."""

    status: Literal["ready"] = "ready"


class Version(BaseModel):
    """What runs here."""

    version: str = Field(description="Of the package `generalist`.")


def router(metrics: Metrics, drain: Drain) -> APIRouter:
    """The routes; they need nothing of the app that they are attached to."""
    routes = APIRouter(route_class=ApiRoute, tags=["status"], responses=ERROR_RESPONSES)
    text: dict[int | str, dict[str, Any]] = {
        200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    }

    @routes.get("/health", response_model=Health)
    async def health() -> Health:
        """Whether the process answers. Needs no key."""
        return Health()

    @routes.get("/ready", response_model=Ready)
    async def ready() -> Ready:
        """Whether requests are taken: 503 from the moment that the server was told to stop."""
        if drain.stopping:
            raise ApiError(503, "the server is about to stop", code="server_stopping", retry_after=5)
        return Ready()

    @routes.get("/metrics", response_class=Response, responses=text)
    async def metrics_text() -> Response:
        """Counts and times since the server was started."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @routes.get("/version", response_model=Version)
    async def version() -> Version:
        """The version of the server."""
        return Version(version=generalist.__version__)

    return routes
