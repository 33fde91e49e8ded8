"""JSON schemas from strangers: what is compiled is bounded, and what the compiler would get wrong is refused.

A short schema can ask for hours of work or for a reply that has no way on; and xgrammar passes over some keywords,
and lets some patterns write quotes that end their string. A reply in JSON of a schema that is let through here is
JSON, and follows it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from generalist.constrain import check_json_schema
from generalist.tokens import Vocabulary
from generalist.types import Constraint, GeneralistError

ANY_OBJECT = '{"type": "object"}'
"""The schema of OpenAI's ``json_object``."""

MAX_CHARACTERS = 16_000
MAX_DEPTH = 12
MAX_COUNT = 10_000
"""Of what a schema counts: characters, items, properties."""
MAX_COSTLY = 32
"""Parts with a length, a range, a pattern or a format: each may take a second to compile."""
MAX_PATTERN = 200
MAX_REPEATS = 1_000
"""Of a pattern: the product of all its ``{...}``."""
MAX_BOUND, MIN_BOUND = 1e12, 1e-4
"""Of the range of a number that is not whole, in size; 0 is a bound too."""

_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_RANGE = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_COSTLY = ("minLength", "maxLength", *_RANGE, "multipleOf", "pattern", "format")
_MAPS = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties")
_UNSUPPORTED = (
    *("not", "if", "then", "else", "contains", "minContains", "maxContains", "uniqueItems", "patternProperties"),
    *("propertyNames", "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedItems"),
    *("unevaluatedProperties", "$dynamicRef", "$recursiveRef", "$anchor"),
)
_UNSAFE_FORMATS = ("json-pointer", "relative-json-pointer", "uri-template", "uri-reference", "iri-reference")
"""Those whose rules let quotes through or take many seconds to compile."""

_LITERAL = r"A-Za-z0-9 _:,;/@#%&=!<>~'"
_ESCAPE = r"\\[dw.\-+*?()\[\]{}/|$^]"
_CLASS = rf"\[-?(?:[a-z]-[a-z]|[A-Z]-[A-Z]|[0-9]-[0-9]|[{_LITERAL}+*?.|$(){{}}]|{_ESCAPE})*-?\]"
_REPEAT = r"[+*?]|\{\d{1,4}(?:,\d{0,4})?\}"
_PATTERN = re.compile(rf"(?:[{_LITERAL}|^$)\-]|\((?!\?)|\(\?:|{_REPEAT}|{_ESCAPE}|{_CLASS})*")
"""What never matches a quote, a backslash or a control sign: no ``.``, no negated classes."""
_REPEATS = re.compile(r"\{(\d*),?(\d*)\}")

Schema = Mapping[str, Any]


def schema_text(schema: Schema) -> str:
    """A schema as text, checked; :class:`GeneralistError` says what is wrong with it."""
    text = json.dumps(schema, ensure_ascii=False)
    if len(text) > MAX_CHARACTERS:
        raise GeneralistError(f"the JSON schema has {len(text)} characters; use at most {MAX_CHARACTERS}")
    parts = list(_parts(schema))
    costly = sum(any(name in part for name in _COSTLY) for part in parts)
    if costly > MAX_COSTLY:
        raise GeneralistError(
            f"the JSON schema has {costly} parts with a length, range, pattern or format; use at most {MAX_COSTLY}"
        )
    for part in parts:
        _check_keywords(part)
    _check_references(schema, parts)
    return text


def json_constraint(schema: str, vocabulary: Vocabulary) -> Constraint:
    """The constraint of a schema that :func:`schema_text` has let through; see :func:`check_json_schema`."""
    return check_json_schema(schema, vocabulary)


def _parts(schema: Schema, depth: int = 0) -> Iterator[Schema]:
    """The schema and every schema in it."""
    if depth > MAX_DEPTH:
        raise GeneralistError(f"the JSON schema is nested deeper than {MAX_DEPTH} levels; make it flatter")
    yield schema
    inner = [one for name in _MAPS if isinstance(schema.get(name), Mapping) for one in schema[name].values()]
    inner += [one for name in _LISTS if isinstance(schema.get(name), list) for one in schema[name]]
    inner += [schema.get(name) for name in _SINGLE]
    for one in inner:
        if isinstance(one, Mapping):
            yield from _parts(one, depth + 1)


