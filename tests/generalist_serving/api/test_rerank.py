"""Given texts in order, in the shape that clients of Cohere, Jina and vLLM read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from generalist.documents import build_index
from generalist.documents.reranking import QuestionReader
from generalist.tokens import Vocabulary
from generalist_serving import open_index
from generalist_serving.api.app import create_app
from generalist_serving.api.settings import Settings
from generalist_serving.indexes import Indexes
from generalist_serving.service import Service

from ..routes import post
from ..scripted_backend import ScriptedBackend, scripted_line
from ..searched_indexes import NOTES

RERANK = "/v1/rerank"
TEXTS = ["The cat is on a map.", "The dog is asleep on a sofa.", "Nothing at all.", "A sofa and a dog: the dog's sofa."]
ASKED = {"model": "nano", "query": "dog sofa", "documents": TEXTS}


@pytest.fixture(scope="module")
def app(vocab: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """With a store in nano's tokens and one in those of a language model."""
    root = tmp_path_factory.mktemp("indexes")
    (root / "language").mkdir()
    vocab.tokenizer.save(str(root / "language" / "tokenizer.json"))
    folders = {"notes": root / "notes", "texts": root / "texts"}
    build_index(NOTES, folders["notes"])
    build_index(NOTES, folders["texts"], base=root / "language")
    indexes = Indexes(folders)
    service = Service(scripted_line(vocab), ScriptedBackend([[vocab.eos]]), model="nano", indexes=indexes)
    yield create_app(service, Settings())
    indexes.close()


@pytest.fixture
def likes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model of the second store finds the question likeliest behind the text that says nothing."""
    network = SimpleNamespace(model=None, base=SimpleNamespace(tokenizer=None), longest=99)
    monkeypatch.setattr(open_index, "load_network", lambda *_: network)
    monkeypatch.setattr(
        QuestionReader, "read", lambda self, question, texts: [-0.5 if "Nothing" in text else -2.0 for text in texts]
    )


def numbers(response: httpx.Response) -> list[int]:
    assert response.status_code == 200, response.text
    return [result["index"] for result in response.json()["results"]]


def test_words_order_texts(app: FastAPI) -> None:
    answer = post(app, RERANK, ASKED).json()
    assert answer["model"] == "nano" and answer["id"].startswith("rerank-")
    assert [result["index"] for result in answer["results"]] == [3, 1, 0, 2]
    assert [result["document"]["text"] for result in answer["results"]] == [TEXTS[number] for number in (3, 1, 0, 2)]
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores[0] == 1 and scores == sorted(scores, reverse=True) and scores[-1] == 0
    for model in ("notes", "texts"):
        assert numbers(post(app, RERANK, {**ASKED, "model": model, "mode": "lexical"})) == [3, 1, 0, 2]
    assert numbers(post(app, RERANK, {**ASKED, "model": "notes"})) == [3, 1, 0, 2]  # its base has not learnt to read


def test_a_language_model_reads_them(app: FastAPI, likes_nothing: None) -> None:
    asked = {**ASKED, "model": "texts"}
    generative = post(app, RERANK, {**asked, "mode": "generative"})
    assert numbers(generative)[0] == 2
    assert generative.json()["results"][0]["relevance_score"] == pytest.approx(math.exp(-0.5), abs=1e-5)
    both = {**asked, "mode": "hybrid"}
    assert numbers(post(app, RERANK, both))[:2] == [3, 1]
    assert numbers(post(app, RERANK, {**both, "query": "nothing"}))[0] == 2
    assert numbers(post(app, RERANK, asked)) == [3, 1, 0, 2]  # without being asked for, the model reads nothing


def test_some_or_without_their_text(app: FastAPI) -> None:
    short = post(app, RERANK, {**ASKED, "top_n": 2, "return_documents": False}).json()["results"]
    assert [set(result) for result in short] == [{"index", "relevance_score"}] * 2
    assert len(numbers(post(app, RERANK, {**ASKED, "top_n": 0}))) == len(numbers(post(app, RERANK, ASKED))) == 4
    objects = [{"text": text} for text in TEXTS]
    assert numbers(post(app, RERANK, {**ASKED, "documents": objects, "top_n": 99, "user": "me"})) == [3, 1, 0, 2]


@pytest.mark.parametrize("change, param", [
    ({"query": ""}, "query"), ({"query": " "}, None), ({"query": ["dog"]}, "query"), ({"query": "a" * 10_001}, "query"),
    ({"documents": []}, "documents"), ({"documents": "dog"}, "documents"), ({"documents": [5]}, None),
    ({"documents": [{"text": 5}]}, None), ({"documents": [{"image": "x"}]}, None), ({"documents": [None]}, None),
    ({"documents": ["a"] * 257}, "documents"), ({"documents": ["a"] * 1001}, "documents"),
    ({"documents": ["a" * 300_000] * 4}, "documents"), ({"top_n": -1}, "top_n"), ({"top_n": "2"}, "top_n"),
    ({"mode": "dense"}, "mode"), ({"mode": "generative"}, None), ({"model": 5}, "model"), ({"extra": 1}, "extra"),
    ({"rank_fields": ["title"]}, "rank_fields"),
])  # fmt: skip
def test_wrong_requests(app: FastAPI, change: dict[str, Any], param: str | None) -> None:
    response = post(app, RERANK, {**ASKED, **change})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["message"] and (param is None or error["param"] == param)


@pytest.mark.parametrize("model", ["gpt", "../notes", "NOTES", "x" * 200])
def test_there_is_no_other_model(app: FastAPI, model: str) -> None:
    response = post(app, RERANK, {**ASKED, "model": model})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
