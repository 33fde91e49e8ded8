"""The program serves with vLLM: our routes, vLLM's own behind them, one key for both. One server for all tests."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion

from generalist.model import Checkpoint

from .searched_indexes import build
from .vllm_plugin.support import make_adapter

ROOT = Path(__file__).parents[2]
KEY = "a-long-random-word"
START_S = 300
SECONDS = 60.0

COUNTING = {"type": "array", "items": {"type": "integer"}, "minItems": 900}
NAMED = {
    "type": "object",
    "properties": {"count": {"type": "integer"}, "name": {"type": "string", "maxLength": 12}},
    "required": ["count", "name"],
    "additionalProperties": False,
}


@dataclass(frozen=True, kw_only=True)
class Server:
    """A process that serves, where, and what it has said on stderr."""

    process: subprocess.Popen[str]
    address: str
    log: Path

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers={"authorization": f"Bearer {KEY}"}, timeout=SECONDS)

    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key=KEY, max_retries=0, timeout=SECONDS)


@pytest.fixture(scope="module")
def server(nano: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")
    from generalist_serving.engines import usable_engines, vllm_device

    if (reason := usable_engines()["vllm"]) or vllm_device() != "cpu":
        pytest.skip(reason or "vLLM is built for CUDA, where the model is served in bfloat16")
    folder = tmp_path_factory.mktemp("server")
    key, log = folder / "key", folder / "log"
    key.write_text(KEY)
    key.chmod(0o600)
    for name, seed in (("cats", 1), ("dogs", 2)):
        make_adapter(folder / name / name, nano.model, ["language_model.layers"], 0.8, seed)
    indexes = build(folder / "indexes")
    command = [
        *("-m", "generalist.cli", "serve", "--engine", "vllm", "--device", "cpu", "--port", "0"),
        *("--api-key-file", str(key), "--max-batch", "8", "--max-queue", "2", "--adapters", str(folder / "cats")),
        *("--indexes", str(indexes)),
        *("--", "--max-lora-rank", "8", "--max-loras", "2", "--max-model-len", "2048"),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,  # so that a signal can reach all of it and not us
        )
    overdue = threading.Timer(START_S, process.kill)
    overdue.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(
            r"serving nano, cats with the vllm engine and the indexes cards, notes on (http://\S+)\n", line
        )
        assert found, (line, log.read_text()[-3000:])
        overdue.cancel()
        yield Server(process=process, address=found[1], log=log)
    finally:
        overdue.cancel()
        process.kill()
        process.communicate()


def street() -> dict[str, Any]:
    data = base64.b64encode((ROOT / "datasets" / "samples" / "street.png").read_bytes()).decode()
    return at(f"data:image/png;base64,{data}")


def at(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def about(words: str, *parts: dict[str, Any]) -> list[Any]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": words}]}]


def endless(**more: Any) -> dict[str, Any]:
    """A request whose reply takes as long as it may."""
    form = {"type": "json_schema", "json_schema": {"name": "counting", "schema": COUNTING}}
    return {"model": "nano", "messages": about("Count."), "response_format": form, "stream": True} | more


def logprobs(answer: ChatCompletion) -> list[float]:
    """Of the first reply's tokens."""
    told = answer.choices[0].logprobs
    return [token.logprob for token in (told and told.content) or ()]


def running(http: httpx.Client) -> tuple[float, float]:
    """How many requests are being answered, by our count and by vLLM's."""
    text = http.get("/metrics").text
    names = (r"generalist_requests_running", r"vllm:num_requests_running\{[^}]*\}")
    ours, theirs = (float(re.search(rf"^{name} (\S+)$", text, re.M)[1]) for name in names)  # type: ignore[index]
    return ours, theirs


# --- our routes --------------------------------------------------------------------------------------


def test_drawings_come_as_data(server: Server) -> None:
    with server.openai() as client:
        answer = client.chat.completions.create(
            model="nano", messages=about("Detect the bus.", street()), logprobs=True, extra_body={"task": "detect"}
        )
    message: Any = answer.choices[0].message
    (box,) = message.visual
    assert (message.content, box["label"], box["type"]) == ("bus", "bus", "box")
    assert len(box["box"]) == 4 and 0 < box["score"] <= 1
    assert answer.usage is not None and answer.usage.completion_tokens == 13
    assert len(logprobs(answer)) == 13


