from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from generalist.types import GeneralistError
from generalist_serving.api.errors import (
    ERROR_RESPONSES,
    ApiError,
    api_route,
    error_json,
    install_handlers,
    to_api_error,
)
from generalist_serving.api.settings import Settings
from generalist_serving.backend import Busy, UnknownAdapter


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class ImagePart(BaseModel):
    type: Literal["image_url"]
    image_url: dict[str, str]
    scale: float = Field(default=1, ge=0)


class Body(BaseModel):
    model: str
    content: str | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]


RAISED: dict[str, Exception] = {
    "busy": Busy(3),
    "adapter": UnknownAdapter("no adapter 'adapter'"),
    "mistake": GeneralistError("the prompt is empty"),
    "odd": GeneralistError("a\nb\x00 \ud800" + "x" * 2000),
    "api": ApiError(409, "it is there already", param="name", code="exists"),
    "http": HTTPException(418, "a teapot"),
    "bug": RuntimeError("the password is hunter2"),
    "overlong": RecursionError(),
}


def make_app(*, handlers: bool = False) -> FastAPI:
    routes = APIRouter(route_class=api_route(Settings(max_json_values=1000)), responses=ERROR_RESPONSES)

    @routes.post("/ask")
    async def ask(body: Body) -> str:
        if body.model in RAISED:
            raise RAISED[body.model]
        return body.model

    @routes.get("/count")
    async def count(n: Annotated[int, Field(ge=0)]) -> int:
        return n

    app = FastAPI()
    app.include_router(routes)
    if handlers:
        install_handlers(app)
    return app


@pytest.fixture
def client() -> TestClient:
    # Only the router is attached, as in an app that is not ours.
    return TestClient(make_app())


def ask(client: TestClient, **body: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post("/ask", json={"model": "m", "content": "?", **body})
    return answer.status_code, answer.json()["error"]


def send(client: TestClient, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    answer = client.post("/ask", content=body, headers={"content-type": "application/json"} | headers)
    return answer.status_code, answer.json()["error"]


@pytest.mark.parametrize(
    ("model", "status", "kind", "code"),
    [
        ("busy", 503, "server_error", "server_busy"),
        ("adapter", 404, "not_found_error", "model_not_found"),
        ("mistake", 400, "invalid_request_error", None),
        ("api", 409, "invalid_request_error", "exists"),
        ("http", 418, "invalid_request_error", None),
        ("bug", 500, "server_error", "internal"),
        ("overlong", 500, "server_error", "internal"),
    ],
)
def test_every_exception_comes_in_openais_shape(client, model: str, status: int, kind: str, code: str | None):
    got, error = ask(client, model=model)
    assert (got, error["type"], error["code"]) == (status, kind, code)
    assert set(error) == {"message", "type", "param", "code"}


def test_a_busy_server_says_when_to_come_back(client):
    answer = client.post("/ask", json={"model": "busy", "content": ""})
    assert answer.headers["retry-after"] == "3"


def test_an_unexpected_error_tells_the_log_and_not_the_client(client, caplog):
    _, error = ask(client, model="bug")
    assert "hunter2" not in str(error)
    assert "hunter2" in caplog.text


def test_a_message_is_one_line_that_can_be_encoded(client):
    _, error = ask(client, model="odd")
    assert error["message"].startswith("a b xxx")
    assert len(error["message"]) == 500


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": 5}, "model"),
        ({"content": 5}, "content"),
        ({"content": [{"type": "text", "text": 5}]}, "content[0].text"),
        ({"content": [{"type": "text"}]}, "content[0].text"),
        ({"content": [{"type": "image_url", "image_url": {"url": 5}}]}, "content[0].image_url.url"),
        ({"content": [{"type": "image_url", "image_url": {}, "scale": -1}]}, "content[0].scale"),
        ({"content": [{"type": "sound"}]}, "content[0]"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(client, body: dict[str, Any], param: str):
    status, error = ask(client, **body)
    assert (status, error["param"]) == (400, param)
    assert param in error["message"]


def test_a_missing_field_is_named(client):
    answer = client.post("/ask", json={"content": ""})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "model"


def test_a_wrong_query_parameter_is_named(client):
    answer = client.get("/count", params={"n": -1})
    assert answer.status_code == 400
    assert "n: " in answer.json()["error"]["message"]


def test_long_values_are_shortened_in_messages(client):
    _, error = ask(client, content={"x": "y" * 10_000}, model="z" * 100_000)
    assert len(error["message"]) <= 500


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"model": NaN}',
        b'{"model": -Infinity}',
        b'{"model": "\\ud800"}',
        b'{"model": "\xff"}',
        '{"model": "m", "content": "?"}'.encode("utf-16"),
        b'{"model": "m", "content": "?"} {}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 10_000,
    ],
)
def test_only_json_by_the_standard_is_read(client, body: bytes):
    status, error = send(client, body)
    assert status == 400, error


def test_many_small_values_are_not_even_parsed(client):
    status, error = send(client, b"[" + b"[]," * 2000 + b"[]]")
    assert (status, error["code"]) == (400, "invalid_json")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": ""},
        {"content-encoding": "gzip"},
    ],
)
def test_other_bodies_than_json_are_refused(client, headers: dict[str, str]):
    status, error = send(client, b'{"model": "m", "content": "?"}', **headers)
    assert (status, error["code"]) == (415, "not_json")


def test_json_with_a_charset_or_a_suffix_is_read(client):
    for kind in ("application/json; charset=utf-8", "application/vnd.api+json"):
        answer = client.post("/ask", content=b'{"model": "m", "content": "?"}', headers={"content-type": kind})
        assert answer.json() == "m"


def test_an_apps_own_errors_get_the_shape_as_well():
    client = TestClient(make_app(handlers=True))
    missing, wrong = client.get("/nowhere"), client.get("/ask")
    assert missing.status_code == 404
    assert missing.json()["error"]["type"] == "not_found_error"
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert wrong.json()["error"]["message"] == "Method Not Allowed"


def test_the_document_declares_errors_and_no_other_shape():
    responses = make_app().openapi()["paths"]["/ask"]["post"]["responses"]
    assert "422" not in responses
    for status in ("400", "401", "404", "413", "429", "500", "503"):
        schema = responses[status]["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ErrorResponse"}
    assert "Retry-After" in responses["503"]["headers"]


def test_an_error_can_be_the_last_event_of_a_stream():
    assert error_json(Busy(1))["error"]["code"] == "server_busy"
    assert to_api_error(KeyError("secret")).status_code == 500


@pytest.mark.parametrize(
    "fields", [{"max_body_bytes": 0}, {"body_timeout_s": -1}, {"max_images": float("nan")}, {"api_keys": ("",)}]
)
def test_settings_that_mean_nothing_are_refused(fields: dict[str, Any]):
    with pytest.raises(GeneralistError):
        Settings(**fields)


def test_settings_do_not_show_the_keys():
    assert "hunter2" not in repr(Settings(api_keys=("hunter2",)))
