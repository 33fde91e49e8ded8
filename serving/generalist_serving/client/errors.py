"""The one exception of the client."""

from __future__ import annotations

from collections.abc import Mapping

import httpx


class ClientError(Exception):
    """The server refused or failed, or was not reached; what is wrong with an image here is a GeneralistError.

    ``status``: HTTP status, None when there was no answer. ``code``: the server's short name of the error, or
    ``connection``, ``timeout``, ``stream`` (it broke off) and ``answer`` (not what a server of ours sends).
    ``message``: one line. ``request_id`` finds the request in the server's log.
    """

    def __init__(
        self, message: str, *, status: int | None = None, code: str | None = None, request_id: str | None = None
    ) -> None:
        super().__init__(message if status is None else f"{message} (HTTP {status})")
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id


def connection_error(error: httpx.RequestError) -> ClientError:
    """The error of a request that got no answer."""
    url = f"{error.request.url.copy_with(path='/', query=None)}" if getattr(error, "_request", None) else "the server"
    if isinstance(error, httpx.TimeoutException):
        return ClientError(f"{url} did not answer in time; try again, or set a longer timeout", code="timeout")
    return ClientError(f"{url} cannot be reached ({error or type(error).__name__}); is it running?", code="connection")


def answer_error(response: httpx.Response) -> ClientError:
    """The error of a whole response whose status is not 200."""
    request_id = response.headers.get("x-request-id")
    try:
        return error_of(response.json(), status=response.status_code, request_id=request_id)
    except ValueError:
        text = " ".join(response.text.split())[:200] or response.reason_phrase
        return ClientError(text, status=response.status_code, request_id=request_id)


def error_of(body: object, *, status: int | None = None, request_id: str | None = None) -> ClientError:
    """The error of a body in OpenAI's shape; ValueError for any other."""
    info = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(info, Mapping) or not isinstance(info.get("message"), str):
        raise ValueError("no error in OpenAI's shape")
    code = info.get("code") or info.get("type")
    return ClientError(info["message"], status=status, code=code and str(code), request_id=request_id)
