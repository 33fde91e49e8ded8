"""Every error in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``, without internals.

Routers take ``route_class=ApiRoute``, so their errors have that shape in any app; ``install_handlers`` does the
same for an app's own errors (404, 405). A stream that has begun sends ``error_json(error)`` as its last event.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from generalist.types import GeneralistError
from generalist_serving.api.settings import Settings
from generalist_serving.backend import Busy, UnknownAdapter
from generalist_serving.indexes import UnknownIndex

log = logging.getLogger("generalist_serving")

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_MAX_MESSAGE = 500


class ErrorInfo(BaseModel):
    """What went wrong."""

    message: str = Field(description="One line: what is wrong, and what to do.")
    type: str = Field(description="`invalid_request_error`, `authentication_error`, `server_error`, ...")
    param: str | None = Field(default=None, description="The field of the request that is wrong.")
    code: str | None = Field(default=None, description="A short name of the error that programs can compare.")


class ErrorResponse(BaseModel):
    """An error in OpenAI's shape."""

    error: ErrorInfo


def _declared(description: str, *headers: str) -> dict[str, Any]:
    shown = {name: {"description": "Seconds to wait.", "schema": {"type": "string"}} for name in headers}
    return {"model": ErrorResponse, "description": description} | ({"headers": shown} if shown else {})


ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    400: _declared("The request is wrong; `param` names the field."),
    401: _declared("The API key is missing or wrong."),
    404: _declared("No such model, adapter, vector store or route."),
    408: _declared("The body came too slowly."),
    413: _declared("The body is too large."),
    415: _declared("The body is not JSON."),
    429: _declared("Too many requests of this key.", "Retry-After"),
    # Named, so that FastAPI does not declare a shape of its own for 422.
    "4XX": _declared("Any other mistake in the request."),
    500: _declared("An error of the server's."),
    503: _declared("The server is busy or about to stop.", "Retry-After"),
}
"""For ``responses=`` of every route, so that the OpenAPI document declares what can come back."""


class ApiError(HTTPException):
    """An error with an HTTP status. ``retry_after`` in seconds; ``code`` and ``param`` as in OpenAI's errors."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        more = dict(headers or {}) | ({} if retry_after is None else {"retry-after": str(retry_after)})
        super().__init__(status, _line(message), more or None)
        self.param = param
        self.code = code


def to_api_error(error: BaseException) -> ApiError:
    """The error that clients see for any exception. Says nothing of what the server did not expect."""
    match error:
        case ApiError():
            return error
        case UnknownAdapter():
            return ApiError(404, str(error), param="model", code="model_not_found")
        case UnknownIndex():
            return ApiError(404, str(error), param="vector_store_id", code="vector_store_not_found")
        case GeneralistError():
            return ApiError(400, str(error))
        case Busy():
            return ApiError(503, str(error), code="server_busy", retry_after=error.seconds)
        case RequestValidationError():
            return _of_validation(error)
        case HTTPException():
            return ApiError(error.status_code, str(error.detail), headers=error.headers)
        case _:
            return ApiError(500, "the server failed on this request; try again, or ask its operator", code="internal")


def error_json(error: BaseException) -> dict[str, Any]:
    """The body of an error's response, and the last event of a stream that fails."""
    shown = to_api_error(error)
    kind = _TYPES.get(shown.status_code, "server_error" if shown.status_code >= 500 else "invalid_request_error")
    info = ErrorInfo(message=shown.detail, type=kind, param=shown.param, code=shown.code)
    return ErrorResponse(error=info).model_dump()


def error_response(error: BaseException) -> JSONResponse:
    """The response to any exception; what the server did not expect is logged with its traceback."""
    shown = to_api_error(error)
    if shown.status_code == 500:
        log.error("a request failed", exc_info=error)
    return JSONResponse(error_json(shown), shown.status_code, shown.headers)


class ApiRoute(APIRoute):
    """A route that reads JSON strictly and answers every exception in OpenAI's shape.

    Set ``json_settings`` with :func:`api_route` where the limits are not the default ones.
    """

    json_settings = Settings()

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                if self.body_field is not None:
                    _check_media_type(request)
                return await handler(_StrictRequest(request, self.json_settings.max_json_values))
            except Exception as error:
                return error_response(error)

        return handle