def _check_keywords(part: Schema) -> None:
    if unsupported := [name for name in _UNSUPPORTED if name in part and part[name] is not False]:
        raise GeneralistError(f"the JSON schema has {unsupported[0]!r}, which no reply can be held to; leave it out")
    for name in _COUNTS:
        count = part.get(name)
        if isinstance(count, int | float) and not 0 <= count <= MAX_COUNT:
            raise GeneralistError(f"the JSON schema has {name} {count}; use 0 to {MAX_COUNT}")
    if part.get("type") != "integer":
        for name in _RANGE:
            bound = part.get(name)
            if isinstance(bound, int | float) and bound != 0 and not MIN_BOUND <= abs(bound) <= MAX_BOUND:
                raise GeneralistError(
                    f"the JSON schema has {name} {bound}; use 0, or {MIN_BOUND:g} to {MAX_BOUND:g} in size"
                )
    for name in ("anyOf", "oneOf"):
        if part.get(name) == []:
            raise GeneralistError(f"the JSON schema has an empty {name}; list what is allowed")
    if isinstance(part.get("allOf"), list) and len(part["allOf"]) > 1:
        raise GeneralistError("the JSON schema has an allOf of several parts; write them as one")
    if part.get("format") in _UNSAFE_FORMATS:
        raise GeneralistError(
            f"the JSON schema has format {part['format']!r}, which no reply can be held to; leave it out"
        )
    if isinstance(part.get("pattern"), str):
        _check_pattern(part["pattern"])


def _check_pattern(pattern: str) -> None:
    repeats = 1
    for bounds in _REPEATS.findall(pattern):
        repeats *= max([int(bound[:9]) for bound in bounds if bound] or [1])
    if len(pattern) > MAX_PATTERN or repeats > MAX_REPEATS:
        raise GeneralistError(
            f"the JSON schema's pattern {pattern[:40]!r} is too large; use at most {MAX_PATTERN} characters that "
            f"repeat at most {MAX_REPEATS} times"
        )
    if not _PATTERN.fullmatch(pattern):
        raise GeneralistError(
            f"the JSON schema's pattern {pattern[:40]!r} may match a quote, a backslash or a control sign, or is not "
            r"plain; use ASCII literals, [classes], \d, \w, groups, | and repeats"
        )


# --- parts that refer to parts ----------------------------------------------------------------------


def _check_references(schema: Schema, parts: list[Schema]) -> None:
    """Refuse references to what is no part, and a schema that needs itself, such as ``{"$ref": "#"}``.

    The least fixed point over the parts: one is productive when a finite value follows it.
    """
    known = {id(part) for part in parts}
    for part in parts:
        if "$ref" in part and id(_target(schema, part["$ref"])) not in known:
            raise GeneralistError(
                f"the JSON schema refers to {str(part['$ref'])[:80]!r}; only its own parts ('#/$defs/...') can be used"
            )
    productive: set[int] = set()
    grown = True
    while grown:
        new = [id(part) for part in parts if id(part) not in productive and _follows(part, schema, productive)]
        productive.update(new)
        grown = bool(new)
    if len(known) > len(productive):
        raise GeneralistError("the JSON schema needs itself without end; let a part be optional or have another form")


def _follows(part: Schema, schema: Schema, productive: set[int]) -> bool:
    """Whether a finite value follows ``part``, given the parts that one is known of."""

    def known(inner: object) -> bool:
        return not isinstance(inner, Mapping) or id(inner) in productive

    def several(name: str) -> list[object]:
        value = part.get(name)
        return value if isinstance(value, list) else []

    if "$ref" in part:
        return known(_target(schema, part["$ref"]))
    if "enum" in part or "const" in part:
        return True
    choices = [known(one) for name in ("anyOf", "oneOf") for one in several(name)]
    if (choices and not any(choices)) or not all(known(one) for one in several("allOf")):
        return False
    if part.get("minItems", 0) != 0 and not known(part.get("items")):
        return False
    properties = part.get("properties")
    named = properties if isinstance(properties, Mapping) else {}
    needed = [known(named.get(name)) for name in several("required") if isinstance(name, str)]
    return all(needed) and all(known(one) for one in several("prefixItems"))


def _target(schema: Schema, reference: object) -> object:
    """What a JSON pointer means, None for nothing."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    value: object = schema
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
