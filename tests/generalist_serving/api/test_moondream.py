"""Moondream's routes, asked by Moondream's own client and by hand."""

from __future__ import annotations

import base64
import io
import json
import urllib.error
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from generalist.tokens import Vocabulary
from generalist.visual import decode_png16
from generalist_serving.api.middleware import install
from generalist_serving.api.moondream import DETAILED_CAPTION, router
from generalist_serving.api.settings import Settings
from generalist_serving.service import Service

from ..scripted_backend import DOG, NOTHING, Ids, ScriptedBackend, scripted_line
from .live_server import live

PICTURE = Image.new("RGB", (128, 64), (200, 30, 30))
PLAN = "<Task>- Name: dog Unit: box Num: 1</Task>"
TWO = "<Phrase>dogs</Phrase>(<Unit>{}</Unit>[0]<loc_0016><loc_0016>{}[1]<loc_0032><loc_0008>{})"
SECRET = "the-key"


def client(endpoint: str, key: str) -> Any:
    """Moondream's own; it brings a gigabyte of kernels for GPUs, so that it is not installed for every test run."""
    moondream = pytest.importorskip("moondream", reason="Moondream's client is not installed: pip install moondream")
    return moondream.vl(endpoint=endpoint, api_key=key)


class World:
    """A backend that says what a test tells it, behind the routes; ``say`` changes what it says.

    ``http`` asks the routes alone; behind ``locked`` they want a key.
    """

    def __init__(self, vocab: Vocabulary, ids: Ids) -> None:
        self.vocab = vocab
        self.ids = ids
        self.backend = ScriptedBackend([])
        self.service = Service(scripted_line(vocab), self.backend, model="nano")
        routes = router(self.service, Settings(max_tokens=600))
        self.app, self.locked = FastAPI(), FastAPI()
        self.app.include_router(routes)
        self.locked.include_router(routes)
        install(self.locked, Settings(api_keys=(SECRET,)))
        self.http = TestClient(self.app)

    def reset(self) -> None:
        """As if nothing had been asked."""
        vars(self.backend).update(vars(ScriptedBackend([self.ids(DOG)], adapters={"cats": "/nowhere"})))

    def say(self, text: str) -> None:
        self.backend.replies = [tuple(self.ids(text))]

    @property
    def asked(self) -> str:
        return self.vocab.decode_text(self.backend.prompts[-1].token_ids)

    def post(self, route: str, **body: Any) -> dict[str, Any]:
        response = self.http.post(f"/v1/{route}", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def refused(self, route: str, **body: Any) -> dict[str, Any]:
        response = self.http.post(f"/v1/{route}", json=body)
        assert 400 <= response.status_code < 500, response.text
        return response.json()["error"] | {"status": response.status_code}


@pytest.fixture(scope="module")
def shared(vocab: Vocabulary, ids: Ids) -> World:
    """One for all tests, as the routes take a while to make."""
    return World(vocab, ids)


@pytest.fixture
def world(shared: World) -> World:
    shared.reset()
    return shared


def url(picture: Image.Image = PICTURE) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def two(kind: str, rest: str = "") -> str:
    return TWO.format(kind, rest, rest)


MASK_REST = "<loc_0048><loc_0048>" + "<mask_001>" * 16
DEPTH = "<Phrase>depth</Phrase>(<Unit>depth</Unit>[0]<loc_0002><loc_0040>" + "<depth_003>" * 64 + ")"


# --- Moondream's client -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def endpoint(shared: World) -> Iterator[str]:
    with live(shared.locked) as port:
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture
def model(world: World, endpoint: str) -> Any:
    return client(endpoint, SECRET)


def test_the_client_reads_boxes(model: Any) -> None:
    (found,) = model.detect(PICTURE, "dog")["objects"]
    assert found == pytest.approx({"x_min": 0.2578, "y_min": 0.2578, "x_max": 0.5078, "y_max": 0.7578}, abs=1e-3)


def test_the_client_reads_points(model: Any, world: World) -> None:
    world.say(two("point"))
    points = model.point(PICTURE, "dogs", spatial_refs=[[0.25, 0.5], [0.1, 0.1, 0.9, 0.9]])["points"]
    assert points == [
        pytest.approx({"x": 0.2578, "y": 0.2578}, abs=1e-3),
        pytest.approx({"x": 0.5078, "y": 0.1328}, abs=1e-3),
    ]


@pytest.mark.parametrize("reasoning", [False, True])
def test_the_client_reads_answers(model: Any, world: World, reasoning: bool) -> None:
    world.say(PLAN + DOG)
    result = model.query(PICTURE, "Where is the dog?", reasoning=reasoning)
    assert result.pop("answer") == "The dog sits."
    plan = {"text": "- Name: dog Unit: box Num: 1", "grounding": []}
    assert result == ({"reasoning": plan} if reasoning else {})


def test_the_client_reads_streams(model: Any, world: World) -> None:
    assert "".join(model.query(PICTURE, "Where is the dog?", stream=True)["answer"]) == "The dog sits."
    chunks = list(model.caption(PICTURE, stream=True)["caption"])
    assert "".join(chunks) == "The dog sits." and len(chunks) > 2
    assert len(world.backend.prompts) == 2


def test_the_client_asks_without_an_image(model: Any, world: World) -> None:
    world.say(NOTHING)
    assert model.query(question="Are you there?")["answer"] == NOTHING
    assert world.backend.prompts[-1].images == ()


@pytest.mark.parametrize("length", ["short", "normal", "long"])
def test_the_client_reads_captions(model: Any, world: World, length: Any) -> None:
    assert model.caption(PICTURE, length=length)["caption"] == "The dog sits."
    assert (DETAILED_CAPTION in world.asked) == (length == "long")


def test_the_client_reads_outlines(model: Any, world: World) -> None:
    world.say(two("mask", MASK_REST))  # the stand-in's masks fill the image
    whole = {"x_min": 0, "y_min": 0, "x_max": 1, "y_max": 1}
    result = model.segment(PICTURE, "dogs", spatial_refs=[[0.5, 0.5]])
    assert result["bbox"] == whole and result["path"].startswith("M ") and result["path"].endswith(" Z")
    first, last = model.segment(PICTURE, "dogs", stream=True)
    assert first == {"bbox": whole} and last == {"path": result["path"], "bbox": whole, "completed": True}


def test_the_client_reads_that_nothing_was_outlined(model: Any, world: World) -> None:
    world.say(NOTHING)
    assert model.segment(PICTURE, "dog") == {"path": ""}
    assert list(model.segment(PICTURE, "dog", stream=True)) == [{"path": "", "bbox": None, "completed": True}]


def test_the_client_needs_the_key(model: Any) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        client(model.endpoint, "another").detect(PICTURE, "dog")


# --- by hand ------------------------------------------------------------------------------------------------


def test_answers_say_how_they_ended_and_which_they_are(world: World) -> None:
    headers = {"x-request-id": "mine", "x-moondream-auth": SECRET}
    body = {"image_url": url(), "settings": {"max_tokens": 2}}
    response = TestClient(world.locked).post("/v1/caption", json=body, headers=headers)
    assert response.json() == {"request_id": "mine", "finish_reason": "length", "caption": response.json()["caption"]}
    assert world.backend.samplings[-1].max_new_tokens == 2


def test_depth_is_a_16_bit_picture(world: World) -> None:
    world.say(DEPTH)
    depth = world.post("depth", image_url=url())["depth"]
    values = decode_png16(base64.b64decode(depth.pop("png16")), depth.pop("scale"))
    assert values.shape == (64, 128) and np.allclose(values, 2.5)
    assert depth == {"unit": "metre", "min": 2.5, "max": 2.5}
    world.say(NOTHING)
    assert world.post("depth", image_url=url())["depth"] is None


@pytest.mark.parametrize(("route", "key"), [("detect", "objects"), ("point", "points")])
def test_at_most_so_many_objects(world: World, route: str, key: str) -> None:
    world.say(two("box", "<loc_0048><loc_0048>") if route == "detect" else two("point"))
    assert len(world.post(route, image_url=url(), object="dogs")[key]) == 2
    assert len(world.post(route, image_url=url(), object="dogs", settings={"max_objects": 1.0})[key]) == 1


def test_what_is_asked_reaches_the_model(world: World) -> None:
    chosen = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 30, "unknown": 1}
    world.post("detect", image_url=url(), object="{red} dogs", model="cats", settings=chosen, unknown=[1])
    prompt, sampling = world.backend.prompts[-1], world.backend.samplings[-1]
    assert "Detect {red} dogs." in world.asked and prompt.adapter == "cats" and prompt.images[0].size == (128, 64)
    assert (sampling.temperature, sampling.top_p, sampling.max_new_tokens) == (0.5, 0.9, 30)


