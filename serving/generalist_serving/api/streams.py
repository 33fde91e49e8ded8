"""Server-sent events, and work that ends when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from generalist_serving.api.errors import ApiError, error_json, to_api_error

log = logging.getLogger("generalist_serving")

T = TypeVar("T")


def sse(data: Any, event: str | None = None) -> str:
    """One event with ``data`` as JSON."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"


def declared_stream(
    data: type[BaseModel], description: str, *, last: str | None = None
) -> dict[int | str, dict[str, Any]]:
    """For ``responses=``: what the OpenAPI document says of a route that may stream, each event with ``data`` as JSON.

    ``last`` is what the last event says where that is no JSON.
    """
    schema = data.model_json_schema()
    shape = _inlined(schema, schema.get("$defs", {}))
    value: dict[str, Any] = {"type": "string", "contentMediaType": "application/json", "contentSchema": shape}
    if last is not None:
        value = {"anyOf": [value, {"const": last}]}
    # OpenAPI 3.2's word for one event; FastAPI writes it in 3.1 documents too.
    event = {"type": "object", "properties": {"event": {"type": "string"}, "data": value}, "required": ["data"]}
    return {200: {"description": description, "content": {"text/event-stream": {"itemSchema": event}}}}


def _inlined(schema: Any, parts: Mapping[str, Any]) -> Any:
    """A schema without references: what only a stream sends is not among the document's components."""
    if isinstance(schema, list):
        return [_inlined(one, parts) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(parts[schema["$ref"].removeprefix("#/$defs/")], parts)
    return {name: _inlined(value, parts) for name, value in schema.items() if name not in ("$defs", "discriminator")}


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled when the client goes away. The body must have been read."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ApiError(499, "the client closed the connection", code="client_closed")
    finally:
        await _end(task, gone)


async def event_stream(
    request: Request,
    lines: AsyncGenerator[str, None],
    on_error: Callable[[Exception], str] = lambda error: sse(error_json(error)),
) -> EventStream:
    """A response that sends ``lines`` (see :func:`sse`) as they come.

    What is raised before the first line is raised here, while there can still be a status for it; later, it becomes
    the last line by ``on_error``.
    """

    async def first_line() -> str:
        return await anext(lines)

    first = await while_connected(request, first_line())

    async def all_lines() -> AsyncGenerator[str, None]:
        async with aclosing(lines):
            yield first
            try:
                async for line in lines:
                    yield line
            except Exception as error:
                if to_api_error(error).status_code >= 500:
                    log.error("a stream failed", exc_info=error)
                yield on_error(error)

    return EventStream(all_lines())


class EventStream(Response):
    """Sends lines as they come; closes their generator when they end, or when the client goes away."""

    media_type = "text/event-stream"

    def __init__(self, lines: AsyncGenerator[str, None]) -> None:
        # A proxy that buffers would hold the events back.
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send(send))
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            await _end(sending, gone)

    async def _send(self, send: Send) -> None:
        async with aclosing(self._lines):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for line in self._lines:
                await send({"type": "http.response.body", "body": line.encode(), "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
