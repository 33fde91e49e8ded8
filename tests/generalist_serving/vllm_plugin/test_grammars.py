from types import SimpleNamespace

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed")


def test_vllm_keeps_grammars_apart() -> None:
    import xgrammar
    from vllm.v1.structured_output import backend_xgrammar

    from generalist_serving.vllm_plugin import grammars

    grammars.repair_if_broken()
    assert not grammars.repair_if_broken()
    assert not grammars.is_broken(backend_xgrammar.xgr.GrammarCompiler)
    assert backend_xgrammar.xgr.Grammar is xgrammar.Grammar


def test_no_special_token_stands_in_a_string_of_json() -> None:
    import xgrammar
    from transformers import AutoTokenizer
    from vllm.v1.structured_output import backend_xgrammar
    from vllm.v1.structured_output.backend_types import StructuredOutputOptions

    from generalist.pipeline import resolve_model
    from generalist.tokens import Vocabulary
    from generalist_serving.vllm_plugin import grammars

    grammars.repair_if_broken()
    folder = resolve_model("nano")
    vocab = Vocabulary.load(folder)
    form = SimpleNamespace(disable_any_whitespace=True)
    config = SimpleNamespace(structured_outputs_config=form, model_config=None, speculative_config=None)
    backend = backend_xgrammar.XgrammarBackend(config, AutoTokenizer.from_pretrained(folder), vocab.size)
    grammar = backend.compile_grammar(StructuredOutputOptions.JSON, '{"type": "string"}')
    (quote,) = vocab.encode_text('"')
    assert grammar.accept_tokens("one", [quote])
    bits = xgrammar.allocate_token_bitmask(1, vocab.size)
    grammar.fill_bitmask(bits, 0)
    allowed = [i for i in range(vocab.size) if int(bits[0, i // 32]) >> (i % 32) & 1]
    assert set(vocab.encode_text("oak")) < set(allowed)
    assert not vocab.special_ids & set(allowed)
