"""Requests made up from the OpenAPI document, right ones and wrong ones: no 5xx, nothing that is not declared."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import schemathesis
from PIL import Image
from schemathesis import Case, GenerationMode
from schemathesis.config import GenerationConfig
from schemathesis.specs.openapi import checks

from generalist.tokens import Vocabulary, VocabularySizes
from generalist_serving.api.app import create_app
from generalist_serving.api.settings import Settings
from generalist_serving.service import Service

from ...conftest import make_tokenizer
from ..scripted_backend import DOG, NOTHING, ScriptedBackend, scripted_line

EXAMPLES = 8
"""Of each operation, besides those that cover every constraint of the document."""

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
]

_PICTURE = io.BytesIO()
Image.new("RGB", (40, 30), (200, 30, 30)).save(_PICTURE, "PNG")
PICTURE = f"data:image/png;base64,{base64.b64encode(_PICTURE.getvalue()).decode()}"
DRAWN = (
    "<Phrase>cat</Phrase>(<Unit>mask</Unit>[0]" + "<loc_0010>" * 2 + "<loc_0040>" * 2 + "<mask_001>" * 16 + ") and "
    "<Phrase>depth</Phrase>(<Unit>depth</Unit>[0]<loc_0001><loc_0060>" + "<depth_003>" * 64 + ")"
)


BACKEND = ScriptedBackend([[]], piece=7)


def _api() -> Any:
    """The whole server over scripted replies. Made here, because the operations are the tests' parameters."""
    vocab = Vocabulary.extend(make_tokenizer(), VocabularySizes(locs=64, mask_codes=16, depth_codes=32))
    app = create_app(Service(scripted_line(vocab), BACKEND, model="nano"), Settings())
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    schema.config.generation = GenerationConfig(
        modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE], max_examples=EXAMPLES, deterministic=True
    )
    # 413 is an answer to wrong data as well.
    schema.config.checks.negative_data_rejection.expected_statuses = ["4xx"]
    return schema


schema = _api()


@pytest.fixture(autouse=True)
def _replies(ids: Callable[[str], list[int]]) -> None:
    """They draw one thing or another."""
    BACKEND.replies = [tuple(ids(written)) for written in (DOG, NOTHING, DRAWN)]


@schema.parametrize()
@hypothesis.settings(deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_every_operation_keeps_to_the_document(case: Case) -> None:
    """Made up names of models and images are replaced by real ones, or hardly a request would get past them."""
    if isinstance(case.body, dict):
        case.body = _real(case.body)
    case.call_and_validate(checks=CHECKS)


def _real(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _real(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_real(inner, name) for inner in value]
    if isinstance(value, str) and name == "model":
        return "nano"
    if isinstance(value, str) and name in ("image_url", "url"):
        return PICTURE
    return value
