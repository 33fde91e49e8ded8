"""An app of some routes over scripted replies, and the real OpenAI client in front of it."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import httpx
import httpx2
import openai
from fastapi import APIRouter, FastAPI
from PIL import Image

from generalist.tokens import Vocabulary
from generalist_serving.api.settings import Settings
from generalist_serving.service import Service

from .scripted_backend import ScriptedBackend, scripted_line

T = TypeVar("T")
MakeRouter = Callable[[Service, Settings], APIRouter]

MODEL = "nano"


def data_url(picture: Image.Image | None = None, form: str = "PNG") -> str:
    """A picture as a data URL; by default a dark one of 200 x 100."""
    buffer = io.BytesIO()
    (picture or Image.new("RGB", (200, 100), (9, 9, 9))).save(buffer, form)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def app_of(
    vocab: Vocabulary,
    backend: ScriptedBackend,
    *makers: MakeRouter,
    docs: bool = False,
    settings: Settings | None = None,
) -> FastAPI:
    """An app with these routers and nothing else."""
    service = Service(scripted_line(vocab, docs=docs), backend, model=MODEL)
    app = FastAPI()
    for make in makers:
        app.include_router(make(service, settings or Settings()))
    return app


def client_of(app: FastAPI) -> openai.AsyncOpenAI:
    """The real client, in the same process; it does not try again."""
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app))
    return openai.AsyncOpenAI(base_url="http://server/v1", api_key="key", max_retries=0, http_client=http)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 20))


def post(app: FastAPI, path: str, body: object) -> httpx.Response:
    """One raw request."""

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            return await client.post(path, json=body)

    return run(send())
