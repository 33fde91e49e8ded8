"""Unchanged models of the hub behind the server, through the real OpenAI client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI
from PIL import Image
from transformers.utils import logging

from generalist import Generalist
from generalist.cli import execute
from generalist.engine.hub_engine import HubEngine, HubPrompt, Step
from generalist.hub_drawing import HubDrawing
from generalist.types import ChatRequest, GeneralistError, Message, Sampling
from generalist_serving.api.app import create_app
from generalist_serving.api.settings import Settings
from generalist_serving.backend import Busy, UnknownAdapter
from generalist_serving.hub_backend import HubBackend
from generalist_serving.serve import ServeOptions, checked, serve_hub, serve_transformers
from generalist_serving.service import Service

from ..generalist.hub.tiny_hub import ARCHITECTURES
from ..generalist.random_drawers import DRAWERS
from ..pictures import noise
from .routes import client_of, data_url, run
from .test_serve import server

MODELS = ("qwen2_5_vl", "paligemma", "florence2")
PICTURE = noise(100, 60)
TASKS = {
    "qwen2_5_vl": {"chat", "detect", "box", "point", "caption", "count"},
    "paligemma": {"chat", "detect", "box", "segment", "caption", "count"},
    "florence2": {"detect", "box", "segment", "caption"},
}


DETECTED = {
    "paligemma": (
        "<loc0100><loc0200><loc0481><loc0733> dog ; <loc0010><loc0020><loc0030><loc0040> dog ; "
        "<loc0500><loc0500><loc0900><loc0900> dog"
    ),
    "florence2": (
        "dog<loc_100><loc_200><loc_481><loc_733>dog<loc_10><loc_20><loc_30><loc_40>"
        "dog<loc_500><loc_500><loc_900><loc_900>"
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny random model, by the name of its dialect or of what it draws with."""
    root = tmp_path_factory.mktemp("served")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    makers = {**DRAWERS, **ARCHITECTURES}

    def find(name: str) -> Path:
        return root / name if (root / name).is_dir() else makers[name](root / name)

    return find


@pytest.fixture(scope="module")
def model_of(folder: Callable[[str], Path]) -> Callable[[str], Generalist]:
    loaded: dict[str, Generalist] = {}

    def find(name: str) -> Generalist:
        if name not in loaded:
            loaded[name] = Generalist.from_pretrained(folder(name), device="cpu")
        return loaded[name]

    return find


@pytest.fixture(scope="module")
def drawers(folder: Callable[[str], Path], model_of: Callable[[str], Generalist]) -> Callable[[str], HubDrawing]:
    return lambda name: HubDrawing.open(model_of(name).line, masks=folder("sam2"), depth=folder("dpt"), device="cpu")


@pytest.fixture
def serve(model_of: Callable[[str], Generalist]) -> Iterator[Callable[..., FastAPI]]:
    """The app of a model, by the name of its dialect."""
    backends: list[HubBackend] = []

    def make(name: str, drawing: HubDrawing | None = None, **options: Any) -> FastAPI:
        model = model_of(name)
        assert isinstance(model.engine, HubEngine)
        backends.append(HubBackend(model.engine, **options))
        return create_app(Service(model.line, backends[-1], model=name, drawing=drawing), Settings(max_tokens=4096))

    yield make
    for backend in backends:
        asyncio.run(backend.close())


