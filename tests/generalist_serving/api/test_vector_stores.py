"""Stores and searches through the real OpenAI client, and what it is told of requests that are wrong."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI

from generalist.documents import models
from generalist.documents.bases import BaseModel
from generalist.index import MANIFEST
from generalist.tokens import Vocabulary
from generalist.types import VisualPrompt
from generalist_serving.api.app import create_app
from generalist_serving.api.settings import Settings
from generalist_serving.index_root import find_indexes
from generalist_serving.indexes import Indexes
from generalist_serving.service import Service

from ..routes import client_of, data_url, post, run
from ..scripted_backend import ScriptedBackend, scripted_line
from ..searched_indexes import Says, build

SEARCH = "/v1/vector_stores/notes/search"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("indexes") / "root")


@pytest.fixture(scope="module")
def indexes(root: Path) -> Iterator[Indexes]:
    indexes = Indexes(find_indexes(root), at_once=1, waiting=0)
    yield indexes
    indexes.close()


@pytest.fixture(scope="module")
def app(vocab: Vocabulary, indexes: Indexes) -> FastAPI:
    """One for all tests that leave it as it was, as it takes a while to make."""
    return app_of(vocab, indexes)


@pytest.fixture
def fresh(vocab: Vocabulary, root: Path) -> Iterator[FastAPI]:
    """One that has been asked nothing."""
    indexes = Indexes(find_indexes(root))
    yield app_of(vocab, indexes)
    indexes.close()


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> list[Says]:
    """The models that are loaded; they name red mugs."""
    loaded: list[Says] = []

    def load(base: BaseModel, device: str, adapter: Path | None) -> Says:
        loaded.append(Says("red mug", base))
        return loaded[-1]

    monkeypatch.setattr(models, "load_model", load)
    return loaded


def app_of(vocab: Vocabulary, indexes: Indexes | None = None, **settings: Any) -> FastAPI:
    service = Service(scripted_line(vocab), ScriptedBackend([[vocab.eos]]), model="nano", indexes=indexes)
    return create_app(service, Settings(**settings))


def get(app: FastAPI, *paths: str) -> list[httpx.Response]:
    async def send() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            return [await client.get(path) for path in paths]

    return run(send())


def with_openai(app: FastAPI, action: Callable[[openai.AsyncOpenAI], Awaitable[None]]) -> None:
    async def act() -> None:
        async with client_of(app) as client:
            await action(client)

    run(act())


def error(response: httpx.Response) -> dict[str, Any]:
    return response.json()["error"]


def test_stores_are_the_indexes(app: FastAPI, root: Path) -> None:
    async def action(client: openai.AsyncOpenAI) -> None:
        stores = {store.id: store async for store in client.vector_stores.list()}
        assert set(stores) == {"notes", "cards"}
        notes = await client.vector_stores.retrieve("notes")
        assert notes == stores["notes"]
        assert (notes.status, notes.file_counts.completed, notes.file_counts.total) == ("completed", 4, 4)
        assert notes.usage_bytes > 0 and notes.metadata == {"base": "nano"}
        assert notes.created_at == int((root / "notes" / MANIFEST).stat().st_mtime)
        assert notes.modes[0] == "hybrid" and notes.images  # type: ignore[attr-defined]

    with_openai(app, action)


def test_stores_come_in_pages(app: FastAPI) -> None:
    async def action(client: openai.AsyncOpenAI) -> None:
        names = {order: [s.id async for s in client.vector_stores.list(order=order, limit=1)] for order in ORDERS}
        assert sorted(names["asc"]) == ["cards", "notes"] and names["asc"] == names["desc"][::-1]
        first = await client.vector_stores.list(order="asc", limit=1)
        last = await client.vector_stores.list(order="asc", before=names["asc"][1])
        assert [s.id for s in first.data] == [s.id for s in last.data] == names["asc"][:1]
        assert first.has_more and not last.has_more

    with_openai(app, action)
    for query in ("limit=0", "limit=101", "limit=x", "order=up", "after=../notes", "after=" + "x" * 300):
        (response,) = get(app, f"/v1/vector_stores?{query}")
        assert response.status_code == 400, query
        assert error(response)["message"]


ORDERS = ("asc", "desc")


def test_documents_are_found_by_words(app: FastAPI) -> None:
    async def action(client: openai.AsyncOpenAI) -> None:
        found = await client.vector_stores.search("notes", query="Where is the sofa?", max_num_results=3)
        (hit,) = found.data
        assert (hit.file_id, hit.filename, hit.score > 0, hit.attributes) == ("dog", "The dog", True, {})
        assert hit.content[0].text.startswith("The dog is asleep on a sofa.")
        evidence = hit.evidence[0]  # type: ignore[attr-defined]
        assert hit.content[0].text[slice(*evidence["span"])] == evidence["text"] == "sofa"
        nameless = await client.vector_stores.search("notes", query="boxes")
        assert [hit.filename for hit in nameless.data] == ["box/1"]

    with_openai(app, action)


def test_several_queries_make_one_ranking(app: FastAPI) -> None:
    async def action(client: openai.AsyncOpenAI) -> None:
        found = await client.vector_stores.search("notes", query=["cat map", "cat sofa"])
        assert [hit.file_id for hit in found.data] == ["cat", "dog"]
        assert found.model_extra == {"search_query": ["cat map", "cat sofa"], "has_more": False, "next_page": None}

    with_openai(app, action)


def test_a_threshold_leaves_hits_out(app: FastAPI) -> None:
    async def action(client: openai.AsyncOpenAI) -> None:
        scores = [hit.score for hit in (await client.vector_stores.search("notes", query="cat sofa boxes")).data]
        assert len(set(scores)) == 3
        options: Any = {"ranker": "auto", "score_threshold": scores[1]}
        kept = await client.vector_stores.search("notes", query="cat sofa boxes", ranking_options=options)
        assert [hit.score for hit in kept.data] == scores[:2]

    with_openai(app, action)


def test_documents_are_found_by_a_region_of_an_image(fresh: FastAPI, says: list[Says]) -> None:
    async def action(client: openai.AsyncOpenAI) -> None:
        about = {"image": data_url(), "visual_prompts": [{"type": "box", "box": [20, 10, 100, 60]}], "find": "entity"}
        found = await client.vector_stores.search("cards", query="Which card describes this?", extra_body=about)
        assert found.data[0].file_id == "mug"

    with_openai(fresh, action)
    ((question,),) = [one.questions for one in says]
    assert (question.text, question.granularity) == ("Which card describes this?", "entity")
    assert [image.size for image in question.images] == [(200, 100)]
    assert question.visual_prompts == (VisualPrompt(kind="box", xyxy=(0.1, 0.1, 0.5, 0.6)),)


def test_a_long_text_is_cut(vocab: Vocabulary, indexes: Indexes) -> None:
    response = post(app_of(vocab, indexes, max_hit_chars=25), SEARCH, {"query": "asleep sofa mug"})
    (hit,) = response.json()["data"]
    assert hit["content"][0]["text"] == "The dog is asleep on a so"
    assert [one["text"] for one in hit["evidence"]] == ["asleep"]


def test_stores_are_not_made_over_http(app: FastAPI) -> None:
    async def action(client: openai.AsyncOpenAI) -> None:
        for refused in (
            client.vector_stores.create(name="mine"),
            client.vector_stores.delete("notes"),
            client.vector_stores.update("notes", name="other"),
        ):
            with pytest.raises(openai.APIStatusError) as raised:
                await refused
            assert (raised.value.status_code, raised.value.code) == (405, "read_only")
            assert "`generalist index build`" in raised.value.message
            assert raised.value.response.headers["allow"] == "GET"
        with pytest.raises(openai.NotFoundError):
            await client.vector_stores.delete("other")
        assert len((await client.vector_stores.list()).data) == 2

    with_openai(app, action)


@pytest.mark.parametrize("name", ["other", "..", "%2e%2e", "notes%2f..%2fcards", "NOTES", "notes%00", "x" * 200])
def test_there_is_no_other_store(app: FastAPI, root: Path, name: str) -> None:
    (one,) = get(app, f"/v1/vector_stores/{name}")
    response = post(app, f"/v1/vector_stores/{name}/search", {"query": "?"})
    for answer in (one, response):
        assert answer.status_code in (404, 405) and str(root) not in answer.text
        assert error(answer)["message"]


def test_an_unknown_store_says_where_the_others_are(app: FastAPI) -> None:
    response = post(app, "/v1/vector_stores/other/search", {"query": "?"})
    told = error(response)
    assert (response.status_code, told["code"], told["param"]) == (404, "vector_store_not_found", "vector_store_id")
    assert "/v1/vector_stores" in told["message"]


def test_a_server_without_indexes(vocab: Vocabulary) -> None:
    listed, one = get(app_of(vocab), "/v1/vector_stores", "/v1/vector_stores/notes")
    assert listed.json() == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert one.status_code == 404


@pytest.mark.parametrize("body, says", [
    ({}, "query"),
    ({"query": ""}, "query"),
    ({"query": " \n"}, "blank"),
    ({"query": ["sofa", " "]}, "blank"),
    ({"query": 5}, "query"),
    ({"query": []}, "query"),
    ({"query": ["sofa"] * 17}, "at most 16"),
    ({"query": "a" * 10_001}, "at most 10000"),
    ({"query": ["a" * 100_001]}, "query"),
    ({"query": {"text": "sofa"}}, "query"),
    ({"query": "sofa", "max_num_results": 0}, "max_num_results"),
    ({"query": "sofa", "max_num_results": 51}, "max_num_results"),
    ({"query": "sofa", "max_num_results": "3"}, "max_num_results"),
    ({"query": "sofa", "mode": "magic"}, "lexical"),
    ({"query": "sofa", "find": "page"}, "find"),
    ({"query": "sofa", "find": "entity", "mode": "lexical"}, "generative"),
    ({"query": "sofa", "filters": {"type": "eq", "key": "year", "value": 2020}}, "no attributes"),
    ({"query": "sofa", "ranking_options": {"score_threshold": "high"}}, "score_threshold"),
    ({"query": "sofa", "ranking_options": {"score_threshold": -1}}, "score_threshold"),
    ({"query": "sofa", "rewrite_query": True}, "rewrite_query"),
    ({"query": "sofa", "image": "/etc/passwd"}, "data URL"),
    ({"query": "sofa", "image": "http://127.0.0.1/a.png"}, "fetches no URLs"),
    ({"query": "sofa", "image": data_url(), "mode": "lexical"}, "looks at words alone"),
    ({"query": "sofa", "visual_prompts": [{"type": "point", "point": [1, 1]}]}, "send one"),
    ({"query": "sofa", "image": data_url(), "visual_prompts": [{"type": "point", "point": [900, 1]}]}, "point"),
    ({"query": "sofa", "extra": 1}, "extra"),
])  # fmt: skip
def test_wrong_searches(app: FastAPI, root: Path, body: Any, says: str) -> None:
    response = post(app, SEARCH, body)
    assert response.status_code == 400, response.text
    assert says in error(response)["message"] and str(root) not in response.text


def test_a_busy_server_says_when_to_come_back(app: FastAPI, indexes: Indexes) -> None:
    go_on = threading.Event()

    async def action(client: openai.AsyncOpenAI) -> None:
        under_way = asyncio.create_task(indexes.run("notes", "lexical", lambda: [go_on.wait(20)]))
        await asyncio.sleep(0)
        with pytest.raises(openai.InternalServerError) as raised:
            await client.vector_stores.search("notes", query="sofa")
        assert (raised.value.status_code, raised.value.code) == (503, "server_busy")
        assert int(raised.value.response.headers["retry-after"]) > 0
        go_on.set()
        await under_way
        while indexes.running:
            await asyncio.sleep(0.001)
        assert (await client.vector_stores.search("notes", query="sofa")).data

    with_openai(app, action)


def test_searches_are_counted_and_not_told(fresh: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="generalist_serving"):
        post(fresh, SEARCH, {"query": "asleep on a sofa"})
        post(fresh, SEARCH, {"query": "zebra", "mode": "lexical"})
    (metrics,) = get(fresh, "/metrics")
    assert 'generalist_searches_total{ended="found",index="notes",mode="hybrid"} 1.0' in metrics.text
    assert 'generalist_searches_total{ended="nothing",index="notes",mode="lexical"} 1.0' in metrics.text
    assert "generalist_searches_running 0.0" in metrics.text
    assert SEARCH in caplog.text and "asleep" not in caplog.text and "zebra" not in caplog.text
