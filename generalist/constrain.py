"""The reply grammar as an xgrammar EBNF over token ids, so that a model writes only what parses.

Every reply that the grammar accepts parses without issues, and everything that ``reply.encode``
writes is accepted. The rules are over token ids, not characters: a special token whose name
happens to be text cannot slip in, and a mask costs a few set operations.

JSON of a schema is the other thing that a reply can be held to; it is text and draws nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from generalist.grammar import NAME, NUM, UNIT, payload_blocks
from generalist.tokens import (
    DOC_CLOSE,
    DOC_OPEN,
    MAX_REFS,
    PHRASE_CLOSE,
    PHRASE_OPEN,
    TASK_CLOSE,
    TASK_OPEN,
    UNIT_CLOSE,
    UNIT_OPEN,
    Vocabulary,
)
from generalist.types import KINDS, Constraint, GeneralistError, Kind

if TYPE_CHECKING:
    import xgrammar

_CACHE_BYTES = 64 * 1024 * 1024
"""What compiled grammars may take: schemas come from strangers, one a request."""

_WHERE = re.compile(r"^\[[\d:]+\] \S+:\d+: ")
"""The time and source line that xgrammar's messages begin with."""


def reply_constraint(vocab: Vocabulary, kinds: Sequence[Kind] = KINDS, plan: bool = True) -> Constraint:
    """The grammar of a reply that draws only ``kinds``; with none of them, of text and bare phrases.

    ``plan`` allows a plan, which may name only ``kinds`` too. Raises :class:`GeneralistError`
    for a kind that does not exist.
    """
    unknown = [k for k in kinds if k not in KINDS]
    if unknown:
        raise GeneralistError(f"there is no kind {unknown[0]!r}; use some of {', '.join(KINDS)}")
    chosen = [k for k in KINDS if k in kinds]
    rules = {
        "root": "plan? piece*" if plan and chosen else "piece*",
        "piece": "text | phrase",
        "text": _not(vocab.special_ids),
        "phrase": f"{_s(vocab, PHRASE_OPEN)} text+ {_s(vocab, PHRASE_CLOSE)}" + (" unit?" if chosen else ""),
    }
    if chosen:
        rules |= _unit_rules(vocab, chosen)
        rules |= _plan_rules(vocab, chosen) if plan else {}
    return Constraint(grammar="".join(f"{name} ::= {body}\n" for name, body in rules.items()))


def compile_constraint(constraint: Constraint, vocab: Vocabulary) -> xgrammar.CompiledGrammar:
    """The compiled grammar for masks of ``vocab.size`` tokens, with ``vocab.ends`` as stop tokens.

    Compiled once for a vocabulary and a grammar. Raises :class:`GeneralistError` when xgrammar
    cannot read it.
    """
    what, source = "grammar", constraint.grammar
    if constraint.json_schema:
        what, source = "JSON schema", constraint.json_schema
    try:
        return _compile(vocab, constraint.grammar, constraint.json_schema)
    except RuntimeError as error:
        line = _WHERE.sub("", str(error).strip().splitlines()[0])[:200]
        raise GeneralistError(f"the {what} {source[:40]!r}... is not valid ({line}); correct it") from error


@lru_cache(maxsize=128)
def _compile(vocab: Vocabulary, grammar: str, json_schema: str) -> xgrammar.CompiledGrammar:
    # Not of the whole constraint: with other identifiers, the grammar is the same.
    if json_schema:
        # Where spaces are free, a model can go on with them for ever.
        return _json_compiler(vocab).compile_json_schema(json_schema, any_whitespace=False)
    return _compiler(vocab).compile_grammar(grammar)


def check_json_schema(schema: str, vocab: Vocabulary) -> Constraint:
    """The constraint to JSON of ``schema``, compiled; :class:`GeneralistError` for one that nothing can follow."""
    import numpy as np
    import xgrammar

    constraint = Constraint(grammar="", json_schema=schema)
    matcher = xgrammar.GrammarMatcher(compile_constraint(constraint, vocab))
    allowed = xgrammar.allocate_token_bitmask(1, vocab.size)
    matcher.fill_next_token_bitmask(allowed)
    if not np.any(allowed.numpy()):
        raise GeneralistError(f"no JSON follows the schema {schema[:40]!r}...; correct it")
    return constraint