def test_the_likeliest_tokens_are_told(server: Server) -> None:
    with server.openai() as client:
        answer = client.chat.completions.create(
            model="nano", messages=about("What?"), max_tokens=5, logprobs=True, top_logprobs=3
        )
    told = answer.choices[0].logprobs
    assert told is not None and told.content
    for token in told.content:
        likeliest = [one.logprob for one in token.top_logprobs]
        assert 1 <= len(likeliest) <= 3 and likeliest == sorted(likeliest, reverse=True)
        assert token.logprob == pytest.approx(likeliest[0])


def test_a_stream_ends_with_the_same(server: Server) -> None:
    with server.openai() as client:
        with client.chat.completions.stream(
            model="nano", messages=about("Detect the bus.", street()), extra_body={"task": "detect"}
        ) as stream:
            whole = stream.get_final_completion()
        plain = client.chat.completions.create(
            model="nano", messages=about("Detect the bus.", street()), extra_body={"task": "detect"}
        )
    streamed, at_once = whole.choices[0].message, plain.choices[0].message
    assert streamed.content == at_once.content
    assert [one["box"] for one in streamed.visual] == [one["box"] for one in at_once.visual]  # type: ignore[attr-defined]


def test_json_of_a_schema(server: Server) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "named", "schema": NAMED}}
    with server.openai() as client:
        answer = client.chat.completions.create(
            model="nano", messages=about("Describe it."), response_format=form, n=3, temperature=2.0, max_tokens=200
        )
    for choice in answer.choices:
        said = json.loads(choice.message.content or "")
        assert isinstance(said["count"], int) and len(said["name"]) <= 12


def test_adapters_are_models(server: Server) -> None:
    ask: Any = {"messages": about("What is in the picture?", street()), "max_tokens": 8, "logprobs": True}
    with server.openai() as client, server.http() as http:
        models = {model.id: model for model in client.models.list()}
        parents = {name: getattr(model, "parent", None) for name, model in models.items()}
        assert parents == {"nano": None, "cats": "nano"}
        base, other = (logprobs(client.chat.completions.create(model=name, **ask)) for name in ("nano", "cats"))
        assert base != pytest.approx(other, abs=0.05)
        # vLLM's own routes know it too.
        assert http.post("/v1/completions", json={"model": "cats", "prompt": "a", "max_tokens": 2}).status_code == 200
        for path in ("../dogs", "../dogs/dogs", "/etc", "nothing"):
            wrong = http.post("/v1/load_lora_adapter", json={"lora_name": "dogs", "lora_path": path})
            assert wrong.status_code == 400, path
        assert http.post("/v1/unload_lora_adapter", json={"lora_name": "cats"}).status_code == 200
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="cats", **ask)
        assert http.post("/v1/completions", json={"model": "cats", "prompt": "a", "max_tokens": 2}).status_code == 404
        load = http.post("/v1/load_lora_adapter", json={"lora_name": "again", "lora_path": "cats"})
        assert (load.status_code, load.json()["parent"]) == (200, "nano")
        again = logprobs(client.chat.completions.create(model="again", **ask))
        assert again == pytest.approx(other, abs=1e-3)


def test_indexes_are_searched_and_their_documents_named(server: Server) -> None:
    tool: Any = {"type": "file_search", "vector_store_ids": ["cards"]}
    with server.openai() as client, server.http() as http:
        assert {store.id for store in client.vector_stores.list()} == {"cards", "notes"}
        found = client.vector_stores.search("notes", query="Where is the sofa?", extra_body={"mode": "lexical"})
        assert [hit.file_id for hit in found.data] == ["dog"]
        asked: Any = {"model": "nano", "messages": about("Which card describes a red mug?"), "tools": [tool]}
        message: Any = client.chat.completions.create(**asked).choices[0].message
        assert {hit["file_id"] for hit in message.search_results} <= {"mug", "ball"} and message.search_results
        assert {one["document_id"] for one in message.visual if one["type"] == "document"} <= {"mug", "ball"}
        texts = ["The cat is on a map.", "The dog is asleep on a sofa."]
        ranked = http.post("/v1/rerank", json={"model": "nano", "query": "sofa", "documents": texts}).json()["results"]
        assert [one["index"] for one in ranked] == [1, 0]
        assert http.post("/vllm/v1/rerank", json={}).status_code == 404  # vLLM's own, which this model has not


def test_who_leaves_frees_a_place(server: Server) -> None:
    with server.http() as http:
        with http.stream("POST", "/v1/chat/completions", json=endless()) as response:
            lines = response.iter_lines()  # kept: when it goes, so does the connection
            next(lines)
            assert running(http)[0] == 1
        for _ in range(100):
            if running(http) == (0, 0):
                break
            time.sleep(0.1)
        assert running(http) == (0, 0)


