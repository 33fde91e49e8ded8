"""The clients: one waits for its answers, the other is for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from generalist.images import ImageSource
from generalist.types import VisualPrompt
from generalist_serving.client import stores
from generalist_serving.client.answers import ClientAnswer, ModelInfo
from generalist_serving.client.asking import Asked
from generalist_serving.client.exchange import Outcome, Server, body_of, cut, good
from generalist_serving.client.questions import Questions
from generalist_serving.client.reading import StreamEvent, StreamReader, read_answer, read_models
from generalist_serving.client.retrying import wait_before_retry
from generalist_serving.client.stores import DocumentHit, Reranked, StoreInfo

CHAT = "/v1/chat/completions"
MODELS = "/v1/models"
_POOL = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.0)
"""Servers hang up on idle connections, many after 5 s; what is sent at that very moment is lost."""


class Client(Questions[ClientAnswer, Iterator[StreamEvent]]):
    """Asks a server of ours, and waits for its answers.

    >>> client = Client("http://127.0.0.1:8000", api_key="...")
    >>> client.segment("photo.jpg", "the red mug").to_supervision()

    ``timeout`` in seconds for the next bytes of an answer. ``retries``: how often a request is sent again after 429,
    503 or a failed connection. ``model`` is the base model unless it is given here or with a question. Raises
    :class:`ClientError` for what the server says and for its silence, GeneralistError for an image that is none.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout: float = 120.0,
        retries: int = 2,
        model: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        to = Server.of(base_url, api_key, timeout)
        self._http = httpx.Client(
            base_url=to.url, headers=to.headers, timeout=to.timeout, limits=_POOL, transport=transport
        )
        self._retries = retries
        self._model = model

    def models(self) -> tuple[ModelInfo, ...]:
        """The base model, and behind it the adapters that are loaded."""
        return read_models(self._whole(self._http.build_request("GET", MODELS)))

    def vector_stores(self) -> tuple[StoreInfo, ...]:
        """The indexes of the server."""
        return stores.read_stores(self._whole(self._http.build_request("GET", stores.STORES)))

    def search(
        self,
        store: str,
        question: str | Sequence[str],
        *,
        image: ImageSource | None = None,
        visual_prompts: Sequence[VisualPrompt] = (),
        mode: str | None = None,
        find: str | None = None,
        feedback: bool | None = None,
        max_num_results: int | None = None,
    ) -> tuple[DocumentHit, ...]:
        """What an index of :meth:`vector_stores` finds, the best first; ``question`` may be several, then fused.

        ``image`` and what is drawn on it (``visual_prompts``) are what the question is about. ``mode`` is the server's
        to choose unless it is given; ``find``: document, passage, sentence or entity; ``feedback``: look again with
        words of what was found first.
        """
        options = {"mode": mode, "find": find, "feedback": feedback, "max_num_results": max_num_results}
        body = stores.search_body(question, image, visual_prompts, options)
        return stores.read_hits(self._whole(self._http.build_request("POST", stores.search_path(store), json=body)))

    def rerank(
        self, query: str, texts: Sequence[str], *, model: str | None = None, mode: str = "lexical"
    ) -> tuple[Reranked, ...]:
        """``texts`` by how well they answer ``query``, the best first.

        ``model`` names an index, whose base reads them if it is a language model, or a model for words alone.
        """
        body = stores.rerank_body(query, texts, model or self._named(), mode)
        return stores.read_reranked(self._whole(self._http.build_request("POST", stores.RERANK, json=body)), texts)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, ask: Callable[[], Asked]) -> ClientAnswer:
        asked = ask()
        return read_answer(self._whole(self._request(asked, stream=False)), asked.images)

    def _stream(self, ask: Callable[[], Asked]) -> Iterator[StreamEvent]:
        return self._events(ask())

    def _events(self, asked: Asked) -> Iterator[StreamEvent]:
        reader = StreamReader(asked.images)
        response = self._send(self._request(asked, stream=True))
        try:
            for data in response.iter_bytes():
                yield from reader.feed(data)
            reader.finish()
        except httpx.RequestError as error:
            raise cut(error) from error
        finally:
            response.close()

    def _request(self, asked: Asked, *, stream: bool) -> httpx.Request:
        return self._http.build_request("POST", CHAT, json=body_of(asked, asked.model or self._named(), stream))

    def _named(self) -> str:
        """The model of a request that names none."""
        if self._model is None:
            self._model = self.models()[0].name
        return self._model

    def _whole(self, request: httpx.Request) -> httpx.Response:
        response = self._send(request)
        try:
            response.read()
        except httpx.RequestError as error:
            raise cut(error) from error
        finally:
            response.close()
        return response

    def _send(self, request: httpx.Request) -> httpx.Response:
        """A good response, not read yet."""
        attempt, outcome = 0, self._outcome(request)
        while (wait := wait_before_retry(outcome, attempt, self._retries)) is not None:
            time.sleep(wait)
            attempt, outcome = attempt + 1, self._outcome(request)
        return good(outcome)

    def _outcome(self, request: httpx.Request) -> Outcome:
        try:
            response = self._http.send(request, stream=True)
            if not response.is_success:
                response.read()
            return response
        except httpx.RequestError as error:
            return error