def api_route(settings: Settings) -> type[ApiRoute]:
    """The ``route_class`` of a router with these settings."""
    return type("ApiRoute", (ApiRoute,), {"json_settings": settings})


def install_handlers(app: FastAPI) -> None:
    """Give an app's own errors (no such route, a method that a route has not, ...) the same shape."""

    async def answer(_: Request, error: Exception) -> Response:
        return error_response(error)

    for kind in (HTTPException, RequestValidationError, GeneralistError, Busy, Exception):
        app.add_exception_handler(kind, answer)


class _StrictRequest(Request):
    """JSON by the standard: no NaN or Infinity, no half characters, bounded nesting and number of values."""

    def __init__(self, request: Request, max_values: int) -> None:
        super().__init__(request.scope, request.receive)
        self._max_values = max_values

    async def json(self) -> Any:
        body = await self.body()
        # No text has more values than these signs and one; an empty list takes 2 bytes here and 64 when parsed.
        if sum(body.count(sign) for sign in (b",", b"[", b"{")) > self._max_values:
            raise ApiError(400, f"the body holds more than {self._max_values} values; send less", code="invalid_json")
        try:
            return from_json(body, allow_inf_nan=False)
        except (ValueError, RecursionError) as error:
            raise ApiError(400, f"the body is not valid JSON: {error}", code="invalid_json") from error


def _check_media_type(request: Request) -> None:
    # A page of another site can post forms and text/plain to a server on this machine, but not JSON.
    kind = request.headers.get("content-type", "")
    base = kind.split(";")[0].strip().lower()
    if base != "application/json" and not (base.startswith("application/") and base.endswith("+json")):
        raise ApiError(
            415, f"content-type is {_shown(kind)}; send JSON with 'content-type: application/json'", code="not_json"
        )
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() not in ("", "identity"):
        raise ApiError(415, f"content-encoding is {_shown(encoding)}; send the body as it is", code="not_json")


def _of_validation(error: RequestValidationError) -> ApiError:
    """One line of the first few errors; ``param`` is the path of the one that lies deepest."""
    # Every member of a union complains; what lies deepest is about the member that was meant.
    errors = list(error.errors())
    chosen = [*sorted(errors, key=lambda e: -len(e["loc"]))[:1], *errors[:3]]
    paths = [_path(one, error.body) for one in chosen]
    told = dict.fromkeys(_told(one, path) for one, path in zip(chosen, paths, strict=True))
    message = "; ".join(list(told)[:3]) or "the request is not valid"
    return ApiError(400, message, param=paths[0] or None if paths else None, code="invalid_value")


def _told(error: Mapping[str, Any], path: str) -> str:
    value = error.get("input")
    shown = f" (it is {_shown(value)})" if isinstance(value, str | int | float) and error["type"] != "missing" else ""
    return f"{path or 'the body'}: {error['msg'].removeprefix('Value error, ')}{shown}"


def _path(error: Mapping[str, Any], body: object) -> str:
    """Where in the body an error lies: ``messages[0].content``. Pydantic's own names of union members drop out."""
    place, value = "", body
    loc = error["loc"][1:] if error["loc"][:1] == ("body",) else error["loc"]
    missing = len(loc) - 1 if error["type"] == "missing" else None
    for at, part in enumerate(loc):
        after = loc[at + 1] if at + 1 < len(loc) else None
        if isinstance(part, int) and isinstance(value, list) and part < len(value):
            place, value = f"{place}[{part}]", value[part]
        elif isinstance(value, dict) and value.get("type") == part and (after in value or missing == at + 1):
            continue  # the member's name is that of a field too
        elif isinstance(value, dict) and (part in value or missing == at):
            place, value = f"{place}.{part}", value.get(part)
        elif not isinstance(body, dict | list):  # a header or a query parameter
            place = f"{place}.{part}"
    return place.removeprefix(".")[:200]


def _shown(value: object) -> str:
    try:
        text = json.dumps(value)
    except (ValueError, TypeError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:40]}...{text[-10:]}"


def _line(message: str) -> str:
    """One printable line that any encoder takes."""
    flat = "".join(c if c.isprintable() else " " for c in message[: 4 * _MAX_MESSAGE])
    text = " ".join(flat.split())
    return text if len(text) <= _MAX_MESSAGE else f"{text[: _MAX_MESSAGE - 3]}..."
