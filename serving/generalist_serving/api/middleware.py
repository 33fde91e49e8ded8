"""What stands between the network and the routes: a log line, limits on bodies, keys, limits on rates.

Pure ASGI: a response passes through piece by piece as it is made, and a client that leaves is seen by the route.
``install`` puts them in their order around any app, ours or another.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import math
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from generalist_serving.api.errors import ApiError, error_response
from generalist_serving.api.settings import Settings

access_log = logging.getLogger("generalist_serving.access")

PUBLIC_PATHS = frozenset({"/health"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_MAX_CALLERS = 10_000


def install(app: Starlette, settings: Settings) -> None:
    """Put all of these around an app: the log outermost, then hosts, keys, rates, and bodies."""
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(RateLimit, settings=settings)
    app.add_middleware(Auth, settings=settings)
    app.add_middleware(AccessLog)


class BodyLimit:
    """Refuses bodies that are too large (413) or come too slowly (408), counted as they come.

    A body that says so is refused before it is read. The errors rise from ``receive`` in whoever reads.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        try:
            self._check_length(scope)
            await self.app(scope, self._limited(receive), send)
        except _BodyError as error:  # an app that reads bodies outside of its routes
            await error_response(error)(scope, receive, send)

    def _check_length(self, scope: Scope) -> None:
        lengths = _headers(scope, b"content-length")
        if len(set(lengths)) > 1 or not all(length.isdigit() and len(length) < 20 for length in lengths):
            raise _BodyError(400, "content-length is not one number; send it once", code="invalid_header")
        if lengths and int(lengths[0]) > self.settings.max_body_bytes:
            raise self._too_large()

    def _limited(self, receive: Receive) -> Receive:
        size, ended, begun = 0, False, time.monotonic()

        async def limited() -> Message:
            nonlocal size, ended
            if ended:  # all that can still come is that the client has left
                return await receive()
            allowed = self.settings.body_timeout_s + size / self.settings.body_min_rate
            try:
                async with asyncio.timeout(begun + allowed - time.monotonic()):
                    message = await receive()
            except TimeoutError as error:
                ended = True
                told = f"the body did not come within {allowed:.0f} s; send it faster"
                raise _BodyError(408, told, code="request_timeout", headers={"connection": "close"}) from error
            size += len(message.get("body", b""))
            ended = not message.get("more_body", False)
            if size > self.settings.max_body_bytes:
                ended = True
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> ApiError:
        told = f"the body has more than {self.settings.max_body_bytes} bytes; send smaller images, or fewer at once"
        return _BodyError(413, told, code="request_too_large")


class _BodyError(ApiError):
    pass


