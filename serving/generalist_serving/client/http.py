"""The clients: one waits for its answers, the other is for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeAlias

import httpx

from generalist.types import GeneralistError
from generalist_serving.client.answers import ClientAnswer
from generalist_serving.client.asking import Asked
from generalist_serving.client.errors import ClientError, answer_error, connection_error
from generalist_serving.client.questions import Questions
from generalist_serving.client.reading import StreamEvent, StreamReader, read_answer, read_model
from generalist_serving.client.retrying import wait_before_retry

CHAT = "/v1/chat/completions"
MODELS = "/v1/models"
EXAMPLE = "http://127.0.0.1:8000"

Outcome: TypeAlias = httpx.Response | httpx.RequestError


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
        to = _Server.of(base_url, api_key, timeout)
        self._http = httpx.Client(base_url=to.url, headers=to.headers, timeout=to.timeout, transport=transport)
        self._retries = retries
        self._model = model

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
            raise _cut(error) from error
        finally:
            response.close()

    def _request(self, asked: Asked, *, stream: bool) -> httpx.Request:
        model = asked.model or self._model
        if model is None:
            model = self._model = read_model(self._whole(self._http.build_request("GET", MODELS)))
        return self._http.build_request("POST", CHAT, json=_body(asked, model, stream))

    def _whole(self, request: httpx.Request) -> httpx.Response:
        response = self._send(request)
        try:
            response.read()
        except httpx.RequestError as error:
            raise _cut(error) from error
        finally:
            response.close()
        return response

    def _send(self, request: httpx.Request) -> httpx.Response:
        """A good response, not read yet."""
        attempt, outcome = 0, self._outcome(request)
        while (wait := wait_before_retry(outcome, attempt, self._retries)) is not None:
            time.sleep(wait)
            attempt, outcome = attempt + 1, self._outcome(request)
        return _good(outcome)

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
        to = _Server.of(base_url, api_key, timeout)
        self._http = httpx.AsyncClient(base_url=to.url, headers=to.headers, timeout=to.timeout, transport=transport)
        self._retries = retries
        self._model = model

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
            raise _cut(error) from error
        finally:
            await response.aclose()

    async def _request(self, asked: Asked, *, stream: bool) -> httpx.Request:
        model = asked.model or self._model
        if model is None:
            model = self._model = read_model(await self._whole(self._http.build_request("GET", MODELS)))
        return self._http.build_request("POST", CHAT, json=_body(asked, model, stream))

    async def _whole(self, request: httpx.Request) -> httpx.Response:
        response = await self._send(request)
        try:
            await response.aread()
        except httpx.RequestError as error:
            raise _cut(error) from error
        finally:
            await response.aclose()
        return response

    async def _send(self, request: httpx.Request) -> httpx.Response:
        attempt, outcome = 0, await self._outcome(request)
        while (wait := wait_before_retry(outcome, attempt, self._retries)) is not None:
            await asyncio.sleep(wait)
            attempt, outcome = attempt + 1, await self._outcome(request)
        return _good(outcome)

    async def _outcome(self, request: httpx.Request) -> Outcome:
        try:
            response = await self._http.send(request, stream=True)
            if not response.is_success:
                await response.aread()
            return response
        except httpx.RequestError as error:
            return error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """Where requests go, and what each of them has."""

    url: str
    headers: dict[str, str]
    timeout: httpx.Timeout

    @classmethod
    def of(cls, base_url: str, api_key: str | None, timeout: float) -> _Server:
        url = base_url.rstrip("/").removesuffix("/v1")
        if not url.lower().startswith(("http://", "https://")):
            raise GeneralistError(f"base_url is {base_url[:80]!r}; use the server's address, such as {EXAMPLE!r}")
        if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
            raise GeneralistError("api_key is empty or has signs that no header can carry; use the server's key")
        headers = {"user-agent": "generalist-client"} | ({"authorization": f"Bearer {api_key}"} if api_key else {})
        return cls(url=url, headers=headers, timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)))


def _body(asked: Asked, model: str, stream: bool) -> dict[str, Any]:
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return {"model": model, **asked.body, **more}


def _good(outcome: Outcome) -> httpx.Response:
    if isinstance(outcome, httpx.RequestError):
        raise connection_error(outcome) from outcome
    if not outcome.is_success:
        raise answer_error(outcome)
    return outcome


def _cut(error: httpx.RequestError) -> ClientError:
    if isinstance(error, httpx.TimeoutException):
        return connection_error(error)
    return ClientError(f"the connection broke within the answer ({error}); try again", code="stream")
