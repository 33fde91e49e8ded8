"""What the client sends, and how it puts it."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from generalist.types import GeneralistError, Message, Sampling, VisualPrompt
from generalist.visual import bitmap_prompt, box_prompt, point_prompt
from generalist_serving.client import Client, asking

from .asked import CLIENTS, Server, completion
from .asked import asking as ask

PICTURE = Image.new("RGB", (100, 80), (200, 30, 30))
SIZE = (100, 80)


def jpeg(picture: Image.Image = PICTURE, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def parts(server: Server) -> list[dict[str, Any]]:
    (message,) = server.body["messages"]
    assert message["role"] == "user"
    return message["content"]


def sent(server: Server) -> Image.Image:
    """The picture in the last request, as it is stored."""
    url = parts(server)[0]["image_url"]["url"]
    kind, data = url.split(";base64,")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == f"data:image/{(picture.format or '').lower()}"
    return picture


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize(
    ("method", "arguments", "task", "text"),
    [
        ("ask", ("Where is it?",), "chat", "Where is it?"),
        ("detect", (), "detect", "Detect all objects."),
        ("detect", ("dogs",), "detect", "Detect dogs."),
        ("point", ("the dog",), "point", "Point to the dog."),
        ("segment", ("the dog",), "segment", "Segment the dog."),
        ("depth", (), "depth", "Estimate the depth."),
        ("caption", (), "caption", "Describe the image."),
        ("count", ("dogs",), "count", "How many dogs are there?"),
    ],
)
def test_every_question_is_asked_in_its_words(kind: str, method: str, arguments: Any, task: str, text: str) -> None:
    server = Server()
    answer = ask(kind, server, lambda client: getattr(client, method)(PICTURE, *arguments))
    assert server.body["task"] == task and parts(server)[1:] == [{"type": "text", "text": text}]
    assert server.requests[-1].headers["authorization"] == "Bearer key"
    assert str(server.requests[-1].url) == "http://server/v1/chat/completions"
    assert answer.text == "The dog sits."


@pytest.mark.parametrize("kind", CLIENTS)
def test_the_base_model_is_looked_up_once(kind: str) -> None:
    server = Server({"object": "list", "data": [{"id": "nano"}, {"id": "cats"}]}, completion())
    ask(kind, server, lambda client: client.caption(PICTURE), model=None)
    assert [request.url.path for request in server.requests] == ["/v1/models", "/v1/chat/completions"]
    assert server.body["model"] == "nano"
    with Client("http://server/v1/", model=None, transport=httpx.MockTransport(server)) as client:
        server.replies = [{"data": [{"id": "nano"}]}, completion()]
        client.caption(PICTURE), client.caption(PICTURE)
        client.caption(PICTURE, model="cats")
    assert [request.method for request in server.requests[2:]] == ["GET", "POST", "POST", "POST"]
    assert server.body["model"] == "cats" and "authorization" not in server.requests[-1].headers


def test_files_are_sent_as_they_are(tmp_path: Path) -> None:
    server, data = Server(), jpeg(orientation=6)
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for source in (path, str(path), data):
        answer = ask("sync", server, lambda client, source=source: client.caption(source))
        assert parts(server)[0]["image_url"]["url"].endswith(base64.b64encode(data).decode())
        assert answer.images[0].size == (80, 100)  # upright, as the server sees it


@pytest.mark.parametrize("source", [PICTURE, np.asarray(PICTURE), np.zeros((80, 100), np.float32)])
def test_pictures_are_sent_without_loss(source: Any) -> None:
    server = Server()
    ask("sync", server, lambda client: client.caption(source))
    assert sent(server).format == "PNG" and sent(server).size == SIZE


def test_rare_files_are_sent_as_png() -> None:
    buffer, server = io.BytesIO(), Server()
    PICTURE.save(buffer, "PPM")
    ask("sync", server, lambda client: client.caption(buffer.getvalue()))
    assert sent(server).format == "PNG"


def test_large_pictures_are_sent_as_jpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "LARGEST_PNG", 100)
    server = Server()
    ask("sync", server, lambda client: client.caption(PICTURE))
    assert sent(server).format == "JPEG"


@pytest.mark.parametrize("url", ["https://example.com/a.jpg", "data:image/png;base64,AAAA"])
def test_urls_are_left_to_the_server(url: str) -> None:
    server = Server()
    assert ask("sync", server, lambda client: client.caption(url)).images == (None,)
    assert parts(server)[0]["image_url"]["url"] == url


def test_several_images_and_none() -> None:
    server = Server()
    ask("sync", server, lambda client: client.ask([PICTURE, "https://example.com/b.png"], "Which is larger?"))
    assert [part["type"] for part in parts(server)] == ["image_url", "image_url", "text"]
    ask("sync", server, lambda client: client.ask(None, "Are you there?"))
    assert [part["type"] for part in parts(server)] == ["text"]


def test_what_was_drawn_is_sent_in_pixels() -> None:
    server, painted = Server(), np.zeros((80, 100), np.bool_)
    painted[10:20, 30:40] = True
    drawn = [point_prompt((25, 40), SIZE), box_prompt((10, 20, 50, 60), SIZE), bitmap_prompt("scribble", painted, SIZE)]
    drawn.append(point_prompt((70, 5), SIZE, excludes=True))
    ask("sync", server, lambda client: client.ask(PICTURE, "What is this?", visual_prompts=drawn))
    point, box, scribble, beside = server.body["visual_prompts"]
    assert beside == {"type": "point", "point": [70, 5], "label": 0}
    assert point == {"type": "point", "point": [25, 40]} and box == {"type": "box", "box": [10, 20, 50, 60]}
    picture = Image.open(io.BytesIO(base64.b64decode(scribble["png"].removeprefix("data:image/png;base64,"))))
    assert scribble["type"] == "scribble" and np.array_equal(np.asarray(picture) > 127, painted)


def test_how_to_choose_tokens() -> None:
    server = Server()
    chosen = Sampling(temperature=0.5, top_p=0.9, top_k=5, max_new_tokens=30, seed=7)
    ask("sync", server, lambda client: client.ask(PICTURE, "What?", sampling=chosen))
    names = ("temperature", "top_p", "top_k", "max_completion_tokens", "seed")
    assert [server.body[name] for name in names] == [0.5, 0.9, 5, 30, 7]
    ask("sync", server, lambda client: client.ask(PICTURE, "What?"))
    assert set(server.body) == {"model", "messages", "task"}


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_conversation(kind: str) -> None:
    server = Server()
    turns = [
        Message(role="system", text="Be brief."),
        Message(role="user", text="What is this?", images=(PICTURE,)),
        Message(role="assistant", text="A dog."),
        Message(role="user", text="And here?", visual_prompts=(point_prompt((25, 40), SIZE),)),
    ]
    answer = ask(kind, server, lambda client: client.chat(turns))
    system, first, reply, last = server.body["messages"]
    assert (system, reply, last) == (
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": "A dog."},
        {"role": "user", "content": "And here?"},
    )
    assert [part["type"] for part in first["content"]] == ["image_url", "text"]
    assert server.body["visual_prompts"] == [{"type": "point", "point": [25, 40]}]
    assert answer.images[0].size == SIZE


POINT = VisualPrompt(kind="point", xy=(0.5, 0.5))
MISTAKES = {
    "no such file": (lambda client: client.caption("nowhere.png"), "nowhere.png: no such file"),
    "no image": (lambda client: client.caption(b"words"), "not a readable image"),
    "nothing asked": (lambda client: client.segment(PICTURE, " "), "nothing to ask about"),
    "a point on nothing": (lambda client: client.ask(None, "What?", visual_prompts=[POINT]), "drawn on an image"),
    "a point on a URL": (lambda client: client.ask("https://a/b.png", "?", visual_prompts=[POINT]), "not a URL"),
    "an old drawing": (
        lambda client: client.chat([Message(role="user", visual_prompts=(POINT,)), Message(role="user", text="?")]),
        "put them on the last message",
    ),
}


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found_before_anything_is_sent(kind: str, mistake: str) -> None:
    asked, told = MISTAKES[mistake]
    server = Server()
    with pytest.raises(GeneralistError, match=told):
        ask(kind, server, asked)
    assert server.requests == []


@pytest.mark.parametrize(
    ("url", "key", "told"),
    [("localhost:8000", None, "base_url"), ("http://a", "", "api_key"), ("http://a", "ä", "key")],
)
def test_wrong_addresses_and_keys(url: str, key: str | None, told: str) -> None:
    with pytest.raises(GeneralistError, match=told):
        Client(url, key)
