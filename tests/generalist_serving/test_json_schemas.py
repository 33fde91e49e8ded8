"""Schemas from strangers: those that are let through, and those that are not."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import xgrammar
from pydantic import BaseModel

from generalist.constrain import compile_constraint
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError
from generalist_serving.json_schemas import ANY_OBJECT, json_constraint, schema_text


class Node(BaseModel):
    name: str
    next: Node | None = None
    others: list[Node] = []


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize("schema", [
    {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}, "required": ["n"]},
    {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1, "maxItems": 10_000},
    {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}], "$defs": {"x": {"type": "string", "pattern": "a{3,9}"}}},
    Node.model_json_schema(),
    nested(10),
])  # fmt: skip
def test_ordinary_schemas_pass_and_compile(vocab: Vocabulary, schema: dict[str, Any]) -> None:
    text = schema_text(schema)
    assert json.loads(text) == schema
    assert json_constraint(text, vocab).json_schema == text


def test_any_object_compiles(vocab: Vocabulary) -> None:
    assert json_constraint(ANY_OBJECT, vocab).grammar == ""


@pytest.mark.parametrize("schema, said", [
    ({"enum": ["x" * 20_000]}, "characters"),
    (nested(40), "deeper than 12"),
    ({"type": "string", "maxLength": 10**9}, "maxLength 1000000000"),
    ({"type": "array", "minItems": -1}, "minItems -1"),
    ({"type": "string", "pattern": "((a{1,90}){1,90}){1,90}"}, "too large"),
    ({"type": "string", "pattern": "a" * 300}, "too large"),
    ({"patternProperties": {"a": {}}}, "patternProperties"),
    ({"type": "array", "uniqueItems": True}, "uniqueItems"),
    ({"not": {"type": "string"}}, "'not'"),
    ({"allOf": [{"type": "string"}, {"minLength": 2}]}, "allOf"),
    ({"anyOf": []}, "empty anyOf"),
    ({"type": "string", "format": "json-pointer"}, "json-pointer"),
    ({"type": "number", "minimum": 1e-9}, "minimum 1e-09"),
    ({"properties": {f"k{i}": {"maxLength": i} for i in range(40)}}, "40 parts"),
    ({"$ref": "http://169.254.169.254/"}, "only its own parts"),
    ({"$ref": "#/examples/0", "examples": [{"maxLength": 10**9}]}, "only its own parts"),
    ({"$ref": 5}, "only its own parts"),
    ({"$ref": "#"}, "needs itself"),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}, "needs itself"),
    ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "needs itself"),
    ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, "needs itself"),
])  # fmt: skip
def test_schemas_that_ask_too_much_are_refused_at_once(schema: dict[str, Any], said: str) -> None:
    began = time.monotonic()
    with pytest.raises(GeneralistError, match=said):
        schema_text(schema)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("pattern", [
    r'"', r"\\", r"\n", "\n", ".", "[^a]", r"[^\s\S]", r"\S", r"\W", r"\u0022", r"\x22", "[ -~]",
    "é", r"\bword\b", "(?=a)", "(?!a)b", "[a-~]", r"[\w-~]", "(?P<n>a)",
])  # fmt: skip
def test_patterns_that_may_leave_their_string_are_refused(pattern: str) -> None:
    with pytest.raises(GeneralistError, match="may match a quote"):
        schema_text({"type": "string", "pattern": pattern})


@pytest.mark.parametrize("pattern, follows", [
    (r"^[A-Z]{2}-\d{4}$", "AB-1234"), (r"\w+", "a_1"), ("(?:yes|no)", "no"), (r"\(\d\)", "(1)"), (r"[.?*]+", "?."),
    ("[-a-f0-9]+", "a-0"), ("[x_-]y?", "-y"), ("a-b", "a-b"),
])  # fmt: skip
def test_plain_patterns_hold(vocab: Vocabulary, pattern: str, follows: str) -> None:
    compiled = compile_constraint(json_constraint(schema_text({"type": "string", "pattern": pattern}), vocab), vocab)
    matcher = xgrammar.GrammarMatcher(compiled)
    assert all(matcher.accept_token(i) for i in [*vocab.encode_text(f'"{follows}"'), vocab.eos])
    matcher.reset()
    assert not all(matcher.accept_token(i) for i in [*vocab.encode_text('"~ ~"'), vocab.eos])


@pytest.mark.parametrize("schema", [
    {"type": "nope"}, {"properties": 5}, {"enum": []}, {"type": "string", "pattern": "("}, {"minLength": 2,
    "maxLength": 1, "type": "string"},
])  # fmt: skip
def test_wrong_schemas_are_refused_in_one_line_without_the_compiler_s_files(
    vocab: Vocabulary, schema: dict[str, Any]
) -> None:
    with pytest.raises(GeneralistError) as caught:
        json_constraint(schema_text(schema), vocab)
    assert "\n" not in str(caught.value) and ".cc" not in str(caught.value)