class AsyncClient(Questions[Coroutine[Any, Any, ClientAnswer], AsyncIterator[StreamEvent]]):
    """:class:`Client` for asyncio: ``await client.ask(...)``, ``async for event in client.stream(...)``."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout: float = 120.0,
        retries: int = 2,
        model: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        to = Server.of(base_url, api_key, timeout)
        self._http = httpx.AsyncClient(
            base_url=to.url, headers=to.headers, timeout=to.timeout, limits=_POOL, transport=transport
        )
        self._retries = retries
        self._model = model

    async def models(self) -> tuple[ModelInfo, ...]:
        """The base model, and behind it the adapters that are loaded."""
        return read_models(await self._whole(self._http.build_request("GET", MODELS)))

    async def vector_stores(self) -> tuple[StoreInfo, ...]:
        """The indexes of the server."""
        return stores.read_stores(await self._whole(self._http.build_request("GET", stores.STORES)))

    async def search(
        self,
        store: str,
        question: str | Sequence[str],
        *,
        image: ImageSource | None = None,
        visual_prompts: Sequence[VisualPrompt] = (),
        mode: str | None = None,
        find: str | None = None,
        feedback: bool | None = None,
        max_num_results: int | None = None,
    ) -> tuple[DocumentHit, ...]:
        """As :meth:`Client.search`."""
        options = {"mode": mode, "find": find, "feedback": feedback, "max_num_results": max_num_results}
        body = await asyncio.to_thread(stores.search_body, question, image, visual_prompts, options)
        return stores.read_hits(
            await self._whole(self._http.build_request("POST", stores.search_path(store), json=body))
        )

    async def rerank(
        self, query: str, texts: Sequence[str], *, model: str | None = None, mode: str = "lexical"
    ) -> tuple[Reranked, ...]:
        """As :meth:`Client.rerank`."""
        body = stores.rerank_body(query, texts, model or await self._named(), mode)
        return stores.read_reranked(
            await self._whole(self._http.build_request("POST", stores.RERANK, json=body)), texts
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _answer(self, ask: Callable[[], Asked]) -> ClientAnswer:
        asked = await asyncio.to_thread(ask)  # images take a while to read
        response = await self._whole(await self._request(asked, stream=False))
        return await asyncio.to_thread(read_answer, response, asked.images)

    async def _stream(self, ask: Callable[[], Asked]) -> AsyncIterator[StreamEvent]:
        asked = await asyncio.to_thread(ask)
        reader = StreamReader(asked.images)
        response = await self._send(await self._request(asked, stream=True))
        try:
            async for data in response.aiter_bytes():
                for event in reader.feed(data):
                    yield event
            reader.finish()
        except httpx.RequestError as error:
            raise cut(error) from error
        finally:
            await response.aclose()

    async def _request(self, asked: Asked, *, stream: bool) -> httpx.Request:
        model = asked.model or await self._named()
        return self._http.build_request("POST", CHAT, json=body_of(asked, model, stream))

    async def _named(self) -> str:
        if self._model is None:
            self._model = (await self.models())[0].name
        return self._model

    async def _whole(self, request: httpx.Request) -> httpx.Response:
        response = await self._send(request)
        try:
            await response.aread()
        except httpx.RequestError as error:
            raise cut(error) from error
        finally:
            await response.aclose()
        return response

    async def _send(self, request: httpx.Request) -> httpx.Response:
        attempt, outcome = 0, await self._outcome(request)
        while (wait := wait_before_retry(outcome, attempt, self._retries)) is not None:
            await asyncio.sleep(wait)
            attempt, outcome = attempt + 1, await self._outcome(request)
        return good(outcome)

    async def _outcome(self, request: httpx.Request) -> Outcome:
        try:
            response = await self._http.send(request, stream=True)
            if not response.is_success:
                await response.aread()
            return response
        except httpx.RequestError as error:
            return error
