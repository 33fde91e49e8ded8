"""Vectors of texts through the real OpenAI client, from a store that has vectors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import openai
import pytest
from fastapi import FastAPI

from generalist.documents import Searcher, build_index
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError
from generalist_serving.api import embeddings, vector_stores
from generalist_serving.api.settings import Settings
from generalist_serving.indexes import Indexes
from generalist_serving.service import Service

from ..routes import client_of, post, run
from ..scripted_backend import ScriptedBackend, scripted_line
from ..searched_indexes import NOTES

PATH = "/v1/embeddings"


class Encoder:
    """Vectors by the length of a text."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        if long := next((text for text in texts if len(text) > 100), None):
            raise GeneralistError(f"the text has {len(long)} tokens; use at most 100")
        return np.array([[math.cos(len(text)), math.sin(len(text)), 0] for text in texts], np.float32)

    def count(self, text: str) -> int:
        return len(text.split())


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexes]:
    root = tmp_path_factory.mktemp("indexes")
    for name in ("notes", "plain"):
        build_index(NOTES, root / name)
    indexes = Indexes({name: root / name for name in ("notes", "plain")})
    yield indexes
    indexes.close()


@pytest.fixture
def app(vocab: Vocabulary, indexes: Indexes, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The first store has vectors."""
    first = indexes.get("notes").searcher
    monkeypatch.setattr(Searcher, "dense", property(lambda self: self is first))
    monkeypatch.setattr(Searcher, "encoder", Encoder())
    service = Service(scripted_line(vocab), ScriptedBackend([[vocab.eos]]), model="nano", indexes=indexes)
    app = FastAPI()
    for make in (embeddings.router, vector_stores.router):
        app.include_router(make(service, Settings()))
    return app


def embed(app: FastAPI, **fields: Any) -> Any:
    return run(client_of(app).embeddings.create(**{"model": "notes", "input": ["one", "two and three"], **fields}))


@pytest.mark.parametrize("form", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}, {"dimensions": 3}])
def test_texts_become_vectors(app: FastAPI, form: dict[str, Any]) -> None:
    answer = embed(app, **form)
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.total_tokens) == ("notes", 4, 4)
    assert [one.index for one in answer.data] == [0, 1]
    vectors = [one.embedding for one in answer.data]
    if form == {"encoding_format": "base64"}:  # then the client leaves it to its user
        import base64

        vectors = [np.frombuffer(base64.b64decode(one), "<f4").tolist() for one in vectors]
    np.testing.assert_allclose(vectors, Encoder().embed(["one", "two and three"]), rtol=1e-6)


def test_one_text(app: FastAPI) -> None:
    (one,) = embed(app, input="one").data
    assert len(one.embedding) == 3


def test_stores_say_whether_they_have_vectors(app: FastAPI) -> None:
    stores = {store.id: store for store in run(client_of(app).vector_stores.list()).data}
    modes: dict[str, Any] = {name: store.modes for name, store in stores.items()}  # type: ignore[attr-defined]
    assert "dense" in modes["notes"] and "dense" not in modes["plain"]
    response = post(app, "/v1/vector_stores/plain/search", {"query": "sofa", "mode": "dense"})
    assert response.status_code == 400 and "hybrid" in response.json()["error"]["message"]


@pytest.mark.parametrize("model", ["plain", "nano", "other", "../notes"])
def test_only_stores_with_vectors_make_some(app: FastAPI, model: str) -> None:
    with pytest.raises(openai.NotFoundError, match="makes no embeddings; use a vector store with vectors: notes"):
        embed(app, model=model)


@pytest.mark.parametrize("change, param", [
    ({"input": ""}, "input"), ({"input": []}, "input"), ({"input": ["one", ""]}, None), ({"input": [[1, 2]]}, None),
    ({"input": 5}, "input"), ({"input": ["a"] * 257}, "input"), ({"input": ["a" * 90_000] * 12}, "input"),
    ({"input": "a" * 101}, None), ({"dimensions": 2}, "dimensions"), ({"dimensions": 0}, "dimensions"),
    ({"encoding_format": "int8"}, "encoding_format"), ({"model": None}, "model"), ({"extra": 1}, "extra"),
])  # fmt: skip
def test_wrong_requests(app: FastAPI, change: dict[str, Any], param: str | None) -> None:
    response = post(app, PATH, {"model": "notes", "input": "one", **change})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["message"] and (param is None or error["param"] == param)
