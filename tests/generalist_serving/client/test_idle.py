"""Connections that have been idle: a server may hang up on one at the moment at which it is used again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from generalist_serving.client import AsyncClient, Client

from ..api.live_server import live

IDLE_S = 2.2
"""Less than the 5 s after which uvicorn and others hang up."""


class Noting:
    """An app that answers a list of models, and notes on which connection it was asked."""

    def __init__(self) -> None:
        self.ports: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.ports.append(scope["client"][1])
        body = json.dumps({"object": "list", "data": [{"id": "nano", "object": "model"}]}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def app() -> Noting:
    return Noting()


@pytest.fixture
def url(app: Noting) -> Iterator[str]:
    with live(app) as port:
        yield f"http://127.0.0.1:{port}"


def test_they_are_not_used_again(app: Noting, url: str):
    async def ask() -> None:
        async with AsyncClient(url, retries=0) as asynchronous:
            with Client(url, retries=0) as client:
                for pause in (0, 0, IDLE_S):
                    await asyncio.sleep(pause)
                    await asynchronous.models()
                    client.models()

    asyncio.run(ask())
    first, second, later = app.ports[:2], app.ports[2:4], app.ports[4:]
    assert first == second
    assert not set(first) & set(later)
