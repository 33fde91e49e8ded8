"""``/v1/responses`` through the real OpenAI client."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from generalist.tokens import Vocabulary
from generalist_serving.api.responses import router
from generalist_serving.api.responses_answers import ModelResponse

from ..routes import MODEL, app_of, client_of, data_url, post, run
from ..scripted_backend import DOG, Ids, ScriptedBackend

PATH = "/v1/responses"
PLANNED = "<Task>- Name: dog Unit: box Num: 1</Task>" + DOG
CITED = DOG + " As in <Phrase>a book</Phrase>(<Unit>doc</Unit>[0]<doc>b7</doc>)."


def served(vocab: Vocabulary, *replies: list[int], **backend: Any) -> FastAPI:
    engine = ScriptedBackend(replies, **backend)
    app = app_of(vocab, engine, router, docs=True)
    app.state.engine = engine
    return app


def question(text: str = "Where is the dog?") -> list[Any]:
    return [
        {
            "role": "user",
            "content": [{"type": "input_text", "text": text}, {"type": "input_image", "image_url": data_url()}],
        }
    ]


def create(app: FastAPI, **fields: Any) -> Any:
    return run(client_of(app).responses.create(**{"model": MODEL, "input": question(), **fields}))


def events_of(app: FastAPI, **fields: Any) -> list[Any]:
    async def collect() -> list[Any]:
        asked = {"model": MODEL, "input": question(), "stream": True, **fields}
        return [event async for event in await client_of(app).responses.create(**asked)]

    return run(collect())


def prompt_text(app: FastAPI, vocab: Vocabulary) -> str:
    return vocab.decode_text([i for i in app.state.engine.prompts[-1].token_ids if vocab.is_text(i)])


def test_an_answer_is_a_message_with_words_and_drawings(vocab: Vocabulary, ids: Ids) -> None:
    got = create(served(vocab, ids(DOG)))
    (message,) = got.output
    assert got.output_text == "The dog sits." and (got.status, message.status) == ("completed", "completed")
    (drawn,) = message.visual
    assert (drawn["type"], drawn["label"], drawn["box"]) == ("box", "dog", [51.56, 25.78, 101.56, 75.78])
    assert message.image == [{"index": 0, "width": 200, "height": 100}]
    assert got.id.startswith("resp_") and message.id.startswith("msg_") and got.store is False
    assert got.usage.total_tokens == got.usage.input_tokens + got.usage.output_tokens > 20
    ModelResponse.model_validate(got.to_dict())


def test_the_plan_is_a_reasoning_item(vocab: Vocabulary, ids: Ids) -> None:
    reasoning, message = create(served(vocab, ids(PLANNED))).output
    assert (reasoning.type, reasoning.summary[0].text) == ("reasoning", "- Name: dog Unit: box Num: 1")
    assert message.type == "message"


def test_a_string_and_instructions_are_a_conversation(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids("Hello."))
    assert create(app, input="Hi there", instructions="Be brief.").instructions == "Be brief."
    assert prompt_text(app, vocab) == "Be brief.Hi there"


def test_an_answer_can_be_sent_back_as_it_came(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids(PLANNED))
    first = create(app)
    said = [item.model_dump() for item in first.output]
    again = create(app, input=[*question(), *said, {"role": "user", "content": "And the cat?"}])
    assert prompt_text(app, vocab) == "Where is the dog?The dog sits.And the cat?"
    assert again.output[1].visual[0]["image"] == 0


def test_a_reply_that_was_cut_is_incomplete(vocab: Vocabulary, ids: Ids) -> None:
    got = create(served(vocab, ids(DOG)), max_output_tokens=3)
    assert (got.status, got.incomplete_details.reason, got.output[0].status) == (
        "incomplete",
        "max_output_tokens",
        "incomplete",
    )


def test_log_probabilities_are_included_on_demand(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids(DOG))
    assert create(app).output[0].content[0].logprobs == []
    tokens = create(app, include=["message.output_text.logprobs"]).output[0].content[0].logprobs
    assert len(tokens) == len(ids(DOG)) and tokens[0].logprob == -0.1


def test_documents_are_cited(vocab: Vocabulary, ids: Ids) -> None:
    (cited,) = create(served(vocab, ids(CITED))).output[0].content[0].annotations
    assert (cited.type, cited.file_id) == ("file_citation", "b7")


def test_formats_overlays_and_tasks(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids(DOG))
    message = create(app, extra_body={"visual_format": "gemini", "overlay": True, "task": "detect"}).output[0]
    assert message.visual[0]["label"] == "dog" and len(message.visual[0]["box_2d"]) == 4
    assert message.images[0]["image_url"]["url"].startswith("data:image/png")
    assert '"box"' not in app.state.engine.prompts[0].constraint.grammar


# --- streams ---


def test_a_stream_has_the_official_events_in_order(vocab: Vocabulary, ids: Ids) -> None:
    events = events_of(served(vocab, ids(PLANNED)))
    kinds = [event.type.removeprefix("response.") for event in events]
    assert list(dict.fromkeys(kinds)) == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "The dog sits."


def test_a_stream_sends_each_drawing_once_and_again_in_the_done_item(vocab: Vocabulary, ids: Ids) -> None:
    events = events_of(served(vocab, ids(CITED)))
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    streamed = [entry for event in deltas for entry in event.to_dict().get("visual", [])]
    (message,) = events[-1].response.output
    assert streamed == message.visual and [entry["index"] for entry in streamed] == [0, 1]
    assert any(event.type == "response.output_text.annotation.added" for event in events)


@pytest.mark.parametrize("fields", [
    {},
    {"include": ["message.output_text.logprobs"]},
    {"extra_body": {"visual_format": "coco", "overlay": True}},
])  # fmt: skip
def test_a_stream_ends_with_the_whole_answer(vocab: Vocabulary, ids: Ids, fields: dict[str, Any]) -> None:
    whole = create(served(vocab, ids(PLANNED)), **fields).to_dict()
    last = events_of(served(vocab, ids(PLANNED)), **fields)[-1].response.to_dict()

    def lasting(value: Any) -> Any:  # names and times differ from answer to answer
        if isinstance(value, dict):
            return {k: lasting(v) for k, v in value.items() if k not in ("id", "created_at") and v not in (None, [])}
        return [lasting(one) for one in value] if isinstance(value, list) else value

    assert lasting(last) == lasting(whole)


def test_the_stream_helper_puts_the_answer_together(vocab: Vocabulary, ids: Ids) -> None:
    async def collect(app: FastAPI) -> tuple[list[str], Any]:
        async with client_of(app).responses.stream(model=MODEL, input=question()) as stream:
            kinds = [event.type async for event in stream]
            return kinds, await stream.get_final_response()

    kinds, final = run(collect(served(vocab, ids(PLANNED))))
    assert final.output_text == "The dog sits." and final.output[1].visual[0]["label"] == "dog"
    assert kinds[-1] == "response.completed"


def test_a_cut_stream_ends_incomplete_and_a_failed_one_with_an_error(vocab: Vocabulary, ids: Ids) -> None:
    assert events_of(served(vocab, ids(DOG)), max_output_tokens=3)[-1].type == "response.incomplete"
    last = events_of(served(vocab, ids(DOG), fails_at=4))[-1]
    assert last.type == "error" and "scripted" not in last.message and last.sequence_number > 3


@pytest.mark.parametrize("stream", [False, True])
def test_busy_and_unknown_models_have_their_status_also_for_streams(vocab: Vocabulary, ids: Ids, stream: bool) -> None:
    asked = {"model": MODEL, "input": "Hi", "stream": stream}
    busy = post(served(vocab, ids(DOG), capacity=0), PATH, asked)
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "7")
    with pytest.raises(openai.NotFoundError, match="no model"):
        create(served(vocab, ids(DOG)), model="gpt-4", stream=stream)


# --- JSON ---


class Dog(BaseModel):
    name: str


def test_parse_gives_a_typed_answer(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids('{"name": "Bo"}'))
    got = run(client_of(app).responses.parse(model=MODEL, input=question(), text_format=Dog))
    assert got.output_parsed == Dog(name="Bo")
    assert json.loads(app.state.engine.prompts[0].constraint.json_schema)["required"] == ["name"]
    assert create(app, text={"format": {"type": "json_object"}}).text.format.type == "json_object"


# --- what is refused ---


def test_nothing_is_kept(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids(DOG))
    assert create(app, store=True).store is False
    with pytest.raises(openai.BadRequestError, match="send the conversation as input") as caught:
        create(app, previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"


@pytest.mark.parametrize("stream", [False, True])
def test_top_logprobs_and_issues(vocab: Vocabulary, ids: Ids, stream: bool) -> None:
    app = served(vocab, ids("A <Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0001>)"))
    asked: dict[str, Any] = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    got = events_of(app, **asked)[-1].response if stream else create(app, **asked)
    (message,) = got.output
    assert [round(one.logprob, 6) for one in message.content[0].logprobs[0].top_logprobs] == [-0.1, -1.1]
    assert message.issues and message.issues[0]["index"] == 0
    ModelResponse.model_validate(got.to_dict())


HOSTILE: list[tuple[dict[str, Any], str | None]] = [
    ({"temprature": 1}, "temprature"),
    ({"input": []}, "input"),
    ({"input": ""}, None),
    ({"input": 3}, "input"),
    ({"input": [{"role": "user"}]}, "input[0].content"),
    ({"input": [{"role": "king", "content": "hi"}]}, "input[0]"),
    ({"input": ["hi"]}, "input[0]"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"),
    ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]}, "input[0].content[0]"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "http://10.0.0.1/a"}]}]},
     "input[0].content[0].image_url"),
    ({"conversation": "conv_1"}, "conversation"),
    ({"background": True}, "background"),
    ({"background": 0}, "background"),
    ({"prompt": {"id": "x"}}, "prompt"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"top_logprobs": 21, "include": ["message.output_text.logprobs"]}, "top_logprobs"),
    ({"max_output_tokens": 10**6}, "max_output_tokens"),
    ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
    ({"text": {"format": {"type": "json_object"}}, "task": "depth"}, "text.format"),
    ({"metadata": {"a": 1}}, "metadata.a"),
    ({"task": "fly"}, "task"),
    ({"seed": "1"}, "seed"),
]  # fmt: skip


@pytest.mark.parametrize("fields, param", HOSTILE, ids=lambda value: json.dumps(value)[:50])
def test_wrong_requests_are_4xx_in_openai_s_shape_and_name_the_field(
    vocab: Vocabulary, ids: Ids, fields: dict[str, Any], param: str | None
) -> None:
    app = served(vocab, ids(DOG))
    response = post(app, PATH, {"model": MODEL, "input": "Hi", **fields})
    assert response.status_code == 400, response.text[:300]
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error" and error["param"] == param
    assert app.state.engine.prompts == []


def test_the_document_describes_the_route(vocab: Vocabulary, ids: Ids) -> None:
    route = served(vocab, ids(DOG)).openapi()["paths"][PATH]["post"]
    assert set(route["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
