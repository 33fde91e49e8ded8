"""``generalist demo`` as a program: what it refuses, what it starts, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from generalist.tokens import Vocabulary
from generalist.types import GeneralistError
from generalist_serving.api.app import create_app
from generalist_serving.api.settings import Settings
from generalist_serving.demo.launch import DemoOptions, demo
from generalist_serving.service import Service

from ..api.live_server import live
from ..scripted_backend import NOTHING, Ids, ScriptedBackend, scripted_line
from .scripted_demo import KEY, ask_and_wait, stage_pixel, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[3]
APPLE = (210, 312, 640, 480)
"""Where the red apple of the sample "orchard" is about: x and y of its middle, and the size of the picture."""


@contextmanager
def program(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """(process, address of the page) once it can be used."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "generalist.cli", "demo", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            assert process.stdout is not None
            found = (re.search(r"the demo is on (http://\S+)", line) for line in iter(process.stdout.readline, ""))
            yield process, next(match[1] for match in found if match)
        finally:
            process.kill()


@contextmanager
def server(vocab: Vocabulary, ids: Ids) -> Iterator[str]:
    """The address of a server of scripted replies that asks for a key."""
    service = Service(scripted_line(vocab), ScriptedBackend([ids(NOTHING)]), model="nano")
    with live(create_app(service, Settings(api_keys=(KEY,)))) as port:
        yield f"http://127.0.0.1:{port}"


# --- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (DemoOptions(host="0.0.0.0"), "--host 0.0.0.0 can be reached by others and there is no login; give --no-auth"),
        (DemoOptions(api_key_file=Path("k")), "--api-key-file is for the server of --url"),
        (DemoOptions(url="http://127.0.0.1:9", model="other"), "--url names a server that has its model already"),
        (DemoOptions(url="http://127.0.0.1:9", indexes=Path("here")), "leave out .* and --indexes"),
        (DemoOptions(indexes=Path("nowhere"), port=0), "--indexes nowhere: cannot read this folder"),
        (DemoOptions(inspect=(Path("nowhere"),), port=0), "nowhere"),
        (DemoOptions(url="ftp://somewhere"), "--url is 'ftp://somewhere'; use the server's address"),
        (DemoOptions(url="http://127.0.0.1:9", port=0), "--url http://127.0.0.1:9: .* cannot be reached"),
        (DemoOptions(url="http://127.0.0.1:9", port=70000), "--port is 70000"),
        (DemoOptions(model="nowhere"), "nowhere"),
        (DemoOptions(engine="steam"), "there is no engine 'steam'"),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(options: DemoOptions, told: str) -> None:
    with pytest.raises(GeneralistError, match=told):
        demo(options, prepare=lambda: pytest.fail("a model is loaded"))


def test_a_taken_port(vocab: Vocabulary, ids: Ids) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(GeneralistError, match=f"port {port} of 127.0.0.1 is in use"):
            demo(DemoOptions(port=port), prepare=lambda: pytest.fail("a model is loaded"))


def test_a_wrong_key(vocab: Vocabulary, ids: Ids, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("another")
    key.chmod(0o600)
    with server(vocab, ids) as url, pytest.raises(GeneralistError, match="the API key is wrong"):
        demo(DemoOptions(url=url, api_key_file=key, port=0))


# --- what is started -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_page_in_front_of_another_server(vocab: Vocabulary, ids: Ids, tmp_path: Path, how: signal.Signals) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    with server(vocab, ids) as url, program("--url", url, "--api-key-file", str(key), "--port", "0") as (process, page):
        assert httpx.get(page).status_code == 200
        assert KEY not in httpx.get(f"{page}/config").text
        process.send_signal(how)
        assert process.wait(20) == 0


def test_the_shipped_model_end_to_end(page: Page) -> None:
    with program("--port", "0", "--device", "cpu") as (process, address):
        assert httpx.get(address, headers={"host": "evil.example"}).status_code == 403
        page.set_default_timeout(60_000)
        page.goto(address)
        page.locator(".pictures .sample").first.click()
        page.locator("#chat-stage img.shown").wait_for()
        x, y, *size = APPLE
        before = stage_pixel(page, x, y, (size[0], size[1]))
        ask_and_wait(page, "Segment the red apple.")
        page.locator("#chat-stage .units").get_by_text("apple").first.wait_for()
        until(lambda: stage_pixel(page, x, y, (size[0], size[1])) != before, "the mask covers the apple")
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
