"""The stream of events ends without losing what is done meanwhile: in front of an app that does as Gradio does."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from generalist_serving.demo.stream_ends import StreamEnds

ENDS = b'data: {"msg":"close_stream"}\n\n'
TALKS_OF_IT = b'data: {"msg":"log","log":"\\"msg\\":\\"close_stream\\""}\n\n'


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Tells ``scope["tells"]`` and ends; reads what is posted and accepts it."""
    while scope["method"] == "POST" and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for piece in scope.get("tells", ()):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


class Caller:
    """Calls the middleware; what it is told, and when it hangs up."""

    def __init__(self, ends: StreamEnds) -> None:
        self._ends = ends
        self._gone = asyncio.Event()
        self.heard: list[Any] = []

    def hang_up(self) -> None:
        self._gone.set()

    def listen(self, session: str, *tells: bytes) -> asyncio.Task[None]:
        scope = {"path": "/gradio_api/queue/data", "query_string": f"session_hash={session}".encode(), "tells": tells}
        return self._call("GET", scope, [])

    def join(self, *body: bytes) -> asyncio.Task[None]:
        return self._call("POST", {"path": "/gradio_api/queue/join", "query_string": b""}, list(body))

    def _call(self, method: str, scope: Any, body: list[bytes]) -> asyncio.Task[None]:
        async def receive() -> Any:
            if body:
                return {"type": "http.request", "body": body.pop(0), "more_body": bool(body)}
            await self._gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.heard.append(message)

        return asyncio.ensure_future(self._ends({"type": "http", "method": method, **scope}, receive, send))


def joins(session: Any) -> bytes:
    return json.dumps({"session_hash": session, "data": ["x"]}).encode()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("pieces", [1, 3])
def test_who_joins_while_its_stream_ends_is_answered_when_it_has_hung_up(pieces: int) -> None:
    async def play() -> None:
        ends = StreamEnds(app)
        page, again = Caller(ends), Caller(ends)
        stream = page.listen("one", b"data: {}\n\n", ENDS)
        await settled()
        assert page.heard[-1]["body"] == ENDS  # and the stream is kept open
        step = -(-len(joins("one")) // pieces)
        joined = again.join(*(joins("one")[at : at + step] for at in range(0, len(joins("one")), step)))
        await settled()
        assert again.heard == [] and not joined.done()
        page.hang_up()
        await asyncio.gather(stream, joined)
        assert [message["type"] for message in again.heard] == ["http.response.start", "http.response.body"]
        later = Caller(ends)
        await later.join(joins("one"))
        assert len(later.heard) == 2

    asyncio.run(play())


@pytest.mark.parametrize("body", [joins("two"), joins(None), joins(["one"]), b"", b"{", b"[]", b"\xff", b'"one"'])
def test_others_are_answered_at_once(body: bytes) -> None:
    async def play() -> None:
        ends = StreamEnds(app)
        page, other = Caller(ends), Caller(ends)
        stream = page.listen("one", ENDS)
        await settled()
        await asyncio.wait_for(other.join(body), 5)
        assert len(other.heard) == 2 and not stream.done()
        page.hang_up()
        await stream

    asyncio.run(play())


def test_a_stream_that_only_talks_of_its_end_is_left_alone() -> None:
    async def play() -> None:
        ends = StreamEnds(app)
        page = Caller(ends)
        await asyncio.wait_for(page.listen("one", TALKS_OF_IT), 5)
        assert [message.get("body") for message in page.heard[1:]] == [TALKS_OF_IT, b""]

    asyncio.run(play())


def test_who_does_not_hang_up_is_not_waited_for_forever() -> None:
    async def play() -> None:
        ends = StreamEnds(app, within=0.01)
        page, again = Caller(ends), Caller(ends)
        stream = page.listen("one", ENDS)
        await settled()
        await asyncio.wait_for(asyncio.gather(stream, again.join(joins("one"))), 5)
        assert page.heard[-1] == {"type": "http.response.body", "body": b""} and len(again.heard) == 2

    asyncio.run(play())


def test_a_stream_that_breaks_lets_the_next_one_through() -> None:
    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "GET":
            await send({"type": "http.response.body", "body": ENDS, "more_body": True})
            raise RuntimeError("gone")
        await app(scope, receive, send)

    async def play() -> None:
        ends = StreamEnds(breaks)
        page, again = Caller(ends), Caller(ends)
        with pytest.raises(RuntimeError, match="gone"):
            await page.listen("one", ENDS)
        await asyncio.wait_for(again.join(joins("one")), 5)
        assert len(again.heard) == 2

    asyncio.run(play())