class Auth:
    """Answers 401 to everything but ``PUBLIC_PATHS`` without one of the keys; without keys, lets all pass.

    A key comes as ``Authorization: Bearer KEY`` or as ``X-Moondream-Auth: KEY``. ``allowed_hosts`` keeps pages
    of other sites, whose name was made to mean this machine, from asking a server that has no key.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        self._hosts = frozenset(host.lower() for host in settings.allowed_hosts)
        self._keys = tuple(_digest(key.encode()) for key in settings.api_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in PUBLIC_PATHS:
            return await self.app(scope, receive, send)
        error = self._wrong_host(scope) or self._wrong_key(scope)
        if error is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await error_response(error)(scope, receive, send)

    def _wrong_host(self, scope: Scope) -> ApiError | None:
        hosts = [re.sub(rb":\d*$", b"", host).decode("latin-1").lower() for host in _headers(scope, b"host")]
        if not self._hosts or (len(hosts) == 1 and hosts[0] in self._hosts):
            return None
        return ApiError(403, "the Host header names another server; ask by this server's own name", code="host")

    def _wrong_key(self, scope: Scope) -> ApiError | None:
        if not self._keys:
            return None
        given = _keys_of(scope)
        # Every key is compared to its end, so the time tells nothing of them.
        matches = [hmac.compare_digest(_digest(key), right) for key in given[:2] for right in self._keys]
        if len(given) == 1 and any(matches):
            scope.setdefault("state", {})["caller"] = _digest(given[0]).hex()[:12]
            return None
        told = "the API key is wrong" if given else "no API key was sent"
        return ApiError(
            401,
            f"{told}; send it as 'Authorization: Bearer KEY'",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )


class RateLimit:
    """At most ``requests_per_minute`` of one key, or of one address where there are no keys; 429 above.

    The generic cell rate algorithm (ITU-T I.371): one time for each caller, no windows, so a caller that
    was silent may send a minute's requests at once, and no more than that.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self._each = 60 / settings.requests_per_minute if settings.requests_per_minute else 0.0
        self._clock = clock
        self._free_at: OrderedDict[str, float] = OrderedDict()  # when a caller will have used up nothing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._each or scope["type"] != "http" or scope["path"] in PUBLIC_PATHS:
            return await self.app(scope, receive, send)
        wait = self._take(scope.get("state", {}).get("caller") or (scope.get("client") or ["unknown"])[0])
        if wait <= 0:
            return await self.app(scope, receive, send)
        seconds = math.ceil(wait)
        error = ApiError(
            429, f"too many requests; try again in {seconds} s", code="rate_limit_exceeded", retry_after=seconds
        )
        await error_response(error)(scope, receive, send)

    def _take(self, caller: str) -> float:
        """Seconds that a caller must wait; 0 when it may go on, and then that is counted."""
        now = self._clock()
        after = max(self._free_at.pop(caller, now), now) + self._each
        wait = after - now - 60
        self._free_at[caller] = after if wait <= 1e-9 else after - self._each
        while len(self._free_at) > _MAX_CALLERS:
            self._free_at.popitem(last=False)
        return wait if wait > 1e-9 else 0.0


class AccessLog:
    """Gives every request an id (``X-Request-ID``, the caller's own if it is a plain one) and logs one line of JSON.

    The line holds no header, query or body: neither keys nor what was asked, only how much and how it ended.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        given = _headers(scope, b"x-request-id")
        plain = given and _REQUEST_ID.fullmatch(given[0])
        name = given[0].decode("ascii") if plain else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = name
        record: dict[str, Any] = {"id": name, "status": None, "received": 0, "sent": 0, "end": "cut"}
        begun = time.monotonic()
        try:
            await self.app(scope, _counting(receive, record), _noting(send, record, begun))
        except Exception:
            record["end"] = "failed"
            raise
        finally:
            _write(scope, record, begun)


def _counting(receive: Receive, record: dict[str, Any]) -> Receive:
    async def counted() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            record["received"] += len(message.get("body", b""))
        elif record["end"] == "cut":
            record["left"] = True
        return message

    return counted


def _noting(send: Send, record: dict[str, Any], begun: float) -> Send:
    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            record.update(status=message["status"], first_ms=_ms(begun))
            own = [(key, value) for key, value in message.get("headers", []) if key.lower() != b"x-request-id"]
            message = {**message, "headers": [*own, (b"x-request-id", record["id"].encode())]}
        elif message["type"] == "http.response.body":
            record["sent"] += len(message.get("body", b""))
            record["end"] = record["end"] if message.get("more_body", False) else "whole"
        await send(message)

    return noted


def _write(scope: Scope, record: dict[str, Any], begun: float) -> None:
    left = record.pop("left", False)
    record["end"] = "client left" if left and record["end"] == "cut" else record["end"]
    asked = {"method": scope["method"][:16], "path": scope["path"][:200], "client": (scope.get("client") or [""])[0]}
    line = asked | record | {"ms": _ms(begun), "caller": scope["state"].get("caller")}
    access_log.info(json.dumps(line))


def _ms(begun: float) -> float:
    return round((time.monotonic() - begun) * 1000, 1)


def _headers(scope: Scope, name: bytes) -> list[bytes]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value for key, value in headers if key.lower() == name]


def _keys_of(scope: Scope) -> list[bytes]:
    bearers = [value.partition(b" ") for value in _headers(scope, b"authorization")]
    keys = [key.strip() for scheme, _, key in bearers if scheme.lower() == b"bearer"]
    return list(dict.fromkeys([*keys, *(key.strip() for key in _headers(scope, b"x-moondream-auth"))]))


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
