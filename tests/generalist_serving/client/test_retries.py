"""What the client does when the server refuses, fails, or is not there."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from generalist_serving.client import Client, ClientError

from .asked import CLIENTS, Server, asking, completion

REFUSAL = {"error": {"message": "messages is empty", "type": "invalid_request_error", "param": "messages", "code": "x"}}
BUSY = {"error": {"message": "the server is busy", "type": "server_error", "param": None, "code": "server_busy"}}


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client would have waited, each time."""
    waited: list[float] = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(asyncio, "sleep", wait)
    return waited


def busy(status: int = 503, after: str | None = None) -> httpx.Response:
    return httpx.Response(status, json=BUSY, headers={} if after is None else {"retry-after": after})


def caption(kind: str, server: Server, **options: Any) -> Any:
    return asking(kind, server, lambda client: client.ask(None, "Hello?"), **options)


def error(kind: str, server: Server, **options: Any) -> ClientError:
    with pytest.raises(ClientError) as raised:
        caption(kind, server, **options)
    return raised.value


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(kind: str, status: int, waits: list[float]) -> None:
    server = Server(busy(status, "7"), busy(status, "2"), completion())
    assert caption(kind, server).text == "The dog sits."
    assert waits == [7, 2] and len(server.requests) == 3
    assert server.requests[0].content == server.requests[2].content


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_stream_is_asked_for_again_too(kind: str, waits: list[float]) -> None:
    server = Server(busy(after="1"), b"data: [DONE]\n\n")
    (answer,) = asking(kind, server, lambda client: client.stream(None, "Hello?"))
    assert answer.text == "" and waits == [1]


@pytest.mark.parametrize("kind", CLIENTS)
def test_in_the_end_the_refusal_is_raised(kind: str, waits: list[float]) -> None:
    server = Server(busy())
    raised = error(kind, server)
    assert (raised.status, raised.code, raised.message) == (503, "server_busy", "the server is busy")
    assert str(raised) == "the server is busy (HTTP 503)" and len(server.requests) == 3
    assert 0.3 < waits[0] < 0.7 < waits[1] < 1.3


def test_a_time_to_come_again_may_be_a_date(waits: list[float]) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    caption("sync", Server(busy(after=at), completion()))
    assert 15 < waits[0] <= 20


@pytest.mark.parametrize("after", ["soon", "-5", "Wed, 21 Oct 2015 07:28:00 GMT", ""])
def test_strange_times_are_survived(after: str, waits: list[float]) -> None:
    assert caption("sync", Server(busy(after=after), completion())).text
    assert 0 <= waits[0] < 1


def test_too_long_a_wait_is_left_to_the_caller(waits: list[float]) -> None:
    server = Server(busy(429, "3600"))
    assert error("sync", server).status == 429 and waits == [] and len(server.requests) == 1


def test_retries_can_be_switched_off(waits: list[float]) -> None:
    assert error("sync", Server(busy()), retries=0).status == 503 and waits == []


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("status", [400, 401, 404, 413, 500])
def test_other_errors_are_raised_at_once(kind: str, status: int, waits: list[float]) -> None:
    server = Server(httpx.Response(status, json=REFUSAL, headers={"x-request-id": "r1"}))
    raised = error(kind, server)
    assert (raised.status, raised.code, raised.request_id) == (status, "x", "r1") and waits == []


@pytest.mark.parametrize(
    "reply",
    [httpx.Response(502, text="<html>\nBad  gateway"), httpx.Response(502, json=["no"]), httpx.Response(302)],
)
def test_errors_of_other_programs(reply: httpx.Response) -> None:
    raised = error("sync", Server(reply))
    assert raised.status == reply.status_code and raised.code is None and "\n" not in raised.message


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("failure", [httpx.ConnectError("refused"), httpx.RemoteProtocolError("gone")])
def test_a_failed_connection_is_tried_again(kind: str, failure: Exception, waits: list[float]) -> None:
    assert caption(kind, Server(failure, completion())).text and len(waits) == 1
    raised = error(kind, Server(failure))
    assert (raised.status, raised.code) == (None, "connection")


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_slow_answer_is_not_asked_for_twice(kind: str, waits: list[float]) -> None:
    server = Server(httpx.ReadTimeout("slow"))
    assert error(kind, server).code == "timeout" and waits == [] and len(server.requests) == 1


def test_no_server_at_all() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ClientError, match=f"{address}/ cannot be reached .*is it running") as raised:
            Client(address, retries=0).caption("data:,")
    assert raised.value.code == "connection"


@pytest.mark.parametrize(
    "reply",
    [
        b"hello",
        {"choices": []},
        {"choices": [{"message": {"content": "a", "visual": [{"type": "box"}]}}]},
        completion(visual=[{"index": 0}]),
        completion(image="none"),
        completion(image=[]),  # the box lies on an image of no known size
    ],
)
@pytest.mark.parametrize("kind", CLIENTS)
def test_answers_of_other_programs(kind: str, reply: Any) -> None:
    raised = error(kind, Server(reply))
    assert raised.code == "answer" and raised.status == 200 and "check the address" in raised.message
