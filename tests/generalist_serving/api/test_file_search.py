"""The tool ``file_search`` through the real OpenAI client: what is found, and what replies name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from fastapi import FastAPI

from generalist.documents import build_index, models
from generalist.documents.bases import BaseModel
from generalist.tokens import Vocabulary
from generalist_serving.api import chat, responses
from generalist_serving.api.settings import Settings
from generalist_serving.indexes import Indexes
from generalist_serving.service import Service

from ..routes import MODEL, client_of, data_url, post, run
from ..scripted_backend import Ids, ScriptedBackend, scripted_line
from ..searched_indexes import CARDS, NOTES, Says

TOOL = {"type": "file_search", "vector_store_ids": ["cards"]}
ASKED = "Which card is about a red mug?"
NAMED = "This is <Phrase>it</Phrase>(<Unit>doc</Unit>[0]<doc>red mug</doc>)."
PLANNED = "<Task>- Name: it Unit: doc Num: 1</Task>" + NAMED


@pytest.fixture(scope="module")
def indexes(vocab: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexes]:
    """``cards`` and ``notes`` in the tokens of the model, ``other`` in those of another."""
    root = tmp_path_factory.mktemp("indexes")
    (root / "base").mkdir()
    vocab.save(root / "base")
    build_index(CARDS, root / "cards", base=root / "base")
    build_index(NOTES, root / "notes", base=root / "base")
    build_index(NOTES, root / "other")
    indexes = Indexes({name: root / name for name in ("cards", "notes", "other")})
    yield indexes
    indexes.close()


@pytest.fixture(autouse=True)
def says(monkeypatch: pytest.MonkeyPatch) -> list[Says]:
    """The models that are loaded for searching."""
    loaded: list[Says] = []

    def load(base: BaseModel, device: str, adapter: Path | None) -> Says:
        loaded.append(Says("red mug", base))
        return loaded[-1]

    monkeypatch.setattr(models, "load_model", load)
    return loaded


@pytest.fixture
def app(vocab: Vocabulary, ids: Ids, indexes: Indexes) -> FastAPI:
    """Its model names the first card, in a reply of a few words."""
    app = FastAPI()
    app.state.engine = ScriptedBackend([ids(NAMED)])
    service = Service(scripted_line(vocab), app.state.engine, model=MODEL, indexes=indexes)
    for make in (chat.router, responses.router):
        app.include_router(make(service, Settings()))
    return app


def question(text: str = ASKED) -> list[Any]:
    image = {"type": "image_url", "image_url": {"url": data_url()}}
    return [{"role": "user", "content": [image, {"type": "text", "text": text}]}]


def complete(app: FastAPI, **fields: Any) -> Any:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": ASKED}], "tools": [TOOL], **fields}
    return run(client_of(app).chat.completions.create(**asked))


def respond(app: FastAPI, **fields: Any) -> Any:
    return run(client_of(app).responses.create(**{"model": MODEL, "input": ASKED, "tools": [TOOL], **fields}))


# --- chat ------------------------------------------------------------------------------------------------


def test_a_reply_names_documents_of_the_store(app: FastAPI, indexes: Indexes) -> None:
    message = complete(app).choices[0].message
    assert message.content == "This is it."
    (drawn,) = message.visual
    assert (drawn["type"], drawn["document_id"], drawn["title"], drawn["text"]) == (
        "document", "mug", "red mug", "A red mug. Category: kitchen.",
    )  # fmt: skip
    assert drawn["evidence"] == [{"text": "red mug", "span": None}] and drawn["image"] is None
    (cited,) = message.annotations
    assert cited.file_citation == {"file_id": "mug", "filename": "red mug", "start_index": 8, "end_index": 10}
    prompt = app.state.engine.prompts[0]
    assert prompt.constraint.identifiers.startswith(str(indexes.get("cards").folder))


def test_what_was_found_is_told_beside_the_reply(app: FastAPI) -> None:
    found = complete(app, tools=[{**TOOL, "vector_store_ids": ["notes"], "max_num_results": 1}],
                     messages=[{"role": "user", "content": "Where is the sofa?"}])  # fmt: skip
    (hit,) = found.choices[0].message.search_results
    assert (hit["index"], hit["file_id"], hit["evidence"][0]["text"]) == (0, "dog", "sofa")
    of_two = complete(app, tools=[{**TOOL, "vector_store_ids": ["cards", "other"]}]).choices[0].message
    assert [hit["file_id"] for hit in of_two.search_results][:2] == ["mug", "dog"]


def test_an_image_is_searched_by_the_names_of_documents(app: FastAPI, says: list[Says]) -> None:
    drawn = [{"type": "point", "point": [5, 5]}]
    message = complete(app, messages=question(), extra_body={"visual_prompts": drawn}).choices[0].message
    assert message.search_results[0]["file_id"] == "mug" and message.annotations
    (asked,) = says[-1].questions
    assert asked.granularity == "entity" and len(asked.images) == len(asked.visual_prompts) == 1


def test_a_stream_says_the_same(app: FastAPI) -> None:
    async def collect() -> Any:
        asked: Any = {"model": MODEL, "messages": [{"role": "user", "content": ASKED}], "tools": [TOOL]}
        async with client_of(app).chat.completions.stream(**asked) as stream:
            async for _ in stream:
                pass
            return await stream.get_final_completion()

    streamed, whole = run(collect()).choices[0].message, complete(app).choices[0].message
    assert streamed.search_results == whole.search_results and streamed.annotations == whole.annotations
    assert streamed.visual == whole.visual


def test_without_the_tool_nothing_is_named(app: FastAPI) -> None:
    for fields in ({"tools": None}, {"tool_choice": "none"}, {"tools": [{"type": "function", "function": {}}]}):
        message = complete(app, **fields).choices[0].message
        assert (message.visual, message.annotations, message.search_results) == ([], [], [])
        assert app.state.engine.prompts[-1].index is None


def test_what_the_model_cannot_name_is_found_all_the_same(app: FastAPI) -> None:
    of_another = complete(app, tools=[{**TOOL, "vector_store_ids": ["other"]}]).choices[0].message
    caption = complete(app, extra_body={"task": "caption"}).choices[0].message
    assert (of_another.search_results[0]["file_id"], caption.search_results[0]["file_id"]) == ("dog", "mug")
    assert not of_another.annotations and not caption.annotations
    assert [prompt.index for prompt in app.state.engine.prompts] == [None, None]


def test_json_names_no_documents(app: FastAPI, ids: Ids) -> None:
    app.state.engine.replies = [tuple(ids("{}"))]
    message = complete(app, response_format={"type": "json_object"}).choices[0].message
    assert (message.content, message.annotations, len(message.search_results)) == ("{}", [], 1)
    assert app.state.engine.prompts[0].index is None


# --- responses -------------------------------------------------------------------------------------------


def test_the_search_is_an_item_before_the_message(app: FastAPI) -> None:
    got = respond(app, include=["file_search_call.results"])
    search, message = got.output
    assert (search.type, search.status, search.queries) == ("file_search_call", "completed", [ASKED])
    result = search.results[0]
    assert (result.file_id, result.filename, result.text) == ("mug", "red mug", "A red mug. Category: kitchen.")
    (cited,) = message.content[0].annotations
    assert (cited.type, cited.file_id, cited.filename, cited.index) == ("file_citation", "mug", "red mug", 10)
    assert got.tools[0].vector_store_ids == ["cards"]


def test_results_are_told_where_they_are_asked_for(app: FastAPI) -> None:
    search, _ = respond(app).output
    assert search.results is None
    none, _ = respond(app, input="zebra", include=["file_search_call.results"],
                      tools=[{**TOOL, "ranking_options": {"score_threshold": 1e9}}]).output  # fmt: skip
    assert none.results == []


@pytest.mark.parametrize("written", [NAMED, PLANNED])
def test_a_streamed_response_says_the_same(app: FastAPI, ids: Ids, written: str) -> None:
    app.state.engine.replies = [tuple(ids(written))]

    async def collect() -> Any:
        asked: Any = {"model": MODEL, "input": ASKED, "tools": [TOOL], "include": ["file_search_call.results"]}
        async with client_of(app).responses.stream(**asked) as stream:
            events = [event async for event in stream]
            return events, await stream.get_final_response()

    events, final = run(collect())
    kinds = [event.type.removeprefix("response.") for event in events]
    steps = [f"file_search_call.{step}" for step in ("in_progress", "searching", "completed")]
    assert kinds[:7] == ["created", "in_progress", "output_item.added", *steps, "output_item.done"]
    whole = respond(app, include=["file_search_call.results"])
    assert [item.type for item in final.output] == [item.type for item in whole.output]
    assert final.output[0].results == whole.output[0].results
    streamed, at_once = final.output[-1].content[0], whole.output[-1].content[0]
    assert (streamed.text, streamed.annotations) == (at_once.text, at_once.annotations) and streamed.annotations
    places = [event.output_index for event in events if event.type == "response.output_item.done"]
    assert places == list(range(len(final.output)))


def test_an_earlier_search_may_be_sent_back(app: FastAPI) -> None:
    first = respond(app)
    turns = [{"role": "user", "content": ASKED}, *[item.to_dict() for item in first.output],
             {"role": "user", "content": "And another?"}]  # fmt: skip
    assert respond(app, input=turns).output[0].queries == ["And another?"]


# --- mistakes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change, status", [
    ({"vector_store_ids": ["nowhere"]}, 404), ({"vector_store_ids": ["../cards"]}, 404),
    ({"vector_store_ids": []}, 400), ({"vector_store_ids": "cards"}, 400), ({"vector_store_ids": [5]}, 400),
    ({"vector_store_ids": ["cards"] * 9}, 400), ({"max_num_results": 51}, 400),
    ({"filters": {"type": "eq", "key": "a", "value": 1}}, 400), ({"extra": 1}, 400),
    ({"ranking_options": {"score_threshold": -1}}, 400),
])  # fmt: skip
def test_wrong_tools(app: FastAPI, change: dict[str, Any], status: int) -> None:
    for path, body in (
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": ASKED}]}),
        ("/v1/responses", {"input": ASKED}),
    ):
        response = post(app, path, {"model": MODEL, **body, "tools": [{**TOOL, **change}]})
        assert response.status_code == status, response.text
        assert response.json()["error"]["message"]


def test_one_search_a_request(app: FastAPI) -> None:
    with pytest.raises(openai.BadRequestError, match="file_search is given twice"):
        respond(app, tools=[TOOL, TOOL])