@lru_cache(maxsize=8)
def _compiler(vocab: Vocabulary) -> xgrammar.GrammarCompiler:
    # A token with an empty string is never allowed, so the special ones go by their names.
    return _compiler_of([vocab.text_bytes(i) or vocab.name(i).encode() for i in range(vocab.size)], vocab)


@lru_cache(maxsize=8)
def _json_compiler(vocab: Vocabulary) -> xgrammar.GrammarCompiler:
    # These rules are over characters, which the name of a special token must not stand for. No token of JSON on one
    # line has a control sign; without this, the rule of a string with a length lets them through.
    data = [vocab.text_bytes(i) or b"" for i in range(vocab.size)]
    return _compiler_of([b"" if any(byte < 0x20 for byte in one) else one for one in data], vocab)


def _compiler_of(table: list[bytes], vocab: Vocabulary) -> xgrammar.GrammarCompiler:
    import xgrammar  # imports torch, which whoever only parses should not pay for

    info = xgrammar.TokenizerInfo(
        table, vocab_type=xgrammar.VocabType.RAW, vocab_size=vocab.size, stop_token_ids=sorted(vocab.ends)
    )
    # xgrammar's own cache (0.2.8) takes rules for one another that differ in nothing but the ids of their tokens:
    # after "Token(1) Token(2)", the masks of "Token(3) Token(4)" are those of 1 and 2.
    return xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)


def _unit_rules(vocab: Vocabulary, kinds: Sequence[Kind]) -> dict[str, str]:
    opened, closed = f"{_one(vocab.open_paren)} {_s(vocab, UNIT_OPEN)}", _one(vocab.close_paren)
    rules = {"unit": f"{opened} ({' | '.join(f'{k}_unit' for k in kinds)}) {closed}", "loc": _any(vocab.loc)}
    if "mask" in kinds:
        rules["mask"] = _any(vocab.mask)
    if "depth" in kinds:
        rules["depth"] = _any(vocab.depth)
    names = {vocab.loc: "loc", vocab.mask: "mask", vocab.depth: "depth"}
    for kind in kinds:
        rules[f"{kind}_unit"] = f"{_text(vocab, kind)} {_s(vocab, UNIT_CLOSE)} {kind}_0"
        parts = [f"{names[block]}{{{count}}}" for block, count in payload_blocks(vocab, kind)]
        rules[f"{kind}_payload"] = " ".join(parts) or f"{_s(vocab, DOC_OPEN)} text+ {_s(vocab, DOC_CLOSE)}"
        for index, ref in enumerate(vocab.ref):
            rest = f" {kind}_{index + 1}?" if index + 1 < MAX_REFS else ""
            rules[f"{kind}_{index}"] = f"{_one(ref)} {kind}_payload{rest}"
    return rules


def _plan_rules(vocab: Vocabulary, kinds: Sequence[Kind]) -> dict[str, str]:
    breaks = [i for i in range(vocab.size) if b"\n" in (vocab.text_bytes(i) or b"")]
    line_break = _text(vocab, "\n")
    return {
        "plan": f"{_s(vocab, TASK_OPEN)} (line ({line_break} line)*)? {_s(vocab, TASK_CLOSE)}",
        "line": f"{_text(vocab, NAME)} name+ {_text(vocab, UNIT)} plan_kind {_text(vocab, NUM)} num",
        "name": _not({*vocab.special_ids, *breaks}),
        "plan_kind": " | ".join(_text(vocab, f" {kind}") for kind in kinds),
        "num": " | ".join(_text(vocab, f" {n}") for n in range(MAX_REFS + 1)),
    }


def _text(vocab: Vocabulary, text: str) -> str:
    """Exactly the tokens that ``text`` is written in."""
    return " ".join(_one(i) for i in vocab.encode_text(text))


def _s(vocab: Vocabulary, name: str) -> str:
    return _one(vocab.structure[name])


def _one(token_id: int) -> str:
    return f"Token({token_id})"


def _any(ids: Iterable[int]) -> str:
    return f"Token({', '.join(map(str, ids))})"


def _not(ids: Iterable[int]) -> str:
    return f"ExcludeToken({', '.join(map(str, sorted(ids)))})"
