"""Ending without losing anything: what was accepted is answered, what comes later is sent away."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from generalist_serving.api.errors import ApiError, error_response

_ALWAYS = frozenset({"/health", "/ready", "/metrics"})
"""What is answered until the very end, and waited for by nobody."""


class Drain:
    """Whether the server was told to stop, and how many requests are under way."""

    def __init__(self) -> None:
        self.stopping = False
        self.active = 0
        self._changed = asyncio.Event()

    def begin(self) -> None:
        """Send away every request from now on."""
        self.stopping = True

    async def idle(self, timeout_s: float) -> bool:
        """Wait until nothing is under way; False when that takes longer than ``timeout_s``."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.active:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def enter(self) -> None:
        self.active += 1

    def leave(self) -> None:
        self.active -= 1
        self._changed.set()


class DrainGate:
    """Middleware: counts what is under way; once the server was told to stop, answers 503 to all else."""

    def __init__(self, app: ASGIApp, *, drain: Drain) -> None:
        self.app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            return await self.app(scope, receive, send)
        if self._drain.stopping:
            error = ApiError(
                503,
                "the server is about to stop; send this to another one, or try again soon",
                code="server_stopping",
                retry_after=5,
                headers={"connection": "close"},
            )
            return await error_response(error)(scope, receive, send)
        self._drain.enter()
        try:
            await self.app(scope, receive, send)
        finally:
            self._drain.leave()
