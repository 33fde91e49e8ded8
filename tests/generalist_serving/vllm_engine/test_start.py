"""How vLLM is started, as far as that needs no vLLM."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from generalist.constrain import compile_constraint
from generalist.model.processing import fast_tokenizer
from generalist.tokens import Vocabulary
from generalist.types import Constraint, GeneralistError, Sampling
from generalist_serving.vllm_engine import VllmEngine, start
from generalist_serving.vllm_engine.reading import default_grammar
from generalist_serving.vllm_engine.requests import Request, generation

SETTINGS = start.Settings(
    folder=Path("here"),
    device="cpu",
    dtype="float32",
    max_context=100,
    max_images=3,
    max_batch=4,
    max_adapters=0,
    max_lora_rank=16,
)


def test_what_libraries_print_goes_to_stderr() -> None:
    # In a process of its own, whose stdout nothing stands in for.
    program = """
import os
from generalist_serving.vllm_engine import start
with start.standard_output_to_error():
    print("from Python")
    os.write(1, b"from C++\\n")
print("an answer")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "an answer\n"
    assert sorted(done.stderr.splitlines()[-2:]) == ["from C++", "from Python"]


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"VLLM_LOGGING_LEVEL": "DEBUG", "VLLM_CPU_KVCACHE_SPACE": "8"})
    start.prepare_environment(on_cpu=True)
    assert os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert os.environ["VLLM_CPU_KVCACHE_SPACE"] == "8"
    assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"


def test_arguments() -> None:
    plain = start.engine_arguments(SETTINGS)
    assert plain["enforce_eager"] and "enable_lora" not in plain
    assert start.engine_arguments(replace(SETTINGS, options={"enforce_eager": False}))["enforce_eager"] is False
    second = start.engine_arguments(replace(SETTINGS, device="cuda:1", max_adapters=2))
    assert second["device_ids"] == [1] and "enforce_eager" not in second
    assert second["enable_lora"] and second["max_loras"] == 2


@pytest.mark.parametrize("options, says", [
    ({"max_context": 1}, "max_context is 1; use 2 to 4096"),
    ({"max_context": 5000}, "max_context is 5000"),
    ({"max_batch": 0}, "max_batch is 0; use 1 or more"),
    ({"max_adapters": -1}, "max_adapters is -1"),
    ({"max_adapters": 0, "adapters": {"a": "b"}}, "max_adapters is 0 with 1 adapters"),
    ({"max_lora_rank": 513}, "max_lora_rank is 513; use 1 to 512"),
])  # fmt: skip
def test_options_are_checked_before_vllm_starts(options: dict[str, object], says: str) -> None:
    from generalist.pipeline import resolve_model

    with pytest.raises(GeneralistError, match=says):
        VllmEngine(resolve_model("nano"), **options)  # type: ignore[arg-type]


def test_rows_beyond_the_vocabulary_are_never_said(vocab: Vocabulary) -> None:
    xgrammar = pytest.importorskip("xgrammar")
    rows = vocab.size + 77  # of a model whose embedding was padded
    grammar = default_grammar(vocab.eos)
    compile_constraint(Constraint(grammar=grammar), vocab)
    info = xgrammar.TokenizerInfo.from_huggingface(fast_tokenizer(vocab), vocab_size=rows)
    matcher = xgrammar.GrammarMatcher(xgrammar.GrammarCompiler(info, cache_enabled=False).compile_grammar(grammar))
    bits = xgrammar.allocate_token_bitmask(1, rows)
    for token in (5, vocab.structure["<image>"], vocab.loc[0]):
        matcher.fill_next_token_bitmask(bits)
        allowed = [i for i in range(rows) if int(bits[0, i // 32]) >> (i % 32) & 1]
        assert allowed == list(range(vocab.size))
        assert matcher.accept_token(token)


def finished(ids: list[int], reason: str, logprob: float = -0.5) -> SimpleNamespace:
    each = list(range(len(ids)))
    logprobs = SimpleNamespace(logprobs=[logprob] * len(ids), start_indices=each)
    one = SimpleNamespace(token_ids=ids, finish_reason=reason, logprobs=logprobs)
    return SimpleNamespace(outputs=[one], finished=True)


def test_what_vllm_says_of_a_finished_request() -> None:
    eos, end_of_turn = 9, 8
    ends = {eos, end_of_turn}
    request = Request(
        token_ids=(1, 2),
        images=(),
        constraint=Constraint(grammar="", identifiers="names"),
        sampling=Sampling(),
        adapter=None,
        prompt_tokens=2,
        budget=3,
    )
    for output, ids, reason in (
        (finished([5, 6, eos], "stop"), (5, 6), "stop"),
        (finished([5, 6, 7], "length"), (5, 6, 7), "length"),
        (finished([5, eos], "error"), (5,), "stop"),  # ended by the identifiers, against the grammar
        (finished([eos], "stop"), (), "stop"),
        (finished([5, end_of_turn], "stop"), (5,), "stop"),
    ):
        answer = generation(request, output, ends)
        assert (answer.token_ids, answer.finish_reason) == (ids, reason)
        assert answer.logprobs == (-0.5,) * len(ids)
        assert answer.usage.completion_tokens == len(ids)
    with pytest.raises(RuntimeError, match=r"vLLM ended a request \(error\)"):
        generation(replace(request, constraint=None), finished([5, eos], "error"), ends)
    with pytest.raises(RuntimeError, match=r"vLLM ended a request \(abort\)"):
        generation(request, finished([5], "abort"), ends)
    with pytest.raises(RuntimeError, match="logits are not finite"):
        generation(request, finished([5], "length", float("nan")), ends)
