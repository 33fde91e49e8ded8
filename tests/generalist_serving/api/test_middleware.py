from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient
from starlette.responses import StreamingResponse

from generalist_serving.api.errors import api_route
from generalist_serving.api.middleware import RateLimit, install
from generalist_serving.api.settings import Settings

from .live_server import live

LEFT = threading.Event()


def make_app(**fields: Any) -> FastAPI:
    settings = Settings(**fields)
    routes = APIRouter(route_class=api_route(settings))

    @routes.get("/health")
    async def health() -> str:
        return "well"

    @routes.post("/size")
    async def size(request: Request) -> int:
        return len(await request.body())

    @routes.post("/stream")
    async def stream(request: Request) -> StreamingResponse:
        await request.body()

        async def pieces():
            try:
                for number in range(100):
                    yield f"{number}\n"
                    await asyncio.sleep(0.05)
            finally:
                LEFT.set()

        return StreamingResponse(pieces())

    app = FastAPI()
    app.include_router(routes)
    install(app, settings)
    return app


def client(**fields: Any) -> TestClient:
    return TestClient(make_app(**fields))


# --- bodies ---


def test_a_body_within_the_limit_arrives_whole():
    assert client(max_body_bytes=1000).post("/size", content=b"x" * 1000).json() == 1000


def test_a_body_that_says_it_is_too_large_is_refused():
    answer = client(max_body_bytes=1000).post("/size", content=b"x" * 1001)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"


def test_a_body_in_chunks_is_counted_as_it_comes():
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    answer = client(max_body_bytes=1000).post("/size", content=chunks())
    assert answer.status_code == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "9" * 30, "+5", ""])
def test_a_length_that_is_no_number_is_refused(length: str):
    answer = client().post("/size", content=b"hello", headers={"content-length": length})
    assert answer.status_code == 400


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with live(make_app(max_body_bytes=1_000_000, body_timeout_s=0.3, body_min_rate=100_000)) as number:
        yield number


DECLARED = re.compile(rb"(?is).*?\r\ncontent-length: (\d+)\r\n.*?\r\n\r\n(.*)")


