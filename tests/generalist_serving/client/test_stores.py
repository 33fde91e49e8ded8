"""Searching and reranking through both clients: what is sent, what comes back, and the real routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from generalist.tokens import Vocabulary
from generalist.types import GeneralistError
from generalist.visual import box_prompt
from generalist_serving.api.app import create_app
from generalist_serving.api.settings import Settings
from generalist_serving.client import AsyncClient, Client, ClientError, DocumentHit, Evidence, Reranked, StoreInfo
from generalist_serving.index_root import find_indexes
from generalist_serving.indexes import Indexes
from generalist_serving.service import Service

from ..api.live_server import live
from ..scripted_backend import ScriptedBackend, scripted_line
from ..searched_indexes import build
from .asked import CLIENTS, Server, asking

PICTURE = Image.new("RGB", (100, 50), (200, 30, 30))
TEXTS = ["The cat is on a map.", "The dog is asleep on a sofa."]
HIT = {
    "file_id": "dog",
    "filename": "The dog",
    "score": 2.5,
    "content": [{"type": "text", "text": "The dog is asleep."}],
    "evidence": [{"text": "dog", "span": [4, 7], "score": 1.0}, {"text": "The dog", "span": None, "score": 0.5}],
}


@pytest.fixture(scope="module")
def address(vocab: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    indexes = Indexes(find_indexes(build(tmp_path_factory.mktemp("indexes") / "root")))
    service = Service(scripted_line(vocab), ScriptedBackend([[vocab.eos]]), model="nano", indexes=indexes)
    with live(create_app(service, Settings())) as port:
        yield f"http://127.0.0.1:{port}"


def test_over_the_real_routes(address: str) -> None:
    with Client(address) as client:
        stores = {store.id: store for store in client.vector_stores()}
        assert set(stores) == {"notes", "cards"}
        assert (stores["notes"].documents, stores["notes"].modes[0], stores["notes"].images) == (4, "hybrid", True)
        hit, *others = client.search("notes", ["cat map", "cat sofa"])
        assert (hit.document_id, hit.title, [other.document_id for other in others]) == ("cat", "The cat", ["dog"])
        assert all(hit.text[slice(*one.span)] == one.text for one in hit.evidence if one.span)
        ranked = client.rerank("Where is the sofa?", TEXTS)
        assert [(one.index, one.text) for one in ranked] == [(1, TEXTS[1]), (0, TEXTS[0])]
        assert ranked[0].score == 1 > ranked[1].score
        for wrong in (lambda: client.search("../notes", "sofa"), lambda: client.rerank("sofa", TEXTS, model="gpt")):
            with pytest.raises(ClientError) as raised:
                wrong()
            assert raised.value.status == 404


def test_the_other_client_does_the_same(address: str) -> None:
    async def ask() -> tuple[Any, ...]:
        async with AsyncClient(address) as client:
            return (
                await client.vector_stores(), await client.search("notes", "sofa"), await client.rerank("sofa", TEXTS),
            )  # fmt: skip

    with Client(address) as client:
        expected = client.vector_stores(), client.search("notes", "sofa"), client.rerank("sofa", TEXTS)
    assert asyncio.run(ask()) == expected


@pytest.mark.parametrize("kind", CLIENTS)
def test_what_is_sent_and_read(kind: str) -> None:
    server = Server({"data": [HIT]})
    about = {"image": PICTURE, "visual_prompts": [box_prompt((10, 10, 50, 40), PICTURE.size)], "mode": "generative"}
    found = asking(kind, server, lambda client: client.search("a b", "What?", **about))
    assert found == (
        DocumentHit(
            document_id="dog", title="The dog", text="The dog is asleep.", score=2.5,
            evidence=(Evidence(text="dog", span=(4, 7), score=1.0), Evidence(text="The dog", span=None, score=0.5)),
        ),
    )  # fmt: skip
    assert server.requests[-1].url.raw_path == b"/v1/vector_stores/a%20b/search"
    body = server.body
    assert body.pop("image").startswith("data:image/png;base64,")
    assert body == {
        "query": "What?", "mode": "generative", "visual_prompts": [{"type": "box", "box": [10, 10, 50, 40]}],
    }  # fmt: skip


@pytest.mark.parametrize("kind", CLIENTS)
def test_stores_and_texts(kind: str) -> None:
    card = {"id": "notes", "name": "notes", "file_counts": {"total": 7}, "modes": ["lexical"], "images": False}
    server = Server({"data": [card]})
    assert asking(kind, server, lambda client: client.vector_stores()) == (
        StoreInfo(id="notes", name="notes", documents=7, modes=("lexical",), images=False),
    )
    server = Server({"results": [{"index": 1, "relevance_score": 0.5}]})
    assert asking(kind, server, lambda client: client.rerank("sofa", TEXTS)) == (
        Reranked(index=1, text=TEXTS[1], score=0.5),
    )
    assert (server.body["model"], server.body["documents"], server.body["return_documents"]) == ("nano", TEXTS, False)


@pytest.mark.parametrize("kind", CLIENTS)
@pytest.mark.parametrize("answer", [{}, {"data": [{}]}, {"data": 5}, {"results": [{"index": 9}]}, []])
def test_answers_of_other_servers(kind: str, answer: Any) -> None:
    server = Server(httpx.Response(200, content=json.dumps(answer)))
    for ask in (
        lambda client: client.search("notes", "sofa"),
        lambda client: client.vector_stores(),
        lambda client: client.rerank("sofa", TEXTS),
    ):
        with pytest.raises(ClientError) as raised:
            asking(kind, server, ask)
        assert raised.value.code == "answer"


def test_an_image_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError):
        asking("sync", Server(), lambda client: client.search("notes", "?", image=tmp_path / "nothing.png"))
