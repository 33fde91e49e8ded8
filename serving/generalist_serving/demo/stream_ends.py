"""Nothing that a visitor does is lost while Gradio's stream of events ends.

A page says what is done by ``queue/join`` and hears what comes of it on one stream, ``queue/data``, which the server
ends by the message ``close_stream`` when nothing is under way. What is done while that message travels comes too late
for this stream, but the page takes it for open still, opens no other, and never hears of it.
"""

from __future__ import annotations

import asyncio
import json
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_JOIN, _STREAM = "/queue/join", "/queue/data"
_END = b'"msg":"close_stream"'
"""In JSON; within a string the quotes would be escaped."""
_HANGS_UP_WITHIN_S = 30.0


class StreamEnds:
    """Middleware that answers ``queue/join`` only when the page knows whether its stream has ended.

    A page hangs up as soon as it has read that its stream ends. Until then the stream is kept open, and what is done
    meanwhile is accepted without the page being told, so that it then opens a new stream. A client that does not hang
    up is waited for no longer than ``within`` seconds.
    """

    def __init__(self, app: ASGIApp, *, within: float = _HANGS_UP_WITHIN_S) -> None:
        self.app = app
        self._within = within
        self._ending: dict[str, asyncio.Event] = {}  # by session; set once the page knows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path.endswith(_STREAM):
            await self._stream(scope, receive, send)
        elif path.endswith(_JOIN):
            await self._join(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        (session,) = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[:1]
        known, last = asyncio.Event(), None

        async def pass_on(message: Message) -> None:
            nonlocal last
            if _END in message.get("body", b""):
                self._ending[session] = known
            ends = message["type"] == "http.response.body" and not message.get("more_body", False)
            if ends and self._ending.get(session) is known:
                last = message
            else:
                await send(message)

        try:
            await self.app(scope, receive, pass_on)
            if last is not None:
                await self._hung_up(receive)
                await send(last)
        finally:
            known.set()
            if self._ending.get(session) is known:
                del self._ending[session]

    async def _hung_up(self, receive: Receive) -> None:
        try:
            async with asyncio.timeout(self._within):
                while (await receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            pass

    async def _join(self, scope: Scope, receive: Receive, send: Send) -> None:
        parts: list[bytes] = []

        async def read() -> Message:
            message = await receive()
            parts.append(message.get("body", b""))
            return message

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and self._ending:
                ending = self._ending.get(_session(b"".join(parts)))
                if ending is not None:
                    await ending.wait()
            await send(message)

        await self.app(scope, read, answer)


def _session(body: bytes) -> str:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return str(asked.get("session_hash", "")) if isinstance(asked, dict) else ""