def raw(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """What comes back for bytes sent one part after the other."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        with suppress(OSError):  # a server that has answered may have closed
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
        answer = connection.recv(65536)
        while (said := DECLARED.match(answer)) and len(said[2]) < int(said[1]) and (more := connection.recv(65536)):
            answer += more  # the head and the body may come one after the other
        return answer


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: here", *lines, "", ""]).encode()


def test_a_body_that_never_comes_is_given_up(port: int):
    begun = time.monotonic()
    answer = raw(port, head("/size", "content-length: 100"), b"x")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in answer
    assert time.monotonic() - begun < 2


def test_a_body_in_drops_is_given_up(port: int):
    drops = [b"1\r\nx\r\n"] * 12
    answer = raw(port, head("/size", "transfer-encoding: chunked"), *drops, pause=0.05)
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_slow_body_that_moves_on_is_waited_for(port: int):
    # 0.6 s is more than the time to begin with, and each part buys 0.5 s more.
    parts = [b"x" * 50_000] * 4
    answer = raw(port, head("/size", "content-length: 200000"), *parts, pause=0.15)
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_body_larger_than_it_said_ends_where_it_said(port: int):
    answer = raw(port, head("/size", "content-length: 3"), b"xxxxxxxxxx")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"\r\n\r\n3" in answer


def test_a_too_large_body_is_answered_before_it_is_sent(port: int):
    answer = raw(port, head("/size", "content-length: 1000000000", "expect: 100-continue"))
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_client_that_sends_on_still_reads_the_refusal(port: int):
    answer = httpx.post(f"http://127.0.0.1:{port}/size", content=b"x" * 8_000_000)
    assert answer.status_code == 413


def test_a_response_passes_through_as_it_is_made(port: int):
    with httpx.stream("POST", f"http://127.0.0.1:{port}/stream", content=b"{}") as answer:
        begun = time.monotonic()
        first = next(answer.iter_text())
        assert first.startswith("0")
        assert time.monotonic() - begun < 2


def test_a_client_that_leaves_ends_the_work(port: int):
    LEFT.clear()
    with httpx.stream("POST", f"http://127.0.0.1:{port}/stream", content=b"{}") as answer:
        next(answer.iter_text())
    assert LEFT.wait(2)


def test_a_long_stream_is_not_taken_for_a_slow_body(port: int):
    with httpx.stream("POST", f"http://127.0.0.1:{port}/stream", content=b"{}") as answer:
        begun, pieces = time.monotonic(), answer.iter_lines()
        while time.monotonic() - begun < 0.7:
            next(pieces)


# --- keys ---

KEYS = {"api_keys": ("first-key", "second-key")}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer first-key"},
        {"authorization": "bearer  second-key "},
        {"x-moondream-auth": "second-key"},
        {"authorization": "Bearer first-key", "x-moondream-auth": "first-key"},
    ],
)
def test_either_header_carries_a_key(headers: dict[str, str]):
    assert client(**KEYS).post("/size", content=b"x", headers=headers).json() == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer first-ke"},
        {"authorization": "Bearer first-key x"},
        {"authorization": "Basic first-key"},
        {"authorization": "first-key"},
        {"authorization": b"Bearer \xff\xfe"},
        {"x-moondream-auth": "none"},
        {"authorization": "Bearer first-key", "x-moondream-auth": "none"},
        {"authorization": "Bearer first-key", "x-moondream-auth": "second-key"},
    ],
)
def test_without_the_one_right_key_there_is_no_answer(headers: dict[str, str]):
    answer = client(**KEYS).post("/size", content=b"x", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "first-key" not in answer.text


def test_two_headers_of_one_name_are_refused():
    headers = [("authorization", "Bearer first-key"), ("authorization", "Bearer none")]
    assert client(**KEYS).post("/size", headers=headers).status_code == 401


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/nowhere", "/health/", "/health/../size", "//health"])
def test_everything_but_health_is_closed(path: str):
    assert client(**KEYS).get(path, follow_redirects=False).status_code == 401


def test_health_is_open():
    assert client(**KEYS).get("/health").json() == "well"


def test_web_sockets_need_the_key_too():
    app = make_app(**KEYS)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/x", "headers": [], "state": {}}
    asyncio.run(app.middleware_stack or app.build_middleware_stack()(scope, None, send))  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_pages_of_other_sites_cannot_name_this_server():
    here = client(allowed_hosts=("localhost", "127.0.0.1", "[::1]"))
    for host, status in (
        ("localhost", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("LOCALHOST:1", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("", 403),
    ):
        assert here.post("/size", headers={"host": host}).status_code == status, host


# --- rates ---


def test_a_key_gets_its_minute_and_then_waits():
    here = client(requests_per_minute=3, **KEYS)
    first, second = ({"authorization": f"Bearer {key}"} for key in KEYS["api_keys"])
    assert [here.post("/size", headers=first).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = here.post("/size", headers=first)
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert here.post("/size", headers=second).status_code == 200
    assert here.get("/health").status_code == 200


def test_rates_fill_up_again_one_by_one():
    async def passes(scope: Any, receive: Any, send: Any) -> None:
        await send({"status": 200})

    clock = [0.0]
    limit = RateLimit(passes, settings=Settings(requests_per_minute=6), clock=lambda: clock[0])

    def ask(*callers: str) -> list[int]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            if "status" in message:
                sent.append(message["status"])

        async def all_of_them() -> None:
            for caller in callers:
                scope = {"type": "http", "path": "/", "headers": [], "client": (caller, 1)}
                await limit(scope, None, send)  # type: ignore[arg-type]

        asyncio.run(all_of_them())
        return sent

    one = "10.0.0.1"

    assert ask(*[one] * 7) == [200] * 6 + [429]
    clock[0] = 9.9
    assert ask(one) == [429]
    clock[0] = 10.0
    assert ask(one, one) == [200, 429]
    clock[0] = 1000.0
    assert ask(*[one] * 7) == [200] * 6 + [429]
    assert set(ask(*[f"10.{number}" for number in range(20_000)])) == {200}
    assert len(limit._free_at) <= 10_000


def test_there_is_no_limit_by_default():
    here = client()
    assert all(here.post("/size").status_code == 200 for _ in range(20))


# --- the log ---


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.message) for record in caplog.records if record.name == "generalist_serving.access"]


def test_a_request_leaves_one_line_without_what_was_asked(caplog):
    caplog.set_level(logging.INFO, "generalist_serving.access")
    headers = {"authorization": "Bearer first-key", "x-request-id": "mine-1"}
    answer = client(**KEYS).post("/size?token=secret", content=b"picture", headers=headers)
    (line,) = logged(caplog)
    assert answer.headers["x-request-id"] == "mine-1"
    expected = {"id": "mine-1", "method": "POST", "path": "/size", "status": 200, "received": 7, "end": "whole"}
    assert {key: line[key] for key in expected} == expected
    assert line["ms"] >= line["first_ms"] >= 0
    for secret in ("secret", "picture", "first-key"):
        assert secret not in caplog.text


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "new\tline", '"}{', "é"])
def test_odd_request_ids_are_replaced(given: str):
    answer = client().post("/size", headers={"x-request-id": given.encode()})
    assert len(answer.headers["x-request-id"]) == 32


def test_refusals_are_logged_with_their_status(caplog):
    caplog.set_level(logging.INFO, "generalist_serving.access")
    client(**KEYS).post("/size")
    client(max_body_bytes=1).post("/size", content=b"xx")
    assert [line["status"] for line in logged(caplog)] == [401, 413]


def test_a_client_that_left_is_logged_as_such(port: int, caplog):
    caplog.set_level(logging.INFO, "generalist_serving.access")
    LEFT.clear()
    with httpx.stream("POST", f"http://127.0.0.1:{port}/stream", content=b"{}") as answer:
        next(answer.iter_text())
    LEFT.wait(2)
    for _ in range(100):
        if logged(caplog):
            break
        time.sleep(0.02)
    assert logged(caplog)[-1]["end"] == "client left"
