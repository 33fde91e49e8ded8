"""``/v1/chat/completions`` through the real OpenAI client."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI
from PIL import Image
from pydantic import BaseModel, TypeAdapter

from generalist.tokens import Vocabulary
from generalist_serving.api.chat import router
from generalist_serving.api.chat_schemas import ChatCompletion, ChatCompletionChunk
from generalist_serving.api.settings import Settings
from generalist_serving.api.visual_schemas import VISUAL_SCHEMA, ImageInfo, Visual

from ..routes import MODEL, app_of, client_of, data_url, post, run
from ..scripted_backend import DOG, Ids, ScriptedBackend
from .live_server import live

PATH = "/v1/chat/completions"
BOX = [51.56, 25.78, 101.56, 75.78]
LOCS = "<loc_0016><loc_0016><loc_0032><loc_0048>"
PLANNED = "<Task>- Name: dog Unit: box Num: 1</Task>" + DOG
EVERYTHING = (
    f"A <Phrase>dog</Phrase>(<Unit>box</Unit>[0]{LOCS}[1]{LOCS}), <Phrase>an eye</Phrase>"
    f"(<Unit>point</Unit>[0]<loc_0001><loc_0002>), <Phrase>cat</Phrase>(<Unit>mask</Unit>[0]{LOCS}"
    + "<mask_001>" * 16
    + "), <Phrase>depth</Phrase>(<Unit>depth</Unit>[0]<loc_0001><loc_0060>"
    + "<depth_003>" * 64
    + ") as in <Phrase>a book</Phrase>(<Unit>doc</Unit>[0]<doc>b7</doc>)."
)


def served(vocab: Vocabulary, *replies: list[int], settings: Settings | None = None, **backend: Any) -> FastAPI:
    engine = ScriptedBackend(replies, **backend)
    app = app_of(vocab, engine, router, docs=True, settings=settings)
    app.state.engine = engine
    return app


def question(text: str = "Where is the dog?", *urls: str) -> list[Any]:
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls or [data_url()]]
    return [{"role": "user", "content": [*images, {"type": "text", "text": text}]}]


def body(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": question(), **fields}


def create(app: FastAPI, **fields: Any) -> Any:
    return run(client_of(app).chat.completions.create(**body(**fields)))


def chunks_of(app: FastAPI, **fields: Any) -> list[Any]:
    async def collect() -> list[Any]:
        stream = await client_of(app).chat.completions.create(**body(stream=True, **fields))
        return [chunk async for chunk in stream]

    return run(collect())


def put_together(app: FastAPI, **fields: Any) -> Any:
    """What OpenAI's stream helper makes of a stream."""

    async def collect() -> Any:
        async with client_of(app).chat.completions.stream(**body(**fields)) as stream:
            async for _ in stream:
                pass
            return await stream.get_final_completion()

    return run(collect())


# --- whole answers ---


def test_an_answer_is_clean_words_with_drawings_beside_them(vocab: Vocabulary, ids: Ids) -> None:
    got = create(served(vocab, ids(PLANNED)))
    (choice,) = got.choices
    assert choice.message.content == "The dog sits." and choice.finish_reason == "stop"
    (drawn,) = choice.message.visual
    assert (drawn["type"], drawn["label"], drawn["span"], drawn["box"]) == ("box", "dog", [4, 7], BOX)
    assert choice.message.image == [{"index": 0, "width": 200, "height": 100}]
    assert choice.message.reasoning_content == "- Name: dog Unit: box Num: 1"
    assert got.id.startswith("chatcmpl-") and got.system_fingerprint.startswith("fp_") and got.model == MODEL
    assert got.usage.total_tokens == got.usage.prompt_tokens + got.usage.completion_tokens > 20


