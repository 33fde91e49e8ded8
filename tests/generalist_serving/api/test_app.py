import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

import generalist
from generalist.tokens import Vocabulary
from generalist_serving.api.app import create_app
from generalist_serving.api.drain import Drain
from generalist_serving.api.settings import Settings
from generalist_serving.service import Service

from ..scripted_backend import DOG, Ids, ScriptedBackend, scripted_line

HELLO = {"model": "nano", "messages": [{"role": "user", "content": "Hello?"}]}


@pytest.fixture
def backend(ids: Ids) -> ScriptedBackend:
    return ScriptedBackend([ids(DOG)])


def app_of(vocab: Vocabulary, backend: ScriptedBackend, drain: Drain | None = None, **settings: Any) -> FastAPI:
    return create_app(Service(scripted_line(vocab), backend, model="nano"), Settings(**settings), drain=drain)


def with_client(app: FastAPI, action: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def run() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            await action(client)

    asyncio.run(asyncio.wait_for(run(), 20))


def test_how_the_server_is(vocab: Vocabulary, backend: ScriptedBackend) -> None:
    async def action(client: httpx.AsyncClient) -> None:
        assert (await client.get("/health")).json() == {"status": "ok"}
        assert (await client.get("/ready")).json() == {"status": "ready"}
        assert (await client.get("/version")).json() == {"version": generalist.__version__}

    with_client(app_of(vocab, backend), action)


def test_all_but_health_needs_the_key(vocab: Vocabulary, backend: ScriptedBackend) -> None:
    async def action(client: httpx.AsyncClient) -> None:
        paths = list((await client.get("/openapi.json", headers=key)).json()["paths"])
        assert "/v1/chat/completions" in paths
        for path in (*paths, "/openapi.json", "/nothing"):
            response = await client.get(path.replace("{model}", "nano"))
            assert response.status_code == (200 if path == "/health" else 401), path
        for headers in (key, {"X-Moondream-Auth": "secret"}):
            assert (await client.get("/v1/models", headers=headers)).status_code == 200
        assert (await client.get("/v1/models", headers={"Authorization": "Bearer wrong"})).status_code == 401

    key = {"Authorization": "Bearer secret"}
    with_client(app_of(vocab, backend, api_keys=("secret",)), action)


def test_the_document_names_every_route_and_what_it_answers(vocab: Vocabulary, backend: ScriptedBackend) -> None:
    document = app_of(vocab, backend, api_keys=("secret",)).openapi()
    assert set(document["paths"]) == {
        "/health", "/ready", "/metrics", "/version",
        "/v1/chat/completions", "/v1/responses", "/v1/models", "/v1/models/{model}",
        "/v1/query", "/v1/caption", "/v1/detect", "/v1/point", "/v1/segment", "/v1/depth",
        "/v1/load_lora_adapter", "/v1/unload_lora_adapter",
        "/v1/vector_stores", "/v1/vector_stores/{vector_store_id}", "/v1/vector_stores/{vector_store_id}/search",
        "/v1/rerank", "/v1/embeddings",
    }  # fmt: skip
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert {"200", "400", "401", "503"} <= set(operation["responses"]), path
            assert operation["description"], path
            assert "422" not in operation["responses"], path
    assert set(document["components"]["securitySchemes"]) == {"bearer", "moondream"}
    assert document["paths"]["/health"]["get"]["security"] == []


def test_errors_of_the_app_have_openais_shape(vocab: Vocabulary, backend: ScriptedBackend) -> None:
    async def action(client: httpx.AsyncClient) -> None:
        for response, status in (
            (await client.get("/nothing"), 404),
            (await client.get("/v1/chat/completions"), 405),
            (await client.get("/v1/models/"), 404),
            (await client.get("/docs"), 404),
            (await client.post("/v1/chat/completions", json={**HELLO, "model": "gpt"}), 404),
            (await client.post("/v1/chat/completions", json={}), 400),
        ):
            assert response.status_code == status
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}

    with_client(app_of(vocab, backend), action)


def test_metrics_follow_the_requests(vocab: Vocabulary, backend: ScriptedBackend) -> None:
    async def action(client: httpx.AsyncClient) -> None:
        await client.post("/v1/chat/completions", json=HELLO)
        backend.capacity = 0
        assert (await client.post("/v1/chat/completions", json=HELLO)).status_code == 503
        await client.get("/nothing")
        response = await client.get("/metrics")
        assert response.headers["content-type"].startswith("text/plain")
        for line in (
            'generalist_replies_total{ended="stop",task="chat"} 1.0',
            'generalist_replies_total{ended="busy",task="chat"} 1.0',
            'generalist_refusals_total{reason="busy"} 1.0',
            'generalist_refusals_total{reason="unknown"} 1.0',
        ):
            assert line in response.text

    with_client(app_of(vocab, backend), action)


def test_told_to_stop_it_answers_what_it_has_and_nothing_new(vocab: Vocabulary, backend: ScriptedBackend) -> None:
    drain = Drain()
    backend.delay = 0.01

    async def action(client: httpx.AsyncClient) -> None:
        under_way = asyncio.create_task(client.post("/v1/chat/completions", json=HELLO))
        while not backend.running:
            await asyncio.sleep(0.001)
        drain.begin()
        late, ready, health = [
            await client.request(method, path, json=body)
            for method, path, body in (
                ("POST", "/v1/chat/completions", HELLO),
                ("GET", "/ready", None),
                ("GET", "/health", None),
            )
        ]
        assert (late.status_code, late.json()["error"]["code"]) == (503, "server_stopping")
        assert int(late.headers["retry-after"]) > 0
        assert (ready.status_code, health.status_code) == (503, 200)
        assert not await drain.idle(0.001)
        assert await drain.idle(10)
        assert (await under_way).status_code == 200

    with_client(app_of(vocab, backend, drain), action)


def test_a_request_that_fails_is_no_longer_under_way(vocab: Vocabulary, backend: ScriptedBackend) -> None:
    drain = Drain()
    backend.fails_at = 0

    async def action(client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/chat/completions", json=HELLO)
        assert (response.status_code, drain.active) == (500, 0)
        assert "scripted failure" not in response.text

    with_client(app_of(vocab, backend, drain), action)


def test_the_app_closes_the_backend(vocab: Vocabulary, backend: ScriptedBackend) -> None:
    app = app_of(vocab, backend)

    async def run() -> None:
        async with app.router.lifespan_context(app):
            assert not backend.closed
        assert backend.closed

    asyncio.run(run())


def test_bounds_of_whole_numbers_are_in_the_document(vocab: Vocabulary, backend: ScriptedBackend) -> None:
    """Those that 30.0 is allowed for, too."""
    schemas = app_of(vocab, backend).openapi()["components"]["schemas"]
    bounds = {
        ("ChatCompletionRequest", "max_tokens"): (1, 2**31 - 1),
        ("ChatCompletionRequest", "top_logprobs"): (0, 20),
        ("ChatCompletionRequest", "n"): (1, 128),
        ("ResponseRequest", "top_k"): (0, 2**31 - 1),
        ("MoondreamSettings", "max_objects"): (1, None),
    }
    for (schema, name), expected in bounds.items():
        whole = schemas[schema]["properties"][name]["anyOf"][0]
        assert (whole["type"], whole["minimum"], whole.get("maximum")) == ("integer", *expected), name
