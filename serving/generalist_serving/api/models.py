"""``/v1/models`` in OpenAI's shape, and adapters that come and go while the server runs, by vLLM's routes."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi import Path as PathParameter
from pydantic import BaseModel, ConfigDict, Field

from generalist.adapter_spec import AdapterSpec, check_name, read_spec
from generalist.types import GeneralistError
from generalist_serving.adapter_root import adapter_folder
from generalist_serving.api.errors import ERROR_RESPONSES, ApiError, api_route
from generalist_serving.api.settings import Settings
from generalist_serving.service import Service


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
        async with changing:
            _check_new(body.lora_name, service, settings)
            spec = await _load(body, settings.adapters_root, service)
        return cards.add(body.lora_name, spec)

    @routes.post("/v1/unload_lora_adapter", response_model=ModelCard)
    async def unload_lora_adapter(body: UnloadAdapter) -> ModelCard:
        """Forget an adapter; the answer is what it was."""
        async with changing:
            card = cards.one(body.lora_name)
            await service.backend.unload_adapter(body.lora_name)
            cards.forget(body.lora_name)
        return card

    return routes


def _check_new(name: str, service: Service, settings: Settings) -> None:
    try:
        check_name(name)
    except GeneralistError as error:
        raise ApiError(400, str(error), param="lora_name") from error
    loaded = service.backend.adapters
    if name == service.model or name in loaded:
        raise ApiError(400, f"there is already a model {name!r}; use another name", param="lora_name")
    if len(loaded) >= settings.max_adapters:
        raise ApiError(400, f"{len(loaded)} adapters are loaded, which is the most; unload one", code="adapters_full")


async def _load(body: LoadAdapter, root: Path, service: Service) -> AdapterSpec | None:
    """Load an adapter; what it says of itself. Errors do not tell where on this machine it lies."""
    folder = ""
    try:
        folder = str(await asyncio.to_thread(adapter_folder, root, body.lora_path))
        spec = await asyncio.to_thread(read_spec, folder)
        await service.backend.load_adapter(body.lora_name, folder)
    except GeneralistError as error:
        told = str(error).replace(folder, body.lora_path) if folder else str(error)
        raise ApiError(400, told, param="lora_path") from error
    return spec


class _Cards:
    """The entries of ``/v1/models``; an adapter counts as loaded from when it was first seen."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._created = {service.model: int(time.time())}
        self._tasks = service.tasks
        self._own: dict[str, list[str]] = {}
        for name, folder in service.backend.adapters.items():
            self.add(name, read_spec(folder))

    def all(self) -> list[ModelCard]:
        return [self.one(name) for name in (self._service.model, *self._service.backend.adapters)]

    def one(self, name: str) -> ModelCard:
        created = self._created.setdefault(name, int(time.time()))
        parent = None if name == self._service.model else self._service.model
        return ModelCard(id=name, created=created, parent=parent, tasks=self._own.get(name, self._tasks))

    def add(self, name: str, spec: AdapterSpec | None) -> ModelCard:
        """The entry of an adapter that was loaded just now; without a spec it has the tasks of the base."""
        if spec is not None and spec.tasks:
            self._own[name] = list(spec.tasks)
        return self.one(name)

    def forget(self, name: str) -> None:
        self._created.pop(name, None)
        self._own.pop(name, None)
