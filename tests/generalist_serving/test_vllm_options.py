"""What stands behind -- of ``generalist serve --engine vllm``."""

from __future__ import annotations

from pathlib import Path

import pytest

from generalist import cli
from generalist.types import GeneralistError
from generalist_serving.api.settings import Settings
from generalist_serving.serve import ServeOptions
from generalist_serving.vllm_options import CLOSED, OURS, read_arguments

pytest.importorskip("vllm", reason="vLLM is not installed")


def read(*options: str, max_batch: int | None = None, settings: Settings | None = None):  # type: ignore[no-untyped-def]
    asked = ServeOptions(device="cpu", max_batch=max_batch, engine_options=options)
    return read_arguments(asked, settings or Settings())


def test_vllms_options_reach_it() -> None:
    arguments = read("--tensor-parallel-size", "2", "--dtype=bfloat16", "--max_model_len", "1k", max_batch=5)
    assert (arguments.tensor_parallel_size, arguments.dtype, arguments.max_model_len) == (2, "bfloat16", 1000)
    assert (arguments.max_num_seqs, arguments.served_model_name) == (5, ["nano"])


def test_defaults_are_safe(tmp_path: Path) -> None:
    arguments = read()
    assert arguments.limit_mm_per_prompt == {"image": 8}
    assert (arguments.allowed_origins, arguments.allowed_local_media_path, arguments.api_key) == ([], "", None)
    assert not arguments.trust_remote_code and not arguments.enable_lora
    assert arguments.structured_outputs_config.disable_any_whitespace
    adapting = read(settings=Settings(adapters_root=tmp_path))
    assert (adapting.enable_lora, adapting.enable_tower_connector_lora, adapting.max_loras) == (True, True, 8)


@pytest.mark.parametrize("options, says", [
    (["--no-such-thing", "1"], r"unrecognized arguments: --no-such-thing\); see 'generalist serve"),
    (["--tensor-parallel-size", "two"], "invalid int value: 'two'"),
    (["--dtype", "int3"], "invalid choice: 'int3'"),
    (["--model", "x"], "--model stands behind --; use --model in front of it"),
    (["x"], "use --model in front of it"),
    (["--served-model-nam", "x"], "--served-model-name stands behind --; use --model"),
    (["--host=0.0.0.0"], "use --host in front of it"),
    (["--port", "1"], "use --port in front of it"),
    (["--api-key", "x"], "use --api-key-file in front of it"),
    (["--max_num_seqs", "3"], "use --max-batch in front of it"),
    (["--max-num-queued-reqs", "3"], "use --max-queue in front of it"),
    (["--lora-modules", "a=b"], "use --adapters in front of it"),
    (["--middleware", "a.b"], "--middleware stands behind --, but is this server's own business"),
    (["--trust-remote-code"], "leave it out"),
    (["--allowed-local-media-path", "/"], "leave it out"),
    (["--logprobs-mode", "raw_logits"], "leave it out"),
    (["--structured-outputs-config.backend", "guidance"], "is 'guidance'; only 'xgrammar'"),
])  # fmt: skip
def test_what_is_not_vllms_to_decide(options: list[str], says: str) -> None:
    with pytest.raises(GeneralistError, match=says) as refused:
        read(*options)
    assert "\n" not in str(refused.value)


def test_closed_options_exist() -> None:
    arguments = vars(read())
    assert not [name for name in (*OURS, *CLOSED) if name not in arguments]


def test_a_key_of_vllms_own_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "secret")
    with pytest.raises(GeneralistError, match=r"VLLM_API_KEY is set; .* with --api-key-file") as refused:
        read()
    assert "secret" not in str(refused.value)


def test_the_program_tells_a_mistake_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["serve", "--engine", "vllm", "--device", "cpu", "--port", "0", "--", "--no-such-thing"]
    assert cli.execute(command) == 2
    shown = capsys.readouterr()
    assert "unrecognized arguments: --no-such-thing" in shown.err and shown.err.count("\n") == 1
