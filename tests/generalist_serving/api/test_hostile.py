"""Every hostile request is answered 4xx within a second, without much memory, and the next good one works."""

from __future__ import annotations

import gc
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from generalist.tokens import Vocabulary
from generalist_serving.api import remote
from generalist_serving.api.app import create_app
from generalist_serving.api.settings import Settings
from generalist_serving.index_root import find_indexes
from generalist_serving.indexes import Indexes
from generalist_serving.service import Service

from ..routes import MODEL
from ..scripted_backend import DOG, ScriptedBackend, scripted_line
from ..searched_indexes import build
from .hostile import BODIES, CHAT, GOOD_IMAGE, JSON, NAMES, PICTURES, RAW, REMOTE, about, question
from .live_server import live

SECONDS = 1.0  # on a machine that has nothing else to do
PEAK_MB = 250  # of the server and of the test itself, whose largest body is 21 MB
INTERNALS = re.compile(r"Traceback|File \"|/site-packages|\.py\b|root:")


class Target:
    """A server of scripted replies behind a real socket."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
        self.check_alive()
        # What compiles schemas is loaded when it is needed first.
        assert self.client.post(CHAT, json=question(response_format={"type": "json_object"})).status_code == 200

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        return self.client.post(path, content=body, headers=headers)

    def check_alive(self) -> None:
        """A good request is answered as ever."""
        answer = self.client.post(CHAT, json=about(GOOD_IMAGE))
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["visual"]


def start(vocab: Vocabulary, ids: Callable[[str], list[int]], adapters_root: Path, **fields: Any):
    indexes = Indexes(find_indexes(build(adapters_root / "indexes")))
    service = Service(scripted_line(vocab), ScriptedBackend([ids(DOG)], piece=50), model=MODEL, indexes=indexes)
    return live(create_app(service, Settings(adapters_root=adapters_root, **fields)), ws="none", http="h11")


@pytest.fixture(scope="module")
def target(vocab, ids, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with start(vocab, ids, tmp_path_factory.mktemp("adapters")) as port:
        yield Target(port)


@pytest.fixture(scope="module")
def impatient(vocab, ids, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One that gives up a body after a moment."""
    with start(vocab, ids, tmp_path_factory.mktemp("adapters"), body_timeout_s=0.3) as port:
        yield Target(port)


@pytest.fixture(scope="module")
def fetching(vocab, ids, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One that fetches remote images."""
    with start(vocab, ids, tmp_path_factory.mktemp("adapters"), allow_remote_images=True) as port:
        yield Target(port)


def seconds() -> float:
    """:data:`SECONDS`, longer by as much as the work of others slows this machine down."""
    return SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def memory(kind: str) -> int:
    """Of this process, in MB; 0 where that cannot be known."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith(kind)), 0)


def forget_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def check_refused(target: Target, path: str, body: bytes, headers: dict[str, str]) -> None:
    forget_peak()
    before, begun = memory("VmRSS"), time.monotonic()
    answer = target.post(path, body, headers)
    took, more = time.monotonic() - begun, memory("VmHWM") - before
    assert 400 <= answer.status_code < 500, answer.text[:500]
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert len(error["message"]) <= 500
    assert not INTERNALS.search(answer.text)
    assert took < seconds()
    assert more < PEAK_MB
    target.check_alive()


def test_the_corpus_is_large():
    assert len(JSON) + len(PICTURES) + len(BODIES) + len(REMOTE) + len(RAW) >= 150


@pytest.mark.parametrize("name", JSON)
def test_wrong_values(target: Target, name: str):
    path, body = JSON[name]
    check_refused(target, path, json.dumps(body).encode(), {"content-type": "application/json"})


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(target: Target, name: str):
    body = json.dumps(PICTURES[name]()).encode()
    check_refused(target, CHAT, body, {"content-type": "application/json"})


@pytest.mark.parametrize("name", BODIES)
def test_bodies(target: Target, name: str):
    make, headers = BODIES[name]
    check_refused(target, CHAT, make(), headers)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names resolve as the corpus says, numbers as the system says, and no connection is made."""
    system = remote.resolve

    def resolve(host: str, port: int) -> list[str]:
        named = not re.fullmatch(r"[0-9a-fx.:]+", host) and host != "localhost"
        return NAMES.get(host, []) if named else system(host, port)

    async def connect(*_: object) -> bytes:
        pytest.fail("a connection was made")

    monkeypatch.setattr(remote, "resolve", resolve)
    monkeypatch.setattr(remote, "_get_from", connect)


@pytest.mark.parametrize("url", REMOTE)
def test_urls(fetching: Target, names: None, url: str):
    check_refused(fetching, CHAT, json.dumps(about(url)).encode(), {"content-type": "application/json"})


@pytest.mark.parametrize("name", RAW)
def test_bytes_on_a_socket(impatient: Target, name: str):
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=5) as connection:
        with suppress(OSError):  # a server that has answered may have closed
            connection.sendall(RAW[name])
        answer = connection.recv(65536)
    assert re.match(rb"HTTP/1\.1 4\d\d ", answer), answer[:200]
    assert time.monotonic() - begun < seconds() + 0.3
    impatient.check_alive()


def test_memory_stays_where_it_is(target: Target):
    def ask_all() -> int:
        for make in list(PICTURES.values())[::3]:
            target.client.post(CHAT, json=make())
        for make_body, headers in list(BODIES.values())[::3]:
            target.post(CHAT, make_body(), headers)
        gc.collect()
        return memory("VmRSS")

    first = ask_all()
    assert ask_all() - first < 40


def test_many_at_once_leave_the_server_answering(impatient: Target):
    """Forty bodies that never come, while good requests are answered."""
    heads = [RAW["body-none"]] * 40
    connections = [socket.create_connection(("127.0.0.1", impatient.port), timeout=5) for _ in heads]
    try:
        for connection, head in zip(connections, heads, strict=True):
            connection.sendall(head)
        impatient.check_alive()
        assert all(connection.recv(64).startswith(b"HTTP/1.1 408") for connection in connections)
    finally:
        for connection in connections:
            connection.close()
