"""One app on one socket, until it is told to stop: it finishes what it has accepted and ends with status 0."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from generalist_serving.addresses import in_url
from generalist_serving.api.connections import TimelyProtocol
from generalist_serving.api.drain import Drain
from generalist_serving.api.settings import Settings

_KEEP_ALIVE_S = 30
"""How long a connection may be idle. A client that asks again just as it is closed sees an error, so not too short."""
_CUT_OFF_S = 5
"""How long clients may take to read the rest of what was sent to them, when the server ends."""


def run_app(app: FastAPI, listener: socket.socket, drain: Drain, settings: Settings, what: str) -> None:
    """:func:`serve_app` in an event loop of its own."""
    asyncio.run(serve_app(app, listener, drain, settings, what))


async def serve_app(app: FastAPI, listener: socket.socket, drain: Drain, settings: Settings, what: str) -> None:
    """Answer on ``listener`` until told to stop; says on stdout ``what`` is served, and where."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("generalist_serving").setLevel(logging.INFO)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        app,
        http=TimelyProtocol,
        ws="none",
        log_config=None,
        access_log=False,  # we write our own
        server_header=False,
        timeout_graceful_shutdown=_CUT_OFF_S,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    ready = f"serving {what} on http://{in_url(host)}:{port}"
    server = _Server(config, drain, settings.drain_s, ready)
    await server.serve([listener])


class _Server(uvicorn.Server):
    """Says when it is ready; told to stop, finishes what it has accepted and ends with status 0."""

    def __init__(self, config: uvicorn.Config, drain: Drain, drain_s: float, ready: str) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_s = drain_s
        self._ready = ready
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._ready, flush=True)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(one, lambda *_: loop.call_soon_threadsafe(self.stop)) for one in signals]
        try:
            yield
        finally:
            for one, handler in zip(signals, before, strict=True):
                signal.signal(one, handler)

    def stop(self) -> None:
        """Begin to end; called again, end at once."""
        if self._draining is not None:
            self.should_exit = self.force_exit = True
            return
        self._drain.begin()
        self._draining = asyncio.create_task(self._finish())
        under_way = f"; {self._drain.active} requests are under way" if self._drain.active else ""
        print(f"stopping{under_way}", file=sys.stderr, flush=True)

    async def _finish(self) -> None:
        if not await self._drain.idle(self._drain_s):
            print(f"cutting off {self._drain.active} requests after {self._drain_s:g} s", file=sys.stderr, flush=True)
            self.config.timeout_graceful_shutdown = 0
        self.should_exit = True