def test_every_kind_of_drawing_follows_the_published_schema(vocab: Vocabulary, ids: Ids) -> None:
    message = create(served(vocab, ids(EVERYTHING))).choices[0].message
    visual = TypeAdapter(list[Visual]).validate_python(message.visual)
    assert [entry.type for entry in visual] == ["box", "box", "point", "mask", "depth", "document"]
    assert [entry.index for entry in visual] == [0, 1, 2, 3, 4, 5]
    assert all(message.content[slice(*entry.span)] == entry.label for entry in visual)
    TypeAdapter(list[ImageInfo]).validate_python(message.image)
    assert "discriminator" in VISUAL_SCHEMA["items"]


def test_documents_are_cited(vocab: Vocabulary, ids: Ids) -> None:
    message = create(served(vocab, ids(EVERYTHING))).choices[0].message
    (cited,) = message.annotations
    assert cited.to_dict()["file_citation"]["file_id"] == "b7" and cited.type == "file_citation"


def test_an_overlay_shows_the_drawings_and_the_depth(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids(EVERYTHING))
    assert create(app).choices[0].message.images == []
    images = create(app, extra_body={"overlay": True}).choices[0].message.images
    assert [image["index"] for image in images] == [0, 1]
    assert all(image["image_url"]["url"].startswith("data:image/png;base64,") for image in images)


def test_several_turns_keep_their_images_and_words(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids(DOG))
    first = create(app)
    answer = first.choices[0].message.model_dump()
    system = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "!"}]},
    ]
    again = [*system, *question(), answer, {"role": "user", "content": "And now?"}]
    got = create(app, messages=again)
    prompt = app.state.engine.prompts[-1]
    assert len(prompt.images) == 1 and vocab.structure["<system>"] in prompt.token_ids
    assert "The dog sits." in vocab.decode_text([i for i in prompt.token_ids if vocab.is_text(i)])
    assert got.choices[0].message.visual[0]["image"] == 0


def test_drawings_lie_on_the_last_of_several_images(vocab: Vocabulary, ids: Ids) -> None:
    message = create(served(vocab, ids(DOG)), messages=question("Where?", data_url(), data_url())).choices[0].message
    assert [info["index"] for info in message.image] == [0, 1] and message.visual[0]["image"] == 1


def test_sampling_reaches_the_engine(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids(DOG))
    create(app, temperature=0.5, top_p=0.9, seed=3, max_tokens=99, max_completion_tokens=7, extra_body={"top_k": 4})
    sampling = app.state.engine.samplings[-1]
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.9, 4)
    assert (sampling.seed, sampling.max_new_tokens) == (3, 7)
    create(app, extra_body={"task": "count"})
    assert app.state.engine.samplings[-1].max_new_tokens == 32


def test_a_reply_that_was_cut_says_so(vocab: Vocabulary, ids: Ids) -> None:
    assert create(served(vocab, ids(DOG)), max_tokens=3).choices[0].finish_reason == "length"


def test_n_replies_and_their_usage(vocab: Vocabulary, ids: Ids) -> None:
    got = create(served(vocab, ids("one"), ids("three")), n=2)
    assert [(c.index, c.message.content) for c in got.choices] == [(0, "one"), (1, "three")]
    assert got.usage.completion_tokens == len(ids("one")) + len(ids("three"))


@pytest.mark.parametrize("stop", [" sits", ["never", " sits"]])
def test_stop(vocab: Vocabulary, ids: Ids, stop: Any) -> None:
    app = served(vocab, ids(DOG + " A <Phrase>cat</Phrase>(<Unit>box</Unit>[0]" + LOCS + ")"))
    message = create(app, stop=stop).choices[0].message
    assert message.content == "The dog" and len(message.visual) == 1


def test_logprobs_hold_every_token(vocab: Vocabulary, ids: Ids) -> None:
    content = create(served(vocab, ids(DOG)), logprobs=True).choices[0].logprobs.content
    assert [token.logprob for token in content] == [-0.1] * len(ids(DOG))
    assert bytes(byte for token in content[:1] for byte in token.bytes).decode() == content[0].token
    special = next(token for token in content if token.token == "<Phrase>")
    assert special.bytes is None and special.top_logprobs == []


