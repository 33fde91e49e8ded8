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
