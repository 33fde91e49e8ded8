import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from generalist.tokens import Vocabulary
from generalist_serving.api.app import create_app
from generalist_serving.api.errors import ApiError
from generalist_serving.api.models import adapter_folder
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


@pytest.mark.parametrize("path", ["cats", "deep/dogs", "./deep/../cats", "deep//dogs/"])
def test_folders_below_the_root_are_found(root: Path, path: str) -> None:
    assert adapter_folder(root, path).is_relative_to(root)
    assert adapter_folder(root, str(root / path)) == adapter_folder(root, path)


@pytest.mark.parametrize("path", [
    "", ".", "..", "../secret", "deep/../../secret", "/", "/etc", "~", "~/secret", "cats\0", "nothing", "deep",
    "hf-user/adapter", "https://example.com/cats", "file:///etc", "cats/adapter_model.safetensors", "x" * 5000,
    "\udcff", "cats/../../secret",
])  # fmt: skip
def test_nothing_else_is(root: Path, path: str) -> None:
    with pytest.raises(ApiError, match="no adapter") as error:
        adapter_folder(root, path)
    assert error.value.status_code == 400


def test_links_lead_nowhere(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "secret")
    half = write(root / "half")
    (half / "adapter_model.safetensors").unlink()
    (half / "adapter_model.safetensors").symlink_to(root.parent / "secret" / "adapter_model.safetensors")
    for path in ("link", "half"):
        with pytest.raises(ApiError, match="no adapter"):
            adapter_folder(root, path)


@pytest.mark.parametrize("name", ["adapter_model.bin", "x.PT", "modeling.py", "weights.pkl"])
def test_what_could_run_code_keeps_a_folder_out(root: Path, name: str) -> None:
    (root / "cats" / name).write_text("")
    with pytest.raises(ApiError, match="only safetensors"):
        adapter_folder(root, "cats")


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