@pytest.mark.parametrize("get", ["whole", "stream"])
def test_top_logprobs_hold_the_likeliest_tokens_of_each_step(vocab: Vocabulary, ids: Ids, get: str) -> None:
    app = served(vocab, ids("dog <Phrase>"))
    choice = (put_together if get == "stream" else create)(app, logprobs=True, top_logprobs=3).choices[0]
    first, *_, special = choice.logprobs.content
    assert [round(one.logprob, 6) for one in first.top_logprobs] == [-0.1, -1.1, -2.1]
    assert (first.top_logprobs[0].token, first.top_logprobs[0].bytes) == (first.token, first.bytes)
    assert (special.token, special.top_logprobs[0].token, special.top_logprobs[0].bytes) == ("<Phrase>",) * 2 + (None,)
    assert create(app, logprobs=True, top_logprobs=0).choices[0].logprobs.content[0].top_logprobs == []


def test_numbers_without_a_fraction_are_integers(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids(DOG))
    response = post(app, PATH, body(max_tokens=3.0, seed=-7.0, n=2.0, top_k=5.0, logprobs=True, top_logprobs=1.0))
    assert response.status_code == 200 and len(response.json()["choices"]) == 2
    sampling = app.state.engine.samplings[0]
    assert (sampling.max_new_tokens, sampling.seed, sampling.top_k, sampling.top_logprobs) == (3, -7, 5, 1)
    assert all(type(value) is int for value in (sampling.max_new_tokens, sampling.seed, sampling.top_k))


def test_where_a_reply_left_the_grammar_is_told(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids("A <Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0001>) and <Phrase>"))
    whole = create(app).choices[0].message.issues
    assert len(whole) >= 2 and [issue["index"] for issue in whole] == list(range(len(whole)))
    assert all(issue["at"] > 0 and issue["expected"] and issue["got"] for issue in whole)
    assert put_together(app).choices[0].message.issues == whole
    assert create(served(vocab, ids(DOG))).choices[0].message.issues == []


@pytest.mark.parametrize("name, found", [
    ("coco", lambda made: made["annotations"][0]["bbox"][:2] == BOX[:2]),
    ("roboflow", lambda made: made["predictions"][0]["class"] == "dog"),
    ("gemini", lambda made: made[0]["label"] == "dog" and len(made[0]["box_2d"]) == 4),
    ("qwen", lambda made: made[0]["bbox_2d"]),
    ("moondream", lambda made: made["objects"][0]["x_min"]),
])  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_drawings_in_other_formats(vocab: Vocabulary, ids: Ids, name: str, found: Any, stream: bool) -> None:
    get = put_together if stream else create
    assert found(get(served(vocab, ids(DOG)), extra_body={"visual_format": name}).choices[0].message.visual)


# --- streams ---


def test_a_stream_sends_each_drawing_once_and_whole(vocab: Vocabulary, ids: Ids) -> None:
    chunks = chunks_of(served(vocab, ids(EVERYTHING)))
    visual = [entry for c in chunks for entry in (c.choices[0].delta.to_dict().get("visual") or [])]
    assert visual == create(served(vocab, ids(EVERYTHING))).choices[0].message.visual
    assert {chunk.id for chunk in chunks} == {chunks[0].id} and chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks[-2:]] == [None, "stop"]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk.to_dict())


@pytest.mark.parametrize("n", [1, 3])
def test_the_stream_helper_puts_the_whole_answer_together(vocab: Vocabulary, ids: Ids, n: int) -> None:
    asked: dict[str, Any] = {"n": n, "logprobs": True, "extra_body": {"overlay": True}}
    replies = [ids(PLANNED), ids(EVERYTHING), ids("Words only.")][:n]
    whole = create(served(vocab, *replies), **asked)
    parts = put_together(served(vocab, *replies), **asked)
    for one, other in zip(whole.choices, parts.choices, strict=True):
        a, b = one.message.to_dict(), other.message.to_dict()
        for cited in b.get("annotations") or []:
            cited.pop("url_citation")  # OpenAI's client knows no other citation
        for name in ("content", "visual", "image", "images", "reasoning_content", "annotations"):
            assert (a[name] or None) == (b.get(name) or None), name
        assert one.finish_reason == other.finish_reason
        assert [t.to_dict() for t in one.logprobs.content] == [t.to_dict() for t in other.logprobs.content]


