"""The clients against the whole server, over sockets; only the model is scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from generalist.reply.events import TextDelta
from generalist.tokens import Vocabulary
from generalist.types import Grounded, Message, PlanItem, Sampling
from generalist.visual import bitmap_prompt, box_prompt, point_prompt
from generalist_serving.api.app import create_app
from generalist_serving.api.settings import Settings
from generalist_serving.client import AsyncClient, Client, ClientAnswer, ClientError
from generalist_serving.service import Service

from ..api.live_server import live
from ..scripted_backend import DOG, Ids, ScriptedBackend, scripted_line

PICTURE = Image.new("RGB", (128, 64), (200, 30, 30))
SIZE = (128, 64)
PLAN = "<Task>- Name: dog Unit: box Num: 1</Task>"
EVERYTHING = (
    f"{PLAN}A <Phrase>dog</Phrase>(<Unit>mask</Unit>[0]<loc_0016><loc_0016><loc_0032><loc_0048>"
    + "<mask_001>" * 16
    + "), a <Phrase>nose</Phrase>(<Unit>point</Unit>[0]<loc_0020><loc_0020>) and <Phrase>depth</Phrase>"
    + "(<Unit>depth</Unit>[0]<loc_0002><loc_0040>"
    + "<depth_003>" * 64
    + ")."
)


@dataclass
class World:
    url: str
    backend: ScriptedBackend


@pytest.fixture(scope="module")
def server(vocab: Vocabulary) -> Iterator[World]:
    backend = ScriptedBackend([], adapters={"cats": "/nowhere"})
    service = Service(scripted_line(vocab), backend, model="nano")
    with live(create_app(service, Settings(api_keys=("the-key",)))) as port:
        yield World(f"http://127.0.0.1:{port}", backend)


@pytest.fixture
def world(server: World, ids: Ids) -> World:
    """With a backend that has been asked nothing yet; one server for all tests, as it takes a while to make."""
    fresh = ScriptedBackend([ids(PLAN + DOG)], adapters={"cats": "/nowhere"})
    vars(server.backend).update(vars(fresh))
    return server


@pytest.fixture
def client(world: World) -> Iterator[Client]:
    with Client(world.url, "the-key", retries=0) as client:
        yield client


def test_a_detection(client: Client) -> None:
    answer = client.detect(PICTURE, "dogs")
    assert answer.text == "The dog sits." and answer.plan == (PlanItem(name="dog", kind="box", num=1),)
    assert answer.sizes == (SIZE,) and answer.boxes[0].score is not None
    found = answer.to_supervision()
    np.testing.assert_allclose(found.xyxy, [[33, 16.5, 65, 48.5]], atol=1)
    assert answer.overlay().size == SIZE
    assert answer.usage.completion_tokens > 0


def test_every_kind_of_drawing(client: Client, world: World, ids: Ids) -> None:
    world.backend.replies = [tuple(ids(EVERYTHING))]
    answer = client.ask(PICTURE, "Describe it.")
    assert [len(answer.masks), len(answer.points)] == [1, 1] and answer.text == "A dog, a nose and depth."
    assert answer.depth is not None and answer.depth.values.shape == (64, 128)


def test_drawings_as_they_come(client: Client, world: World, ids: Ids) -> None:
    world.backend.replies = [tuple(ids(EVERYTHING))]
    *events, answer = client.stream(PICTURE, "Describe it.")
    assert isinstance(answer, ClientAnswer) and answer.usage.completion_tokens > 0
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == answer.text == "A dog, a nose and depth."
    assert [type(e.output).__name__ for e in events if isinstance(e, Grounded)] == ["Mask", "Point", "DepthMap"]
    assert answer.plan == (PlanItem(name="dog", kind="box", num=1),) and answer.overlay().size == SIZE


def test_what_was_drawn_and_chosen_reaches_the_model(client: Client, world: World) -> None:
    painted = np.ones((64, 128), np.bool_)
    drawn = [point_prompt((2, 3), SIZE), box_prompt((10, 20, 50, 60), SIZE), bitmap_prompt("mask", painted, SIZE)]
    chosen = Sampling(temperature=0.5, top_p=0.9, top_k=3, max_new_tokens=40, seed=1)
    client.segment(PICTURE, "this", visual_prompts=drawn, sampling=chosen, model="cats")
    assert world.backend.samplings == [chosen] and world.backend.prompts[0].adapter == "cats"


def test_a_conversation_about_two_pictures(client: Client, world: World) -> None:
    turns = [
        Message(role="user", text="What is this?", images=(PICTURE,)),
        Message(role="assistant", text="A dog."),
        Message(role="user", text="And here?", images=(Image.new("RGB", (32, 48)),)),
    ]
    answer = client.chat(turns)
    assert answer.sizes == (SIZE, (32, 48)) and [g.image for g in answer.outputs] == [1]
    assert len(world.backend.prompts[0].images) == 2 and answer.overlay().size == (32, 48)


def test_a_mistake(client: Client) -> None:
    with pytest.raises(ClientError, match="there is no model 'dogs'") as raised:
        client.caption(PICTURE, model="dogs")
    assert (raised.value.status, raised.value.code) == (404, "model_not_found") and raised.value.request_id


def test_a_wrong_key(world: World) -> None:
    with Client(world.url, "another") as client, pytest.raises(ClientError) as raised:
        client.caption(PICTURE)
    assert (raised.value.status, raised.value.code) == (401, "invalid_api_key")


def test_a_busy_server(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.backend.capacity = 0
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        world.backend.capacity = None

    monkeypatch.setattr("generalist_serving.client.http.time.sleep", wait)
    with Client(world.url, "the-key") as client:
        assert client.caption(PICTURE).text == "The dog sits."
    assert waited == [7]


def test_a_stream_that_fails(client: Client, world: World) -> None:
    world.backend.fails_at = 30
    with pytest.raises(ClientError) as raised:
        list(client.stream(PICTURE, "Where?"))
    assert raised.value.code == "internal"


def test_many_at_once(world: World) -> None:
    async def ask_all() -> list[ClientAnswer]:
        async with AsyncClient(world.url, "the-key") as client:
            return await asyncio.gather(*[client.detect(PICTURE, "dogs") for _ in range(8)])

    answers = asyncio.run(ask_all())
    assert [len(answer.boxes) for answer in answers] == [1] * 8


def test_who_stops_listening_stops_the_model(world: World) -> None:
    world.backend.delay = 0.02

    async def leave() -> None:
        async with AsyncClient(world.url, "the-key") as client:
            async for _ in client.stream(PICTURE, "Where?"):
                break
        for _ in range(200):
            if world.backend.cancelled:
                break
            await asyncio.sleep(0.01)

    asyncio.run(leave())
    assert (world.backend.cancelled, world.backend.finished) == (1, 0)
