"""Requests made up from the OpenAPI document, right ones and wrong ones: no 5xx, nothing that is not declared."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from PIL import Image
from schemathesis import Case, GenerationMode
from schemathesis.config import GenerationConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks

from generalist.documents import models
from generalist.tokens import Vocabulary, VocabularySizes
from generalist_serving.api.app import create_app
from generalist_serving.api.settings import Settings
from generalist_serving.index_root import find_indexes
from generalist_serving.indexes import Indexes
from generalist_serving.service import Service

from ...conftest import make_tokenizer
from ..scripted_backend import DOG, NOTHING, ScriptedBackend, scripted_line
from ..searched_indexes import Says, build

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
FOLDER = tempfile.TemporaryDirectory(prefix="indexes")  # removed when the tests are over


def _api() -> Any:
    """The whole server over scripted replies. Made here, because the operations are the tests' parameters."""
    vocab = Vocabulary.extend(make_tokenizer(), VocabularySizes(locs=64, mask_codes=16, depth_codes=32))
    indexes = Indexes(find_indexes(build(Path(FOLDER.name) / "root")))
    app = create_app(Service(scripted_line(vocab), BACKEND, model="nano", indexes=indexes), Settings())
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    schema.config.generation = GenerationConfig(
        modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE], max_examples=EXAMPLES, deterministic=True
    )
    # 413 is an answer to wrong data as well.
    schema.config.checks.negative_data_rejection.expected_statuses = ["4xx"]
    return schema


schema = _api()


@pytest.fixture(autouse=True)
def _replies(ids: Callable[[str], list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """They draw one thing or another, and name one document."""
    monkeypatch.setattr(models, "load_model", lambda base, *_: Says("sofa", base))
    BACKEND.replies = [tuple(ids(written)) for written in (DOG, NOTHING, DRAWN)]


@schema.parametrize()
@hypothesis.settings(deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
def test_every_operation_keeps_to_the_document(case: Case) -> None:
    """Made up names of models and images are replaced by real ones, or hardly a request would get past them."""
    if isinstance(case.body, dict):
        case.body = _real(case.body)
    if "vector_store_id" in (case.path_parameters or {}) and _is_right(case, ParameterLocation.PATH):
        case.path_parameters["vector_store_id"] = "notes"
    case.call_and_validate(checks=CHECKS)


def _is_right(case: Case, part: ParameterLocation) -> bool:
    """Whether a part of the request is as the document wants it."""
    component = case.meta and case.meta.components.get(part)
    return bool(component and component.mode == GenerationMode.POSITIVE)


def _real(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _real(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_real(inner, name) for inner in value]
    if isinstance(value, str) and name == "model":
        return "nano"
    if isinstance(value, str) and name in ("image_url", "url", "image"):
        return PICTURE
    return value
