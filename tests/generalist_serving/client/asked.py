"""Both clients behind one function, with a server of the test's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

from generalist_serving.client import AsyncClient, Client

CLIENTS = ("sync", "async")
BOX = {"index": 0, "type": "box", "image": 0, "label": "dog", "span": [4, 7], "box": [10, 20, 50, 60], "score": 0.9}
INFO = [{"index": 0, "width": 100, "height": 80}]


def completion(content: str = "The dog sits.", **message: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "visual": [BOX], "image": INFO, **message}
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"id": "x", "object": "chat.completion", "model": "nano", "choices": [choice], "usage": usage}


def chunk(finish_reason: str | None = None, **delta: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return f"data: {json.dumps({'model': 'nano', 'choices': [choice]}, ensure_ascii=False)}\n\n"


class Server:
    """Answers with ``replies``, one after the other and the last one over and over, and keeps what it was asked."""

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies or [completion()])
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, dict):
            return httpx.Response(200, json=reply)
        return reply if isinstance(reply, httpx.Response) else httpx.Response(200, content=reply)

    @property
    def body(self) -> dict[str, Any]:
        """Of the last request."""
        return json.loads(self.requests[-1].content)


def asking(kind: str, server: Callable[[httpx.Request], httpx.Response], ask: Callable[[Any], Any], **more: Any) -> Any:
    """What the client gives for ``ask(client)``; all events of a stream."""
    options = {"model": "nano", "transport": httpx.MockTransport(server), **more}
    if kind == "sync":
        with Client("http://server", "key", **options) as client:
            result = ask(client)
            return list(result) if isinstance(result, Iterator) else result

    async def ask_async() -> Any:
        async with AsyncClient("http://server", "key", **options) as client:
            result = ask(client)
            return [event async for event in result] if isinstance(result, AsyncIterator) else await result

    return asyncio.run(ask_async())
