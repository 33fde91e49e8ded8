"""What is the same for both clients: where requests go, their bodies, and what is wrong with an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx

from generalist.types import GeneralistError
from generalist_serving.client.asking import Asked
from generalist_serving.client.errors import ClientError, answer_error, connection_error

EXAMPLE = "http://127.0.0.1:8000"

Outcome: TypeAlias = httpx.Response | httpx.RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where requests go, and what each of them has."""

    url: str
    headers: dict[str, str]
    timeout: httpx.Timeout

    @classmethod
    def of(cls, base_url: str, api_key: str | None, timeout: float) -> Server:
        url = base_url.rstrip("/").removesuffix("/v1")
        if not url.lower().startswith(("http://", "https://")):
            raise GeneralistError(f"base_url is {base_url[:80]!r}; use the server's address, such as {EXAMPLE!r}")
        if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
            raise GeneralistError("api_key is empty or has signs that no header can carry; use the server's key")
        headers = {"user-agent": "generalist-client"} | ({"authorization": f"Bearer {api_key}"} if api_key else {})
        return cls(url=url, headers=headers, timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)))


def body_of(asked: Asked, model: str, stream: bool) -> dict[str, Any]:
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return {"model": model, **asked.body, **more}


def good(outcome: Outcome) -> httpx.Response:
    if isinstance(outcome, httpx.RequestError):
        raise connection_error(outcome) from outcome
    if not outcome.is_success:
        raise answer_error(outcome)
    return outcome


def cut(error: httpx.RequestError) -> ClientError:
    if isinstance(error, httpx.TimeoutException):
        return connection_error(error)
    return ClientError(f"the connection broke within the answer ({error}); try again", code="stream")
