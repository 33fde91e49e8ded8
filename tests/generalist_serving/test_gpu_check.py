"""The script's judgement and its mistakes, with engines that say what they are told to; no vLLM is started."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from generalist.tokens import DOC_CLOSE, DOC_OPEN, Vocabulary
from generalist.types import Generation, Prompt, Sampling, Usage

PLACE = {"device": "a GPU", "vllm": "1.2"}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "serving" / "gpu_check.py"
    spec = spec_from_file_location("gpu_check", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "gpu_check", module)  # dataclasses look it up
        spec.loader.exec_module(module)
    return module


def reply(*ids: int, logprob: float = -0.5) -> Generation:
    usage = Usage(prompt_tokens=1, completion_tokens=len(ids))
    return Generation(token_ids=ids, logprobs=(logprob,) * len(ids), finish_reason="stop", usage=usage)


class Scripted:
    """An engine whose replies ``say`` makes of a prompt and of whether others are in its batch."""

    def __init__(self, say: Callable[[Prompt, bool], Generation]) -> None:
        self.say = say

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        mixed = len({prompt.adapter for prompt in prompts}) > 1
        return [self.say(prompt, mixed) for prompt in prompts]

    def call(self, function: Callable[[Any], Any]) -> Any:
        config = SimpleNamespace(use_v2_model_runner=True)
        caches = {f"reset_{name}_cache": lambda: None for name in ("mm", "encoder", "prefix")}
        return function(SimpleNamespace(vllm_config=config, **caches))


PROMPTS = [Prompt(token_ids=(number,)) for number in range(6)]


@pytest.mark.parametrize("ours, passed, identical", [
    (reply(1, 2), True, 1.0),
    (reply(1, 2, logprob=-0.5005), True, 1.0),
    (reply(1, 2, logprob=-0.6), False, 1.0),
    (reply(1, 3), False, 0.0),
    (reply(1), False, 0.0),
])  # fmt: skip
def test_parity_is_of_ids_and_of_log_probabilities(
    script: ModuleType, ours: Generation, passed: bool, identical: float
) -> None:
    vllm, plain = Scripted(lambda *_: ours), Scripted(lambda *_: reply(1, 2))
    check = script.check_parity(vllm, plain, PROMPTS, 1e-3)
    assert (check.passed, check.numbers["identical"], check.numbers["replies"]) == (passed, identical, 12)


@pytest.mark.parametrize("say, passed", [
    (lambda prompt, mixed: reply(5 if prompt.adapter else 4), True),
    (lambda prompt, mixed: reply(4), False),  # the adapters are not applied
    (lambda prompt, mixed: reply(5 if prompt.adapter and not mixed else 4), False),  # only in batches of their own
])  # fmt: skip
def test_mixed_requests_must_equal_those_alone(script: ModuleType, say: Any, passed: bool) -> None:
    check = script.check_lora(Scripted(say), PROMPTS, ["a", "b"], 1e-3)
    assert check.passed == passed and check.numbers["replies"] == 18


@pytest.mark.parametrize("bound, free, passed", [
    ("an oak", "foo", True),
    ("an oa", "foo", False),  # it does not exist
    ("Rome", "foo", False),  # in another collection alone
    ("an oak", "an oak", False),  # proves nothing
])  # fmt: skip
def test_identifiers_must_exist_in_the_collection_of_the_request(
    script: ModuleType, vocab: Vocabulary, tmp_path: Path, bound: str, free: str, passed: bool
) -> None:
    opened, closed = vocab.structure[DOC_OPEN], vocab.structure[DOC_CLOSE]
    places = {str(tmp_path / "trees"): bound, str(tmp_path / "places"): "New York", None: free}

    def say(prompt: Prompt, mixed: bool) -> Generation:
        assert prompt.constraint is not None
        return reply(opened, *vocab.encode_text(places[prompt.constraint.identifiers]), closed)

    check = script.check_identifiers(Scripted(say), PROMPTS, vocab, tmp_path)
    assert check.passed == passed and check.numbers["model runner"] == "V2"


@pytest.mark.parametrize("seconds, passed", [((2.0, 9.0, 4.0, 5.0, 6.0), True), ((5.0, 9.0, 4.0, 5.0, 6.0), False)])
def test_throughput_is_against_the_best_batch_size(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, ...], passed: bool
) -> None:
    clock = iter(seconds)
    monkeypatch.setattr(script, "timeit", lambda function, number: next(clock))
    engine = Scripted(lambda *_: reply(1))
    check = script.check_throughput(engine, lambda: engine, PROMPTS, PROMPTS)
    assert check.passed == passed and check.numbers["transformers in batches of 16"] == 6 / 4
    assert check.numbers["times faster"] == 4 / seconds[0]


def test_adapters_change_the_layers_that_are_named(script: ModuleType, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    model = torch.nn.ModuleDict({"tower": torch.nn.Linear(3, 2), "other": torch.nn.Linear(3, 2)})
    script.write_adapter(tmp_path / "a", torch.nn.ModuleDict({"vision": model}), ["tower"], 0.5, 0)
    found = load_file(tmp_path / "a" / "adapter_model.safetensors")
    name = "base_model.model.vision.tower"
    assert {key: tuple(one.shape) for key, one in found.items()} == {
        f"{name}.lora_A.weight": (8, 3),
        f"{name}.lora_B.weight": (2, 8),
    }
    assert all(one.abs().min() > 0 for one in found.values())
    assert json.loads((tmp_path / "a" / "adapter_config.json").read_text())["target_modules"] == ["tower"]


# --- the command -----------------------------------------------------------------------------------------


@pytest.fixture
def here(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[bool]], None]:
    """A machine where everything is there, and checks that end as they are told."""

    def checks(results: Sequence[bool]) -> None:
        def run(folder: Path, device: str) -> Iterator[Any]:
            for number, passed in enumerate(results):
                yield script.Check(name=f"check {number}", passed=passed, numbers={"share": 0.123456, "many": 7})

        monkeypatch.setattr(script, "check_machine", lambda device: None)
        monkeypatch.setattr(script, "machine", lambda device: PLACE)
        monkeypatch.setattr(script, "run_checks", run)

    return checks


@pytest.mark.parametrize("results, code", [((True, True), 0), ((True, False), 1)])
def test_the_report_and_the_exit_code(
    script: ModuleType, here: Any, capsys: pytest.CaptureFixture[str], results: tuple[bool, ...], code: int
) -> None:
    here(results)
    assert script.main([]) == code
    words = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert words[:2] == [["device", "a", "GPU"], ["vllm", "1.2"]]
    assert words[3] == ["check", "1", "pass" if code == 0 else "FAIL", "share", "0.123,", "many", "7"]
    assert script.main(["--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["machine"] == PLACE and found["passed"] == (code == 0)
    assert [check["passed"] for check in found["checks"]] == list(results)


def test_a_check_that_breaks_has_failed(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def breaks() -> Any:
        raise RuntimeError("vLLM failed\nbadly")

    check = script.attempt("parity", breaks)
    assert (check.name, check.passed, check.numbers) == ("parity", False, {"RuntimeError": "vLLM failed badly"})
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, said", [
    (["--device", "tpu"], "invalid choice: 'tpu'"),
    (["--fast"], "unrecognized arguments: --fast"),
    (["--model", "nona"], "unknown model 'nona'; use a shipped one"),
    ([], "device is 'cuda', and no such GPU is found; look at nvidia-smi, or use --device cpu"),
])  # fmt: skip
def test_a_mistake_is_one_line(
    script: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.setattr(script, "usable_engines", lambda: {"vllm": ""})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert script.main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and said in err


def test_without_vllm_it_says_what_to_install(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "usable_engines", lambda: {"vllm": "vLLM is not installed; install generalist[vllm]"})
    assert script.main(["--device", "cpu"]) == 2
    assert capsys.readouterr().err == "error: vLLM is not installed; install generalist[vllm]\n"