# --- vLLM's own --------------------------------------------------------------------------------------


def test_nothing_of_vllms_server_is_lost(server: Server) -> None:
    with server.http() as http:
        assert http.post("/tokenize", json={"model": "nano", "prompt": "hello"}).json()["count"] > 0
        assert http.post("/v1/completions", json={"model": "nano", "prompt": "a", "max_tokens": 2}).status_code == 200
        raw = {"model": "nano", "messages": about("Where is the bus?", street()), "max_tokens": 4}
        assert "visual" not in http.post("/vllm/v1/chat/completions", json=raw).json()["choices"][0]["message"]
        assert http.get("/vllm/version").json()["version"].startswith("0.32.")
        metrics = http.get("/metrics").text
        assert "generalist_replies_total" in metrics and "vllm:generation_tokens_total" in metrics
        assert "/v1/chat/completions" in http.get("/openapi.json").json()["paths"]


@pytest.mark.parametrize("method, path", [
    ("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/ready"), ("POST", "/v1/chat/completions"),
    ("POST", "/tokenize"), ("POST", "/invocations"), ("POST", "/v1/completions"), ("GET", "/load"),
    ("POST", "/vllm/v1/chat/completions"), ("GET", "/vllm/metrics"), ("GET", "/nothing"),
])  # fmt: skip
def test_everything_needs_the_key(server: Server, method: str, path: str) -> None:
    with httpx.Client(base_url=server.address) as http:
        for headers in ({}, {"authorization": "Bearer wrong"}):
            refused = http.request(method, path, json={}, headers=headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        assert http.get("/health").status_code == 200


@pytest.mark.parametrize("body, status, says", [
    ({"messages": about("?", at("http://127.0.0.1/a.png"))}, 400, "fetches no"),
    ({"messages": about("?", at("file:///etc/passwd"))}, 400, "data URL"),
    ({"messages": about("?"), "n": 9}, 400, "at most 8"),
    ({"messages": about("?"), "vllm_xargs": {"generalist_identifiers": "/etc/passwd"}}, 400, "does not offer"),
    ({"messages": about("?", *[street()] * 9)}, 400, "8"),
    ({"messages": about("?"), "mm_processor_kwargs": {"size": 9999}}, 400, ""),
    ({"messages": about("?"), "chat_template": "{{ 1 }}"}, 400, ""),
    ({"messages": about("x" * 21_000_000)}, 413, "20971520 bytes"),
])  # fmt: skip
def test_vllms_own_routes_have_our_limits(server: Server, body: dict[str, Any], status: int, says: str) -> None:
    with server.http() as http:
        answer = http.post("/vllm/v1/chat/completions", json={"model": "nano", "max_tokens": 4} | body)
        assert answer.status_code == status, answer.text[:300]
        assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", [
    "/docs", "/redoc", "/scale_elastic_ep", "/start_profile", "/sleep", "/collective_rpc", "/reset_prefix_cache",
    "/server_info", "/vllm/v1/load_lora_adapter", "/vllm/docs", "/nothing", "/v1/models/",
])  # fmt: skip
def test_what_is_closed(server: Server, path: str) -> None:
    with server.http() as http:
        for answer in (http.get(path), http.post(path, json={"lora_name": "a", "lora_path": "b"})):
            assert answer.status_code in (404, 405)
            assert answer.json()["error"]["type"] in ("not_found_error", "invalid_request_error")


# --- the end, so this test is the last -------------------------------------------------------------------


def test_told_to_stop_it_finishes_what_it_has_accepted(server: Server) -> None:
    lines: list[str] = []
    begun = threading.Event()

    def read() -> None:
        body = endless(max_tokens=150)
        with server.http() as http, http.stream("POST", "/v1/chat/completions", json=body) as response:
            for line in response.iter_lines():
                lines.append(line)
                begun.set()

    reading = threading.Thread(target=read)
    reading.start()
    assert begun.wait(SECONDS)
    os.killpg(server.process.pid, signal.SIGINT)  # a Ctrl-C, which vLLM's processes get too
    with server.http() as http:
        while http.get("/ready").status_code != 503:
            time.sleep(0.01)
        late = http.post("/v1/completions", json={"model": "nano", "prompt": "a"})
        assert (late.status_code, "retry-after" in late.headers) == (503, True)
    reading.join(SECONDS)
    assert "data: [DONE]" in lines
    assert server.process.wait(SECONDS) == 0
    log = server.log.read_text()
    assert "1 requests are under way" in log and '"path": "/tokenize"' in log
    assert KEY not in log and "Traceback" not in log