@pytest.fixture
def write(model_of: Callable[[str], Generalist], monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Has a model write a text whatever it is asked: what random weights write differs from machine to machine."""

    def script(name: str, text: str) -> None:
        engine = model_of(name).engine
        assert isinstance(engine, HubEngine)
        tokens = [*engine.processor.tokenizer(text, add_special_tokens=False)["input_ids"], min(engine.ends)]

        def steps(*_: object) -> Iterator[Step]:
            yield from (Step(token=token, logprob=-0.1, top=((token, -0.1),)) for token in tokens)

        monkeypatch.setattr(engine, "steps", steps)

    return script


def body(name: str, text: str, *pictures: Image.Image, task: str = "chat", **more: Any) -> dict[str, Any]:
    images = [{"type": "image_url", "image_url": {"url": data_url(one)}} for one in pictures]
    messages = [{"role": "user", "content": [*images, {"type": "text", "text": text}]}]
    extra = {"task": task, **more.pop("extra", {})}
    return {"model": name, "messages": messages, "extra_body": extra, "max_tokens": 80, **more}


def ask(app: FastAPI, *arguments: Any, **options: Any) -> Any:
    return run(client_of(app).chat.completions.create(**body(*arguments, **options)))


def streamed(app: FastAPI, *arguments: Any, **options: Any) -> list[Any]:
    async def collect() -> list[Any]:
        stream = await client_of(app).chat.completions.create(**body(*arguments, **options), stream=True)
        return [chunk async for chunk in stream]

    return run(collect())


def models_of(app: FastAPI) -> list[Any]:
    async def collect() -> list[Any]:
        return [card async for card in client_of(app).models.list()]

    return run(collect())


def text_of(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def visual_of(chunks: list[Any]) -> list[Any]:
    return [entry for chunk in chunks for entry in getattr(chunk.choices[0].delta, "visual", None) or ()]


@pytest.mark.parametrize("name", MODELS)
def test_it_answers_as_the_model_does(name: str, serve: Any, model_of: Callable[[str], Generalist]) -> None:
    answer = model_of(name).ask(PICTURE, "Detect dogs.", task="detect", sampling=Sampling(max_new_tokens=80))
    message = (reply := ask(serve(name), name, "Detect dogs.", PICTURE, task="detect")).choices[0].message
    assert message.content == answer.text
    entries = answer.to_visual()
    assert [{**entry, "score": None} for entry in message.visual] == [{**entry, "score": None} for entry in entries]
    assert [entry["score"] for entry in message.visual] == pytest.approx([e["score"] for e in entries], abs=2e-3)
    assert len(message.issues) == len(answer.issues)
    assert reply.choices[0].finish_reason == answer.finish_reason
    assert reply.usage.completion_tokens == answer.usage.completion_tokens
    assert reply.usage.prompt_tokens == answer.usage.prompt_tokens > 0
    assert message.image[0]["width"] == 100


@pytest.mark.parametrize("name", MODELS)
def test_a_stream_says_the_same(name: str, serve: Any) -> None:
    app = serve(name)
    whole = ask(app, name, "Detect dogs.", PICTURE, task="detect").choices[0]
    chunks = streamed(app, name, "Detect dogs.", PICTURE, task="detect")
    assert text_of(chunks) == whole.message.content
    assert visual_of(chunks) == whole.message.visual
    assert [c.choices[0].finish_reason for c in chunks][-1] == whole.finish_reason


@pytest.mark.parametrize(("name", "text"), DETECTED.items())
def test_a_drawing_comes_before_the_end(name: str, text: str, serve: Any, write: Any) -> None:
    write(name, text)
    chunks = streamed(serve(name), name, "Detect dogs.", PICTURE, task="detect", max_tokens=200)
    drawn = [at for at, chunk in enumerate(chunks) if visual_of([chunk])]
    assert len(drawn) == len(visual_of(chunks)) == 3  # each in a chunk of its own
    assert drawn[0] < len(chunks) - 3


@pytest.mark.parametrize("name", MODELS)
def test_it_says_what_it_offers(name: str, serve: Any) -> None:
    (card,) = models_of(serve(name))
    assert card.id == name and card.parent is None
    assert set(card.tasks) == TASKS[name]


@pytest.mark.parametrize(
    ("name", "text", "pictures", "more", "says"),
    [
        ("florence2", "What is this?", 1, {}, "has no answer to 'What is this?' in chat"),
        ("florence2", "Detect dogs.", 2, {"task": "detect"}, "ask one question about one image"),
        ("florence2", "Detect dogs.", 0, {"task": "detect"}, "ask one question about one image"),
        ("florence2", "Detect " + "long " * 400, 1, {"task": "detect"}, "use at most 512"),
        ("paligemma", "Detect dogs.", 2, {"task": "detect"}, "ask one question about one image"),
        ("paligemma", "Point at it.", 1, {"task": "point"}, "have no answer for task 'point'"),
        ("paligemma", "What is this?", 1, {"extra": {"visual_prompts": [{"type": "point", "point": [4, 4]}]}}, "point"),
        (
            "paligemma",
            "What?",
            1,
            {"response_format": {"type": "json_object"}},
            "no JSON schema; ask for JSON in words",
        ),
        ("qwen2_5_vl", "<|im_end|>Hello", 1, {}, "a mark of the model's own"),
        ("qwen2_5_vl", "long " * 1000, 1, {}, "use at most 2047"),
        ("qwen2_5_vl", " ", 1, {}, "the question has no text"),
        ("qwen2_5_vl", "How far is it?", 1, {"task": "depth"}, "have no answer for task 'depth'"),
    ],
)
def test_what_it_has_no_words_for(
    name: str, text: str, pictures: int, more: dict[str, Any], says: str, serve: Any
) -> None:
    app = serve(name)
    for again in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            (streamed if again else ask)(app, name, text, *[PICTURE] * pictures, **more)
        message = caught.value.response.json()["error"]["message"]
        assert says in message and "\n" not in message


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("task", ["detect", "segment", "caption", "box"])
def test_whatever_a_random_model_writes_is_an_answer(name: str, task: str, serve: Any) -> None:
    if task not in TASKS[name]:
        return
    app = serve(name)
    for seed in range(2):
        options = {"task": task, "temperature": 1.5, "seed": seed, "max_tokens": 96, "logprobs": True, "n": 2}
        reply = ask(app, name, "the dog, the cat", PICTURE, top_logprobs=2, **options)
        assert [choice.finish_reason in ("stop", "length") for choice in reply.choices] == [True, True]
        assert all(token.logprob <= 0 for token in reply.choices[0].logprobs.content)


def test_more_tokens_than_it_has_positions_for(serve: Any) -> None:
    options = {"task": "segment", "max_tokens": 4096, "temperature": 1.0, "seed": 1}
    reply = ask(serve("florence2"), "florence2", "Segment dogs.", PICTURE, **options)
    assert reply.choices[0].finish_reason in ("stop", "length") and reply.usage.completion_tokens < 512


@pytest.mark.parametrize("text", ["<image>", "What <image> is <loc0001>?", "<pad>", "\x00", "\U0001f600"])
def test_marks_in_a_question_of_a_model_without_a_template(text: str, serve: Any) -> None:
    try:
        assert ask(serve("paligemma"), "paligemma", text, PICTURE, max_tokens=4).choices
    except openai.BadRequestError as error:
        assert "\n" not in error.response.json()["error"]["message"]


def test_a_stop_string_ends_it(serve: Any, write: Any) -> None:
    app = serve("paligemma")
    write("paligemma", "a dog on a sofa")
    whole = ask(app, "paligemma", "What is this?", PICTURE).choices[0].message.content
    cut = ask(app, "paligemma", "What is this?", PICTURE, stop=["so"]).choices[0]
    assert (whole, cut.message.content, cut.finish_reason) == ("a dog on a sofa", "a dog on a ", "stop")


def test_tokens_and_the_likeliest_beside_them(serve: Any) -> None:
    reply = ask(serve("paligemma"), "paligemma", "Detect x.", PICTURE, task="detect", logprobs=True, top_logprobs=3)
    tokens = reply.choices[0].logprobs.content
    assert len(tokens) == reply.usage.completion_tokens
    assert tokens[0].token.startswith("<loc") and tokens[0].token == tokens[0].top_logprobs[0].token
    assert tokens[0].logprob == pytest.approx(tokens[0].top_logprobs[0].logprob)


def test_moondreams_routes_and_responses(serve: Any, write: Any) -> None:
    app = serve("paligemma")
    write("paligemma", DETECTED["paligemma"])

    async def send() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server", timeout=60) as client:
            detect = await client.post("/v1/detect", json={"image_url": data_url(PICTURE), "object": "dog"})
            point = await client.post("/v1/point", json={"image_url": data_url(PICTURE), "object": "dog"})
            adapter = await client.post("/v1/load_lora_adapter", json={"lora_name": "a", "lora_path": "b"})
            parts = [
                {"type": "input_image", "image_url": data_url(PICTURE)},
                {"type": "input_text", "text": "Detect dogs."},
            ]
            asked = {"model": "paligemma", "task": "detect", "input": [{"role": "user", "content": parts}]}
            return [detect, point, adapter, await client.post("/v1/responses", json=asked)]

    detect, point, adapter, response = run(send())
    assert (detect.status_code, point.status_code, adapter.status_code) == (200, 400, 403)
    assert len(detect.json()["objects"]) == 3
    assert response.status_code == 200 and '"type":"box"' in response.text.replace(" ", "")


# --- models that draw in its place --------------------------------------------------------------------


def test_masks_and_depth_in_its_place(serve: Any, write: Any, drawers: Callable[[str], HubDrawing]) -> None:
    drawing = drawers("paligemma")
    write("paligemma", DETECTED["paligemma"])
    app = serve("paligemma", drawing)
    (card,) = models_of(app)
    assert set(card.tasks) == TASKS["paligemma"] | {"depth"}
    boxes = ask(app, "paligemma", "Detect dogs.", PICTURE, task="detect").choices[0].message.visual
    masks = ask(app, "paligemma", "Segment dogs.", PICTURE, task="segment").choices[0].message.visual
    assert {entry["type"] for entry in boxes} == {"box"} and {entry["type"] for entry in masks} == {"mask"}
    assert [entry["label"] for entry in masks] == [entry["label"] for entry in boxes]
    assert all(mask["score"] <= box["score"] for mask, box in zip(masks, boxes, strict=True))
    chunks = streamed(app, "paligemma", "Segment dogs.", PICTURE, task="segment")
    assert visual_of(chunks) == masks
    for task, text in (("depth", "Estimate the depth."), ("chat", "Estimate the depth.")):
        reply = ask(app, "paligemma", text, PICTURE, task=task, n=2)
        assert [choice.message.visual[0]["type"] for choice in reply.choices] == ["depth", "depth"]
        assert reply.usage.completion_tokens == 0 and reply.choices[1].finish_reason == "stop"
    assert text_of(streamed(app, "paligemma", "", PICTURE, task="depth")) == "scene"
    assert drawing.report()["depth"]["encoded"] <= 4


# --- the backend --------------------------------------------------------------------------------------


@asynccontextmanager
async def backend_of(model: Generalist, **options: Any) -> AsyncIterator[HubBackend]:
    assert isinstance(model.engine, HubEngine)
    backend = HubBackend(model.engine, **options)
    try:
        yield backend
    finally:
        await backend.close()


def prompt_of(model: Generalist, text: str = "What is this?") -> HubPrompt:
    message = Message(role="user", text=text, images=(PICTURE,))
    prompt = model.line.prepare(ChatRequest(messages=(message,)))
    assert isinstance(prompt, HubPrompt)
    return prompt


@pytest.fixture
def talkative(model_of: Callable[[str], Generalist], monkeypatch: pytest.MonkeyPatch) -> Generalist:
    """A model that writes all the tokens it may, one every 5 ms."""
    model = model_of("qwen2_5_vl")

    def steps(_prompt: object, _inputs: object, sampling: Sampling) -> Iterator[Step]:
        for _ in range(sampling.max_new_tokens):
            time.sleep(0.005)
            yield Step(token=5, logprob=-0.1, top=((5, -0.1),))

    monkeypatch.setattr(model.engine, "steps", steps)
    return model


def test_one_at_a_time_and_the_queue_is_bounded(talkative: Generalist) -> None:
    model = talkative

    async def work() -> None:
        async with backend_of(model, max_queue=1) as backend:
            prompt, long = prompt_of(model), Sampling(max_new_tokens=1500)
            first, second = backend.run(prompt, long), backend.run(prompt, Sampling(max_new_tokens=3))
            assert (await anext(first)).token_ids
            waiting = asyncio.ensure_future(anext(second))
            await asyncio.sleep(0.05)
            assert (backend.running, backend.waiting) == (1, 1) and not waiting.done()
            with pytest.raises(Busy):
                await anext(backend.run(prompt, long))
            await first.aclose()  # whoever leaves frees the place
            assert (await waiting).token_ids
            await second.aclose()
            assert backend.waiting == 0

    run(work())


def test_who_leaves_the_queue_is_never_answered(talkative: Generalist) -> None:
    model = talkative

    async def work() -> None:
        async with backend_of(model) as backend:
            prompt, long = prompt_of(model), Sampling(max_new_tokens=200)
            first, second = backend.run(prompt, long), backend.run(prompt, long)
            await anext(first)
            waiting = asyncio.ensure_future(anext(second))
            await asyncio.sleep(0.05)
            waiting.cancel()
            await first.aclose()
            pieces = [piece async for piece in backend.run(prompt, Sampling(max_new_tokens=3))]
            assert pieces[-1].finish_reason and pieces[-1].usage

    run(work())


def test_adapters_are_none_of_its_business(model_of: Callable[[str], Generalist]) -> None:
    async def work() -> None:
        async with backend_of(model_of("paligemma")) as backend:
            assert not backend.adapters
            with pytest.raises(GeneralistError, match="takes no adapter"):
                await backend.load_adapter("cats", "/nowhere")
            with pytest.raises(UnknownAdapter):
                await backend.unload_adapter("cats")
        with pytest.raises(Busy):  # it is closed
            await backend.check(prompt_of(model_of("paligemma")))

    run(work())


def test_a_failure_of_the_model_is_one_requests_own(
    model_of: Callable[[str], Generalist], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("paligemma")
    engine = model.engine
    assert isinstance(engine, HubEngine)

    async def work() -> None:
        async with backend_of(model) as backend:
            with monkeypatch.context() as patched:
                patched.setattr(engine._model, "generate", lambda **_: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    await anext(backend.run(prompt_of(model), Sampling()))
            assert (await anext(backend.run(prompt_of(model), Sampling(max_new_tokens=2)))).usage

    run(work())


# --- the program --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--engine", "vllm"], "runs models of ours"),
        (["--adapters", "."], "belong to a model of ours"),
        (["--max-batch", "4"], "takes one at a time"),
        (["--dialect", "latin"], "no dialect 'latin'"),
        (["--masks", "/nowhere/sam"], "/nowhere/sam"),
        (["--depth", "/nowhere/dpt"], "/nowhere/dpt"),
        (["--", "--tensor-parallel-size", "2"], "no options of its own"),
    ],
)
@pytest.mark.parametrize("command", ["serve", "demo"])
def test_the_program_refuses(
    command: str, options: list[str], says: str, folder: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    if command == "demo" and options[0] in ("--max-batch", "--"):
        return
    assert execute([command, "--model", str(folder("paligemma")), "--port", "0", *options]) == 2
    shown = capsys.readouterr()
    assert says in shown.err and shown.err.count("\n") == 1 and shown.out == ""


def test_a_model_of_ours_speaks_no_dialect(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["serve", "--dialect", "qwen3_vl", "--port", "0"]) == 2
    assert "speaks no dialect; leave 'qwen3_vl' out" in capsys.readouterr().err


def test_how_it_is_served(folder: Callable[[str], Path]) -> None:
    masks = str(folder("sam2"))
    assert checked(ServeOptions(model=str(folder("paligemma")), masks=masks))[0] is serve_hub
    assert checked(ServeOptions(masks=masks, engine="transformers"))[0] is serve_transformers


def test_the_program_serves(folder: Callable[[str], Path]) -> None:
    options = ("--port", "0", "--device", "cpu", "--masks", str(folder("sam2")))
    with server("generalist.cli", "serve", "--model", str(folder("paligemma")), *options) as (process, address):
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
        reply = client.chat.completions.create(**body("paligemma", "Segment dogs.", PICTURE, task="segment"))
        assert {entry["type"] for entry in reply.choices[0].message.visual} == {"mask"}
        process.terminate()
        assert process.wait(20) == 0
