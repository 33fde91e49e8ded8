import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from generalist.adapter_spec import AdapterSpec, write_spec
from generalist.tokens import Vocabulary
from generalist_serving.api.app import create_app
from generalist_serving.api.settings import Settings
from generalist_serving.service import Service

from ..scripted_backend import ScriptedBackend, scripted_line


def app_of(vocab: Vocabulary, root: Path | None = None, **adapters: str) -> FastAPI:
    backend = ScriptedBackend([[vocab.eos]], adapters=adapters)
    service = Service(scripted_line(vocab), backend, model="nano")
    return create_app(service, Settings(adapters_root=root))


def call(app: FastAPI, *requests: tuple[str, str] | tuple[str, str, Any]) -> list[httpx.Response]:
    """Send (method, path, body) one after the other."""

    async def send() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            return [
                await client.request(method, path, json=body[0] if body else None) for method, path, *body in requests
            ]

    return asyncio.run(send())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of adapters with one good one, beside what must not be loaded."""
    write(tmp_path / "adapters" / "cats")
    write(tmp_path / "adapters" / "deep" / "dogs")
    write(tmp_path / "secret")
    return tmp_path / "adapters"


def write(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_text("{}")
    return folder


def test_models_are_the_base_and_its_adapters(vocab: Vocabulary) -> None:
    listed, one, unknown = call(
        app_of(vocab, cats="folder"), ("GET", "/v1/models"), ("GET", "/v1/models/cats"), ("GET", "/v1/models/dogs")
    )
    base, cats = listed.json()["data"]
    assert (base["id"], base["parent"], cats["id"], cats["parent"]) == ("nano", None, "cats", "nano")
    assert {"chat", "detect", "depth"} <= set(base["tasks"])
    assert one.json() == cats
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


def test_an_adapter_comes_and_goes(vocab: Vocabulary, root: Path) -> None:
    named = {"lora_name": "cats-2"}
    loaded, again, listed, gone, unknown, after = call(
        app_of(vocab, root),
        ("POST", "/v1/load_lora_adapter", {**named, "lora_path": "cats", "load_inplace": False}),
        ("POST", "/v1/load_lora_adapter", {**named, "lora_path": "cats"}),
        ("GET", "/v1/models"),
        ("POST", "/v1/unload_lora_adapter", named),
        ("POST", "/v1/unload_lora_adapter", named),
        ("GET", "/v1/models"),
    )
    assert (loaded.status_code, loaded.json()["id"]) == (200, "cats-2")
    assert (again.status_code, again.json()["error"]["param"]) == (400, "lora_name")
    assert [card["id"] for card in listed.json()["data"]] == ["nano", "cats-2"]
    assert gone.json()["id"] == "cats-2"
    assert unknown.status_code == 404
    assert [card["id"] for card in after.json()["data"]] == ["nano"]


def test_adapters_say_what_they_are_for(vocab: Vocabulary, root: Path) -> None:
    spec = AdapterSpec(
        name="cats", base="nano", method="lora", rank=4, alpha=8, targets=(), tasks=("detect",), vocab_hash="0"
    )
    write_spec(root / "cats", spec)
    app = app_of(vocab, root, first=str(root / "cats"), plain=str(root / "deep" / "dogs"))
    named = {"lora_name": "second", "lora_path": "cats"}
    loaded, listed = call(app, ("POST", "/v1/load_lora_adapter", named), ("GET", "/v1/models"))
    tasks = {card["id"]: card["tasks"] for card in listed.json()["data"]}
    assert loaded.json()["tasks"] == tasks["first"] == tasks["second"] == ["detect"]
    assert tasks["plain"] == tasks["nano"] and len(tasks["nano"]) > 1
    gone, again = {"lora_name": "second"}, {"lora_name": "second", "lora_path": "deep/dogs"}
    _, loaded = call(app, ("POST", "/v1/unload_lora_adapter", gone), ("POST", "/v1/load_lora_adapter", again))
    assert loaded.json()["tasks"] == tasks["nano"]  # and not those of what had the name before


def test_a_broken_adapter_is_refused_without_saying_where_it_lies(vocab: Vocabulary, root: Path) -> None:
    (root / "cats" / "adapter.json").write_text("{}")
    named = {"lora_name": "x", "lora_path": "cats"}
    response, listed = call(app_of(vocab, root), ("POST", "/v1/load_lora_adapter", named), ("GET", "/v1/models"))
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, "lora_path")
    assert "cats/adapter.json: has no name" in error["message"] and str(root) not in error["message"]
    assert [card["id"] for card in listed.json()["data"]] == ["nano"]


def test_there_is_a_most_of_adapters(vocab: Vocabulary, root: Path) -> None:
    backend = ScriptedBackend([[vocab.eos]], adapters={"one": "folder", "two": "folder"})
    service = Service(scripted_line(vocab), backend, model="nano")
    app = create_app(service, Settings(adapters_root=root, max_adapters=2))
    load = ("POST", "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "cats"})
    full, _, loaded = call(app, load, ("POST", "/v1/unload_lora_adapter", {"lora_name": "one"}), load)
    assert (full.status_code, full.json()["error"]["code"], loaded.status_code) == (400, "adapters_full", 200)


@pytest.mark.parametrize("body", [
    {"lora_name": "nano", "lora_path": "cats"}, {"lora_name": "a/b", "lora_path": "cats"},
    {"lora_name": "../x", "lora_path": "cats"}, {"lora_name": "", "lora_path": "cats"},
    {"lora_name": "x" * 65, "lora_path": "cats"}, {"lora_name": "x"}, {"lora_path": "cats"}, {}, [], "cats", None,
    {"lora_name": 1, "lora_path": "cats"}, {"lora_name": "x", "lora_path": ["cats"]},
    {"lora_name": "x", "lora_path": "../secret"}, {"lora_name": "x\n", "lora_path": "cats"},
])  # fmt: skip
def test_wrong_requests_load_nothing(vocab: Vocabulary, root: Path, body: Any) -> None:
    response, listed = call(app_of(vocab, root), ("POST", "/v1/load_lora_adapter", body), ("GET", "/v1/models"))
    assert response.status_code in (400, 415) and response.json()["error"]["message"]
    assert [card["id"] for card in listed.json()["data"]] == ["nano"]


def test_without_a_folder_of_adapters_none_is_loaded(vocab: Vocabulary) -> None:
    (refused,) = call(app_of(vocab), ("POST", "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": "/etc"}))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "adapters_off")
