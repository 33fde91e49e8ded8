"""Pictures in and out, and downloads: what the page fetches beside Gradio's own routes."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from generalist.types import DepthMap, Grounded, Mask
from generalist.visual import to_visual
from generalist_serving.demo import routes
from generalist_serving.demo.conversations import Conversation, Picture, Turn
from generalist_serving.demo.samples import samples
from generalist_serving.demo.store import Store

from .test_conversations import answered, picture

SIZE = (40, 30)
HOSTILE = "../../<img src=x onerror=alert(1)>"


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def client(store: Store) -> TestClient:
    app = FastAPI()
    app.include_router(routes.router(store, samples()))
    return TestClient(app)


def drawn_on(talk: Conversation) -> Turn:
    """A turn with a mask and a depth map, whose label is hostile."""
    from pycocotools import mask as coco

    counts = coco.encode(np.asfortranarray(np.eye(30, 40, dtype=np.uint8)))["counts"].decode()
    mask = Mask(size=(30, 40), counts=counts, xyxy=(0, 0, 1, 1), score=0.5)
    depth = DepthMap(values=np.full((30, 40), 2.0, np.float32))
    grounded = [
        Grounded(label=HOSTILE, span=(0, 3), image=0, ref=0, output=mask),
        Grounded(label="depth", span=(0, 3), image=0, ref=0, output=depth),
    ]
    turn = answered(talk, "Where?", text="The dog.")
    turn.visual = list(to_visual(grounded, [SIZE]))
    return turn


@pytest.fixture
def talk(store: Store) -> Conversation:
    talk = store.visitor("").conversations[0]
    talk.add([picture(HOSTILE + ".png", SIZE)])
    drawn_on(talk)
    return talk


def test_a_picture_goes_in_and_out(client: TestClient, store: Store) -> None:
    sent = picture().data
    answer = client.post("/pictures?name=dog.png", content=sent).json()
    kept = store.picture(answer["id"])
    assert isinstance(kept, Picture) and kept.name == "dog.png"
    got = client.get(f"/pictures/{answer['id']}")
    assert got.headers["content-type"] == "image/png" and got.headers["x-content-type-options"] == "nosniff"
    with Image.open(io.BytesIO(got.content)) as image:
        assert image.size == SIZE


@pytest.mark.parametrize("body", [b"", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", picture().data[:60]])
def test_what_is_no_picture_is_refused_in_one_sentence(client: TestClient, body: bytes) -> None:
    answer = client.post("/pictures?name=../x<b>.png", content=body)
    assert answer.status_code == 400 and answer.json()["error"].startswith("x<b>.png: ")


def test_a_large_body_is_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "MAX_UPLOAD_BYTES", 10)
    answer = client.post("/pictures?name=big.png", content=b"x" * 11)
    assert answer.status_code == 413 and "big.png" in answer.json()["error"]


@pytest.mark.parametrize(
    "path", ["/pictures/none", "/samples/none", "/samples/..%2f..%2fREADME", "/conversations/none.zip"]
)
def test_what_is_not_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_samples(client: TestClient) -> None:
    assert samples() and all(client.get(f"/samples/{name}").status_code == 200 for name in samples())


def test_a_conversation_as_a_zip(client: TestClient, talk: Conversation) -> None:
    answer = client.get(f"/conversations/{talk.id}.zip")
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''Where.zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    names = archive.namelist()
    assert all(".." not in name and "<" not in name and not name.startswith("/") for name in names)
    document = json.loads(archive.read("conversation.json"))
    (turn,) = document["turns"]
    assert (turn["question"], turn["text"], turn["visual"][0]["label"]) == ("Where?", "The dog.", HOSTILE)
    assert set(turn["files"]) | set(turn["images"]) | {"conversation.json"} == set(names)
    kinds = {name: Image.open(io.BytesIO(archive.read(name))) for name in names if name.endswith(".png")}
    masks = [image for name, image in kinds.items() if "_mask_" in name]
    assert np.asarray(masks[0]).astype(bool).sum() == 30
    assert sorted(image.size for image in kinds.values()) == [SIZE] * 4


def test_drawings_of_one_kind(client: TestClient, talk: Conversation) -> None:
    base = f"/conversations/{talk.id}/{talk.turns[0].id}"
    for kind, start in (("overlay", b"\x89PNG"), ("mask", b"\x89PNG"), ("depth", b"\x89PNG"), ("coco", b"{")):
        answer = client.get(f"{base}/{kind}")
        assert answer.status_code == 200 and answer.content.startswith(start), kind
        assert "attachment" in answer.headers["content-disposition"]
    assert client.get(f"{base}/secrets").status_code == 404
    assert client.get(f"/conversations/{talk.id}/none/mask").status_code == 404


def test_what_a_server_sends_wrongly_is_still_exported(client: TestClient, talk: Conversation) -> None:
    talk.turns[0].visual = [{"index": 0, "type": "box", "image": 0, "label": "dog", "span": [0, 1], "box": "none"}]
    answer = client.get(f"/conversations/{talk.id}.zip")
    document = json.loads(zipfile.ZipFile(io.BytesIO(answer.content)).read("conversation.json"))
    assert document["turns"][0]["visual"][0]["box"] == "none" and document["turns"][0]["files"] == []
