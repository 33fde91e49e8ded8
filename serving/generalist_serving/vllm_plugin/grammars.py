"""xgrammar inside vLLM, repaired where it mixes up grammars.

xgrammar 0.2.8 keeps masks of rules to use them again, and takes rules for one another that differ in nothing but the
ids of their tokens: once "Token(1) Token(2)" was compiled, the masks of "Token(3) Token(4)" are those of 1 and 2.
``generalist.constrain`` compiles without that cache; this makes vLLM do the same for grammars given as text, and
keep whole ones instead.
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
    names = {**vars(xgrammar), "GrammarCompiler": _without_cache(xgrammar.GrammarCompiler)}
    backend_xgrammar.xgr = SimpleNamespace(**names)
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


def _without_cache(compiler_class: Any) -> Any:
    class Compiler(compiler_class):
        """Compiles grammars given as text apart from each other, and everything else as before."""

        def __init__(self, tokenizer_info: Any, **options: Any) -> None:
            super().__init__(tokenizer_info, **options)
            threads = options.get("max_threads", 8)
            plain = compiler_class(tokenizer_info, max_threads=threads, cache_enabled=False)
            self._compile = lru_cache(maxsize=_KEPT)(plain.compile_grammar)

        def compile_grammar(self, grammar: Any, **options: Any) -> Any:
            return self._compile(grammar, **options)

    return Compiler