def test_usage_comes_last_where_it_is_asked_for(vocab: Vocabulary, ids: Ids) -> None:
    chunks = chunks_of(served(vocab, ids(DOG)), stream_options={"include_usage": True})
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == len(ids(DOG))
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert all(chunk.choices for chunk in chunks_of(served(vocab, ids(DOG))))


def test_a_stream_ends_with_done_and_is_never_buffered(vocab: Vocabulary, ids: Ids) -> None:
    response = post(served(vocab, ids(DOG)), PATH, body(stream=True))
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache" and "content-length" not in response.headers
    assert response.text.endswith("data: [DONE]\n\n")
    assert all(line.startswith("data: ") for line in response.text.split("\n\n") if line)


def test_stop_across_deltas_in_a_stream(vocab: Vocabulary, ids: Ids) -> None:
    final = put_together(served(vocab, ids(DOG)), stop=["dog s"])
    assert final.choices[0].message.content == "The " and "visual" not in final.choices[0].message.to_dict()


def test_an_error_within_a_stream_is_its_last_event(vocab: Vocabulary, ids: Ids) -> None:
    with pytest.raises(openai.APIError, match="server failed") as caught:
        chunks_of(served(vocab, ids(DOG), fails_at=4))
    assert "scripted" not in str(caught.value)


@pytest.mark.parametrize("stream", [False, True])
def test_busy_and_unknown_models_have_their_status_also_for_streams(vocab: Vocabulary, ids: Ids, stream: bool) -> None:
    app = served(vocab, ids(DOG), capacity=0)
    busy = post(app, PATH, body(stream=stream))
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "7")
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-4'"):
        create(app, model="gpt-4", stream=stream)


def test_an_adapter_is_a_model(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids(DOG), adapters={"birds": "/adapters/birds"})
    assert create(app, model="birds").model == "birds"
    assert app.state.engine.prompts[-1].adapter == "birds"


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_stops_the_engine(vocab: Vocabulary, ids: Ids, stream: bool) -> None:
    """The raw protocol: a disconnect while the answer is being written."""
    app = served(vocab, ids(DOG), delay=0.01)
    content = json.dumps(body(stream=stream)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    scope = {"type": "http", "method": "POST", "path": PATH, "raw_path": PATH.encode(), "query_string": b""}
    scope |= {"headers": headers, "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1"}
    scope |= {"scheme": "http", "server": ("server", 80), "client": ("client", 1), "root_path": "", "state": {}}
    sent: list[Any] = []

    async def use() -> None:
        messages = iter([{"type": "http.request", "body": content, "more_body": False}])

        async def receive() -> Any:
            try:
                return next(messages)
            except StopIteration:
                await asyncio.sleep(0.05)
                return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)

    run(use())
    engine = app.state.engine
    assert (engine.cancelled, engine.finished, engine.running) == (1, 0, 0)
    assert b"[DONE]" not in b"".join(message.get("body", b"") for message in sent)


def test_the_synchronous_client_over_sockets(vocab: Vocabulary, ids: Ids) -> None:
    with live(served(vocab, ids(PLANNED))) as port:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="key", max_retries=0)
        got = client.chat.completions.create(model=MODEL, messages=question())
        assert got.choices[0].message.content == "The dog sits."
        with client.chat.completions.stream(model=MODEL, messages=question()) as stream:
            final = stream.get_final_completion()
        assert final.choices[0].message.to_dict()["visual"] == got.choices[0].message.to_dict()["visual"]


def test_a_closed_socket_stops_the_engine(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids(DOG), delay=0.02)
    with live(app) as port:
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="key", max_retries=0)
        stream = client.chat.completions.create(model=MODEL, messages=question(), stream=True)
        next(iter(stream))
        stream.close()
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.1).chat.completions.create(model=MODEL, messages=question())
        for _ in range(200):
            if app.state.engine.cancelled == 2:
                break
            time.sleep(0.01)
    assert (app.state.engine.cancelled, app.state.engine.running) == (2, 0)


