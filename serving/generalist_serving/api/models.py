"""``/v1/models`` in OpenAI's shape, and adapters that come and go while the server runs, by vLLM's routes."""

from __future__ import annotations

import asyncio
import os
import re
import time
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi import Path as PathParameter
from pydantic import BaseModel, ConfigDict, Field

from generalist.tasks import TASKS
from generalist_serving.api.errors import ERROR_RESPONSES, ApiError, api_route
from generalist_serving.api.settings import Settings
from generalist_serving.service import Service

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FILES = ("adapter_config.json", "adapter_model.safetensors")
_UNSAFE = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".py", ".so"})
"""What can run code when it is read: its mere presence is reason enough to leave a folder alone."""


class ModelCard(BaseModel):
    """A model that requests can name."""

    id: str = Field(description="What goes into `model`.")
    object: Literal["model"] = "model"
    created: int = Field(description="When it was loaded, in seconds since 1970.")
    owned_by: str = "generalist"
    parent: str | None = Field(default=None, description="Of an adapter: the model that it extends.")
    tasks: list[str] = Field(description="What goes into `task`.")


class ModelList(BaseModel):
    """The base model and the adapters that are loaded."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class LoadAdapter(BaseModel):
    """An adapter to load. Further fields of vLLM's are accepted and mean nothing here."""

    model_config = ConfigDict(strict=True)

    lora_name: str = Field(
        min_length=1, max_length=64, description="What requests call it: letters, digits, `.`, `_`, `-`."
    )
    lora_path: str = Field(
        min_length=1, max_length=1024, description="Its folder, below the server's folder of adapters."
    )


class UnloadAdapter(BaseModel):
    """An adapter to forget."""

    model_config = ConfigDict(strict=True)

    lora_name: str = Field(min_length=1, max_length=64, description="What requests call it.")


def router(service: Service, settings: Settings) -> APIRouter:
    """The routes; they need nothing of the app that they are attached to."""
    routes = APIRouter(route_class=api_route(settings), tags=["models"], responses=ERROR_RESPONSES)
    cards = _Cards(service)
    changing = asyncio.Lock()  # two that load the same name at once must not both find it free

    @routes.get("/v1/models", response_model=ModelList)
    async def list_models() -> ModelList:
        """The base model and the adapters that are loaded."""
        return ModelList(data=cards.all())

    @routes.get("/v1/models/{model}", response_model=ModelCard)
    async def retrieve_model(model: Annotated[str, PathParameter(max_length=200)]) -> ModelCard:
        """One of them."""
        service.adapter_of(model)
        return cards.one(model)

    @routes.post("/v1/load_lora_adapter", response_model=ModelCard)
    async def load_lora_adapter(body: LoadAdapter) -> ModelCard:
        """Load an adapter from the server's folder of adapters; only safetensors are read."""
        if settings.adapters_root is None:
            raise ApiError(403, "this server loads no adapters", code="adapters_off")
        if not _NAME.fullmatch(body.lora_name):
            raise ApiError(
                400,
                f"lora_name is {body.lora_name!r}; use up to 64 letters, digits, '.', '_' and '-'",
                param="lora_name",
            )
        async with changing:
            if body.lora_name == service.model or body.lora_name in service.backend.adapters:
                raise ApiError(400, f"there is already a model {body.lora_name!r}; use another name", param="lora_name")
            folder = await asyncio.to_thread(adapter_folder, settings.adapters_root, body.lora_path)
            await service.backend.load_adapter(body.lora_name, str(folder))
        return cards.one(body.lora_name)

    @routes.post("/v1/unload_lora_adapter", response_model=ModelCard)
    async def unload_lora_adapter(body: UnloadAdapter) -> ModelCard:
        """Forget an adapter; the answer is what it was."""
        async with changing:
            card = cards.one(body.lora_name)
            await service.backend.unload_adapter(body.lora_name)
            cards.forget(body.lora_name)
        return card

    return routes


def adapter_folder(root: Path, given: str) -> Path:
    """The folder of an adapter that a request names; raises :class:`ApiError` for anything outside of ``root``.

    Links are followed before it is looked at, those of its files as well.
    """
    real_root = Path(os.path.realpath(root))
    try:
        folder = Path(os.path.realpath(real_root / given))
        inside = folder.is_relative_to(real_root) and folder != real_root and folder.is_dir()
        files = {file.name: Path(os.path.realpath(file)) for file in folder.iterdir()} if inside else {}
    except (OSError, ValueError):  # a name that no file can have
        folder, files = real_root, {}
    # One answer to all of these: what lies elsewhere on this machine is nobody's business.
    whole = all(name in files and files[name].is_file() for name in _FILES)
    if not whole or not all(file.is_relative_to(folder) for file in files.values()):
        raise ApiError(
            400,
            f"there is no adapter {given[:80]!r} in the server's folder of adapters; name a folder there that holds "
            f"{' and '.join(_FILES)}",
            param="lora_path",
        )
    if unsafe := sorted(name for name in files if Path(name).suffix.lower() in _UNSAFE):
        raise ApiError(400, f"the adapter holds {unsafe[0][:80]!r}; only safetensors are read", param="lora_path")
    return folder


class _Cards:
    """The entries of ``/v1/models``; an adapter counts as loaded from when it was first seen."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._created = {service.model: int(time.time())}
        decoders = service.line.decoders
        self._tasks = [
            name for name, spec in TASKS.items() if not spec.emits or any(kind in decoders for kind in spec.emits)
        ]

    def all(self) -> list[ModelCard]:
        return [self.one(name) for name in (self._service.model, *self._service.backend.adapters)]

    def one(self, name: str) -> ModelCard:
        created = self._created.setdefault(name, int(time.time()))
        parent = None if name == self._service.model else self._service.model
        return ModelCard(id=name, created=created, parent=parent, tasks=self._tasks)

    def forget(self, name: str) -> None:
        self._created.pop(name, None)
