"""xgrammar inside vLLM, repaired where it mixes up grammars, and JSON held to text.

xgrammar 0.2.8 keeps masks of rules to use them again, and takes rules for one another that differ in nothing but the
ids of their tokens: once "Token(1) Token(2)" was compiled, the masks of "Token(3) Token(4)" are those of 1 and 2.
``generalist.constrain`` compiles without that cache; this makes vLLM do the same for grammars given as text, and
keep whole ones instead.

The rules of a JSON schema are over characters, which in vLLM the name of a special token may stand for: a string
could hold a coordinate. Here it cannot, as it cannot in ``generalist.constrain``.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

_log = logging.getLogger(__name__)
_KEPT = 128


def repair_if_broken() -> bool:
    """Make vLLM's xgrammar backend compile grammars without xgrammar's cache if that is wrong; whether it did."""
    import xgrammar
    from vllm.v1.structured_output import backend_xgrammar

    if isinstance(backend_xgrammar.xgr, SimpleNamespace) or not is_broken(xgrammar.GrammarCompiler):
        return False
    # Other users of xgrammar in this process keep theirs.
    info, compiler = _with_specials(xgrammar.TokenizerInfo), _repaired(xgrammar)
    backend_xgrammar.xgr = SimpleNamespace(**{**vars(xgrammar), "TokenizerInfo": info, "GrammarCompiler": compiler})
    _log.info("repaired xgrammar's cache inside vLLM, which mixed up grammars that differ in token ids only")
    return True


def is_broken(compiler_class: Any) -> bool:
    """Whether a grammar gets the masks of one that was compiled before it."""
    import torch
    import xgrammar

    table = [f"t{number}" for number in range(8)]
    info = xgrammar.TokenizerInfo(table, vocab_type=xgrammar.VocabType.RAW, vocab_size=8, stop_token_ids=[7])
    compiler = compiler_class(info, max_threads=1)
    bits = torch.zeros(1, 1, dtype=torch.int32)
    for first in (1, 3):
        matcher = xgrammar.GrammarMatcher(compiler.compile_grammar(f"root ::= Token({first}) Token({first + 1})"))
        matcher.fill_next_token_bitmask(bits)
    return int(bits) != 1 << first


def _with_specials(info_class: Any) -> Any:
    class TokenizerInfo(info_class):
        """Knows which ids are special, which xgrammar does not ask."""

        @staticmethod
        def from_huggingface(tokenizer: Any, **options: Any) -> Any:
            info = info_class.from_huggingface(tokenizer, **options)
            added = getattr(tokenizer, "added_tokens_decoder", {})
            info.specials = frozenset(i for i, token in added.items() if token.special)
            return info

    return TokenizerInfo


def _repaired(xgrammar: Any) -> Any:
    compiler_class: Any = xgrammar.GrammarCompiler

    class Compiler(compiler_class):
        """Compiles grammars given as text apart from each other, JSON schemas over text alone, the rest as before."""

        def __init__(self, tokenizer_info: Any, **options: Any) -> None:
            super().__init__(tokenizer_info, **options)
            threads = options.get("max_threads", 8)
            plain = compiler_class(tokenizer_info, max_threads=threads, cache_enabled=False)
            self._compile = lru_cache(maxsize=_KEPT)(plain.compile_grammar)
            self._text = compiler_class(_text_alone(xgrammar, tokenizer_info), **options)

        def compile_grammar(self, grammar: Any, **options: Any) -> Any:
            return self._compile(grammar, **options)

        def compile_json_schema(
            self, schema: Any, *, any_whitespace: bool = True, separators: Any = None, **options: Any
        ) -> Any:
            # Without free spaces, those that ``generalist.constrain`` writes: the same JSON from every engine.
            return self._text.compile_json_schema(schema, any_whitespace=any_whitespace, **options)

    return Compiler


def _text_alone(xgrammar: Any, info: Any) -> Any:
    """``info`` without its special tokens, and without control signs, which a string with a length lets through."""
    specials: frozenset[int] = getattr(info, "specials", frozenset())
    table = [
        b"" if number in specials or any(byte < 0x20 for byte in data) else data
        for number, data in enumerate(info.decoded_vocab)
    ]
    return xgrammar.TokenizerInfo(
        table, vocab_type=xgrammar.VocabType.RAW, vocab_size=info.vocab_size, stop_token_ids=info.stop_token_ids
    )