def test_a_stream_ends_with_what_is_known_of_it(world: World) -> None:
    world.say(PLAN + DOG)
    body = {"image_url": url(), "question": "Where?", "stream": True, "reasoning": True}
    response = world.http.post("/v1/query", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in response.text.split("\n") if line]
    assert len({event.pop("request_id") for event in events}) == 1
    plan = {"text": "- Name: dog Unit: box Num: 1", "grounding": []}
    assert events[-1] == {"chunk": "", "completed": True, "finish_reason": "stop", "reasoning": plan}


def test_a_stream_that_fails_says_so(world: World) -> None:
    world.backend.fails_at = 2
    response = world.http.post("/v1/caption", json={"image_url": url(), "stream": True})
    last = json.loads(response.text.strip().split("\n")[-1].removeprefix("data: "))
    assert response.status_code == 200 and last["error"]["code"] == "internal"


@pytest.mark.parametrize("stream", [False, True])
def test_a_busy_server_says_when_to_come_again(world: World, stream: bool) -> None:
    world.backend.capacity = 0
    response = world.http.post("/v1/segment", json={"image_url": url(), "object": "dog", "stream": stream})
    assert response.status_code == 503 and response.headers["retry-after"] == "7"


MISTAKES = {
    "no image": ("caption", {}, "image_url"),
    "an image that is none": ("caption", {"image_url": "data:image/png;base64,AAAA"}, "image_url"),
    "an image elsewhere": ("detect", {"image_url": "https://example.com/a.png", "object": "dog"}, "image_url"),
    "nothing to find": ("detect", {"image_url": url()}, "object"),
    "a blank object": ("point", {"image_url": url(), "object": "  "}, "object"),
    "a blank question": ("query", {"question": "\n"}, "question"),
    "an unknown length": ("caption", {"image_url": url(), "length": "epic"}, "length"),
    "a stream that is no boolean": ("caption", {"image_url": url(), "stream": "yes"}, "stream"),
    "too many tokens": (
        *("caption", {"image_url": url(), "settings": {"max_tokens": 601}}),
        "settings.max_tokens",
    ),
    "a temperature in words": (
        *("caption", {"image_url": url(), "settings": {"temperature": "hot"}}),
        "settings.temperature",
    ),
    "an empty box": (
        *("segment", {"image_url": url(), "object": "dog", "spatial_refs": [[0.5, 0.5, 0.5, 0.9]]}),
        "spatial_refs",
    ),
    "a place outside": (
        *("point", {"image_url": url(), "object": "dog", "spatial_refs": [[0.5, 1.5]]}),
        "spatial_refs[0][1]",
    ),
    "a place without an image": ("query", {"question": "What?", "spatial_refs": [[0.5, 0.5]]}, "spatial_refs"),
    "an unknown model": ("caption", {"image_url": url(), "model": "moondream3"}, "model"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(world: World, mistake: str) -> None:
    route, body, param = MISTAKES[mistake]
    error = world.refused(route, **body)
    assert error["status"] == (404 if mistake == "an unknown model" else 400)
    assert (error["param"] or "") == param and error["message"]
    assert world.backend.prompts == []


def test_the_document_declares_streams_and_errors(world: World) -> None:
    document = world.http.get("/openapi.json").json()
    for route, event in [("caption", "chunk"), ("query", "chunk"), ("segment", "path")]:
        responses = document["paths"][f"/v1/{route}"]["post"]["responses"]
        sent = responses["200"]["content"]["text/event-stream"]["itemSchema"]["properties"]["data"]
        assert event in sent["contentSchema"]["properties"] and {"400", "404", "503"} <= set(responses)
    for name in set(json.dumps(document).split("#/components/schemas/")[1:]):
        assert name.split('"')[0] in document["components"]["schemas"]
