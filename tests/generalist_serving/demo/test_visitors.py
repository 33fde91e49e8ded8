"""Twenty visitors at once: those who must wait are told their place, and none is lost."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from generalist.tokens import Vocabulary
from generalist_serving.demo.chat_tab import AT_ONCE

from ..scripted_backend import Ids
from .scripted_demo import BOX, World, ask, picture_bytes, scripted_demo, until, upload, visit

if TYPE_CHECKING:
    from playwright.sync_api import Page

VISITORS = 20


@pytest.fixture
def world(vocab: Vocabulary, ids: Ids) -> Iterator[World]:
    with scripted_demo(vocab) as world:
        world.backend.replies = [tuple(ids(BOX))]
        yield world


class Visitor:
    """What a page sends and gets when its visitor asks, without the page: Gradio's queue over HTTP."""

    def __init__(self, world: World) -> None:
        self._http = httpx.Client(base_url=world.url, timeout=120)
        self._session = secrets.token_hex(5)
        self.places: list[int] = []
        self.turns: list[Any] = []

    def ask(self, words: str) -> str:
        """The words of the answer."""
        config = self._http.get("/config").json()
        sends = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "send")
        (event,) = [one for one in config["dependencies"] if [sends, "click"] in one["targets"]]
        session = self._session
        data: list[Any] = ["", None, words, "chat", None, {"prompts": []}]  # in the order of the event's inputs
        body = {"data": data, "fn_index": event["id"], "trigger_id": sends, "session_hash": session}
        self._http.post("/gradio_api/queue/join", json=body).raise_for_status()
        with self._http.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                if message.get("msg") == "estimation":
                    self.places.append(message["rank"])
                if message.get("msg") == "process_completed":
                    assert message["success"], message
                    return self._words(message["output"]["data"])
        raise AssertionError("the stream ended without an answer")

    def _words(self, data: list[Any]) -> str:
        (self.turns,) = [value["turns"] for value in data if isinstance(value, dict) and value.get("turns")]
        return "".join(segment["text"] for segment in self.turns[-1]["segments"])


def test_nobody_is_lost(world: World) -> None:
    world.backend.delay = 0.05
    visitors = [Visitor(world) for _ in range(VISITORS)]
    with ThreadPoolExecutor(VISITORS) as pool:
        told = list(pool.map(lambda visitor: visitor.ask("Where is the dog?"), visitors))
    assert told == ["The dog sits."] * VISITORS
    assert world.backend.finished == VISITORS
    assert len([visitor for visitor in visitors if visitor.places and max(visitor.places) > 0]) > 0


def test_who_asks_before_the_page_knows_whose_it_is_stays_the_same(world: World) -> None:
    visitor = Visitor(world)
    for words in ("Where is the dog?", "And now?"):
        visitor.ask(words)
    assert [turn["question"] for turn in visitor.turns] == ["Where is the dog?", "And now?"]


def test_who_waits_sees_the_place_in_the_queue(world: World, page: Page, ids: Ids) -> None:
    visit(page, world.url)
    upload(page, ("dog.png", picture_bytes()))
    more = " It sleeps." * 12
    world.backend.replies = [tuple(ids(BOX + more))]
    world.backend.delay = 0.4
    with ThreadPoolExecutor(VISITORS) as pool:
        others = [pool.submit(Visitor(world).ask, "Where?") for _ in range(VISITORS - 1)]
        until(lambda: world.backend.running == AT_ONCE, "as many are answered as can be")
        ask(page, "Where is the dog?")
        page.locator(".transcript").get_by_text("queue:").wait_for()
        world.backend.delay = 0
        assert [other.result() for other in others] == ["The dog sits." + more] * (VISITORS - 1)
    page.get_by_role("button", name="Retry").wait_for()
