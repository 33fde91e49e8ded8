from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.responses import PlainTextResponse

from generalist_serving.api.connections import TimelyProtocol

from .live_server import live

HEAD = b"GET / HTTP/1.1\r\nhost: here\r\n"


class Hasty(TimelyProtocol):
    head_timeout_s = 0.3


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with live(PlainTextResponse("well"), http=Hasty) as number:
        yield number


def answer(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:  # it has answered and closed
                break
            time.sleep(pause)
        return connection.recv(65536)


@pytest.mark.parametrize("parts", [[], [b"G"], [HEAD], [HEAD, b"x-a: "]])
def test_a_head_that_never_ends_is_given_up(port: int, parts: list[bytes]):
    begun = time.monotonic()
    assert answer(port, *parts).startswith(b"HTTP/1.1 408")
    assert 0.2 < time.monotonic() - begun < 3


def test_a_head_in_drops_is_given_up(port: int):
    drops = [bytes([byte]) for byte in HEAD]
    assert answer(port, *drops, pause=0.03).startswith(b"HTTP/1.1 408")


def test_a_head_that_comes_in_time_is_answered(port: int):
    assert answer(port, HEAD, b"\r\n", pause=0.05).startswith(b"HTTP/1.1 200")


def test_a_connection_can_be_used_again(port: int):
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        for _ in range(3):
            assert client.get("/").text == "well"
            time.sleep(0.2)


def test_the_second_head_of_a_connection_has_its_time_too(port: int):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(HEAD + b"\r\n")
        answered = b""
        while not answered.endswith(b"well") and (part := connection.recv(65536)):  # head and body may come apart
            answered += part
        assert answered.startswith(b"HTTP/1.1 200")
        time.sleep(0.4)
        connection.sendall(HEAD)
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")