# --- JSON ---


class Dog(BaseModel):
    name: str
    legs: int


def test_parse_gives_a_typed_answer(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids('{"name": "Bo", "legs": 4}'))
    client = client_of(app)
    got = run(client.chat.completions.parse(model=MODEL, messages=question(), response_format=Dog))
    assert got.choices[0].message.parsed == Dog(name="Bo", legs=4)
    constraint = app.state.engine.prompts[0].constraint
    assert json.loads(constraint.json_schema)["required"] == ["name", "legs"]
    assert put_together(app, response_format=Dog).choices[0].message.parsed == Dog(name="Bo", legs=4)


def test_any_json_object(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids("{}"))
    assert create(app, response_format={"type": "json_object"}).choices[0].message.content == "{}"
    assert json.loads(app.state.engine.prompts[0].constraint.json_schema) == {"type": "object"}
    create(app, response_format={"type": "text"})
    assert app.state.engine.prompts[1].constraint.json_schema == ""


# --- what clients send and we ignore, and what is refused ---


def test_fields_that_change_nothing_are_accepted(vocab: Vocabulary, ids: Ids) -> None:
    create(
        served(vocab, ids(DOG)),
        user="me",
        store=True,
        metadata={"a": "b"},
        parallel_tool_calls=False,
        service_tier="auto",
        frequency_penalty=0,
        presence_penalty=0.0,
        logit_bias={},
        tools=[{"type": "function", "function": {"name": "f"}}],
        tool_choice="auto",
        reasoning_effort="low",
        modalities=["text"],
        stream=None,
        n=None,
        stop=None,
    )


def image(url: Any) -> list[Any]:
    return question("What?", url)


def said(role: Any, content: Any, **more: Any) -> list[Any]:
    return [{"role": role, "content": content, **more}]


SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nope"}}}
HOSTILE: list[tuple[dict[str, Any], str | None]] = [
    ({"temprature": 1}, "temprature"),
    ({"temperature": "1"}, "temperature"),
    ({"temperature": -1}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"n": 0}, "n"),
    ({"n": 9}, "n"),
    ({"n": True}, "n"),
    ({"n": 1.5}, "n"),
    ({"seed": 2**70}, "seed"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 10**6}, "max_tokens"),
    ({"max_completion_tokens": 10**6}, "max_completion_tokens"),
    ({"stop": ""}, "stop"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"stop": [1]}, "stop[0]"),
    ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
    ({"top_logprobs": -1, "logprobs": True}, "top_logprobs"),
    ({"top_logprobs": 2.5, "logprobs": True}, "top_logprobs"),
    ({"top_logprobs": 5}, "top_logprobs"),
    ({"max_tokens": 1e300}, "max_tokens"),
    ({"seed": 1e19}, "seed"),
    ({"top_logprobs": False}, "top_logprobs"),
    ({"frequency_penalty": 0.5}, "frequency_penalty"),
    ({"logit_bias": {"1": 2}}, "logit_bias"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"audio": {"voice": "x"}}, "audio"),
    ({"modalities": ["audio"]}, "modalities[0]"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"task": "fly"}, "task"),
    ({"visual_format": "yolo"}, "visual_format"),
    ({"overlay": 1}, "overlay"),
    ({"response_format": {"type": "xml"}}, "response_format"),
    ({"response_format": {"type": "json_object"}, "task": "detect"}, "response_format"),
    ({"response_format": SCHEMA}, None),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}},
     "response_format"),
    ({"model": None}, "model"),
    ({"model": "x" * 10_000}, "model"),
    ({"messages": []}, "messages"),
    ({"messages": "hello"}, "messages"),
    ({"messages": said("user", "")}, None),
    ({"messages": said("user", [])}, "messages[0].content"),
    ({"messages": said("king", "hi")}, "messages[0]"),
    ({"messages": said("tool", "hi", tool_call_id="1")}, "messages[0]"),
    ({"messages": said("assistant", "hi")}, None),
    ({"messages": said("user", "hi", extra=1)}, "messages[0].extra"),
    ({"messages": said("system", [{"type": "image_url", "image_url": {"url": "data:,"}}])},
     "messages[0].content[0].type"),
    ({"messages": said("user", [{"type": "input_audio", "input_audio": {}}])}, "messages[0].content[0]"),
    ({"messages": [*said("assistant", "", tool_calls=[{}]), *said("user", "hi")]}, "messages[0].tool_calls"),
    ({"messages": said("user", "hi") * 257}, "messages"),
    ({"messages": said("user", "x" * 100_001)}, "messages"),
    ({"messages": question("What?", *[data_url()] * 9)}, "messages"),
    ({"messages": image("http://169.254.169.254/latest")}, "messages[0].content[0].image_url.url"),
    ({"messages": image("file:///etc/passwd")}, "messages[0].content[0].image_url.url"),
    ({"messages": image("data:image/png;base64,AAAA")}, "messages[0].content[0].image_url.url"),
    ({"messages": image("")}, "messages[0].content[0].image_url.url"),
    ({"messages": image(data_url()[:-200])}, "messages[0].content[0].image_url.url"),
    ({"visual_prompts": [{"type": "box", "box": [0, 0, 300, 50]}]}, "visual_prompts[0]"),
    ({"visual_prompts": [{"type": "box", "box": [0, 0, 50]}]}, "visual_prompts[0].box"),
    ({"visual_prompts": [{"type": "point", "point": [5, 5], "label": 0}]}, "visual_prompts"),
    ({"visual_prompts": [{"type": "point", "point": [5, 5], "label": 2}]}, "visual_prompts[0].label"),
    ({"visual_prompts": [{"type": "mask", "png": "http://x/y.png"}]}, "visual_prompts[0].png"),
    ({"visual_prompts": [{"type": "mask", "png": data_url(Image.new("L", (9, 9), 9))}]}, "visual_prompts[0].png"),
    ({"visual_prompts": [{"type": "point", "point": [5, 5]}], "messages": said("user", "hi")}, "visual_prompts"),
    ({"visual_prompts": [{"type": "point", "point": [5, 5]}] * 65}, "visual_prompts"),
]  # fmt: skip


@pytest.mark.parametrize("fields, param", HOSTILE, ids=lambda value: json.dumps(value)[:50])
def test_wrong_requests_are_4xx_in_openai_s_shape_and_name_the_field(
    vocab: Vocabulary, ids: Ids, fields: dict[str, Any], param: str | None
) -> None:
    app = served(vocab, ids(DOG))
    response = post(app, PATH, body(**fields))
    assert response.status_code == 400, response.text[:300]
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["type"] == "invalid_request_error"
    assert error["param"] == param and "\n" not in error["message"]
    assert app.state.engine.prompts == []
    assert post(app, PATH, body()).status_code == 200


def test_the_document_describes_the_route(vocab: Vocabulary, ids: Ids) -> None:
    app = served(vocab, ids(DOG))
    route = app.openapi()["paths"][PATH]["post"]
    assert set(route["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    event = route["responses"]["200"]["content"]["text/event-stream"]["itemSchema"]["properties"]["data"]["anyOf"]
    assert "$ref" not in json.dumps(event) and event[0]["contentSchema"]["properties"]["choices"]
    assert {"400", "404", "503"} <= set(route["responses"])
    parts = app.openapi()["components"]["schemas"]
    assert all(parts["ChatCompletionRequest"]["properties"][name] for name in ("task", "visual_prompts", "overlay"))
    assert parts["BoxVisual"]["properties"]["box"]["minItems"] == 4
    assert parts["DocumentVisual"]["properties"]["evidence"]["items"]["$ref"].endswith("/DocumentEvidence")
    assert parts["DocumentEvidence"]["properties"]["span"]["description"]
    response: httpx.Response = post(app, PATH, body())
    ChatCompletion.model_validate(response.json(), strict=True)
