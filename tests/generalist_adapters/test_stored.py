"""Adapters on disk: found, merged into a checkpoint, taken out for one task."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from generalist.adapter_spec import read_spec
from generalist.model import GeneralistForConditionalGeneration, GeneralistProcessor, load_checkpoint, save_checkpoint
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError
from generalist_adapters.attached import SpecFields
from generalist_adapters.methods import METHODS, Attached, MethodConfig
from generalist_adapters.stored import export, find, find_one, merge

Make = Callable[[str], GeneralistForConditionalGeneration]


@pytest.fixture
def base(make_model: Make, vocab: Vocabulary, tmp_path: Path) -> Path:
    """A checkpoint folder with one more file than the model needs."""
    model = make_model("nano-like")
    save_checkpoint(tmp_path / "base", model, GeneralistProcessor.for_model(model.config, vocab), vocab)
    (tmp_path / "base" / "names.txt").write_text("dog\n")
    return tmp_path / "base"


@pytest.fixture
def trained(base: Path, vocab: Vocabulary, tmp_path: Path) -> Callable[[str], Path]:
    """Writes an adapter of a method whose weights are not those that it began with."""

    def write(method: str) -> Path:
        attached = attach(base, method)
        folder = tmp_path / "adapters" / method
        attached.save(folder, SpecFields(name=method, base=str(base), vocab_hash=vocab.hash))
        return folder

    return write


def attach(base: Path, method: str) -> Attached:
    """An adapter in a model, as if it were trained; the same every time."""
    model = load_checkpoint(base).model
    config = MethodConfig(rank=2, shared_rank=2, task_rank=1)
    attached = METHODS[method].attach(model, config, ("detect", "count"), 0)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in attached.parameters().values():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.eval()
    return attached


def logits(model: GeneralistForConditionalGeneration) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(9)[None]).logits


def test_adapters_are_found_with_their_tasks(trained: Callable[[str], Path]) -> None:
    folder = trained("lora").parent
    trained("mtlora")
    (folder / ".hidden").mkdir()
    (folder / "other").mkdir()
    assert [one.folder.relative_to(folder).as_posix() for one in find(folder)] == [
        "lora",
        "mtlora/count",
        "mtlora/detect",
    ]
    assert find_one(folder / "mtlora", "count").folder == folder / "mtlora" / "count"
    with pytest.raises(GeneralistError, match="holds 2 adapters; name a task, or one of"):
        find_one(folder / "mtlora")
    with pytest.raises(GeneralistError, match="holds 0 adapters for the task 'depth'"):
        find_one(folder / "mtlora", "depth")
    with pytest.raises(GeneralistError, match="holds no adapter"):
        find_one(folder / "other")
    with pytest.raises(GeneralistError, match="no such folder"):
        find(folder / "gone")


@pytest.mark.parametrize("method", ["lora", "mtlora", "full"])
def test_a_merged_checkpoint_computes_what_the_adapter_does(
    trained: Callable[[str], Path], base: Path, tmp_path: Path, method: str
) -> None:
    out = merge(trained(method), "count", tmp_path / "merged")
    attached = attach(base, method)
    attached.set_task("count")
    expected, plain = logits(attached.model), logits(load_checkpoint(base).model)
    assert torch.allclose(logits(load_checkpoint(out).model), expected, atol=1e-4)
    assert (plain - expected).abs().max() > 0.1
    assert (out / "names.txt").read_text() == "dog\n"


def test_what_cannot_be_merged_or_exported(trained: Callable[[str], Path], tmp_path: Path) -> None:
    side = trained("side")
    with pytest.raises(GeneralistError, match="'side' cannot be merged into weights"):
        merge(side, None, tmp_path / "merged")
    with pytest.raises(GeneralistError, match="'side' gives no LoRA"):
        export(side, None, tmp_path / "exported")
    assert not (tmp_path / "merged").exists() and not (tmp_path / "exported").exists()
    lora = trained("lora")
    with pytest.raises(GeneralistError, match="is there already; name a new folder"):
        merge(lora, None, lora)
    (lora / "adapter.json").write_text(
        (lora / "adapter.json").read_text().replace('"vocab_hash": "', '"vocab_hash": "x')
    )
    with pytest.raises(GeneralistError, match="vocab_hash is"):
        merge(lora, None, tmp_path / "merged")


def test_an_exported_task_is_all_that_a_server_needs(trained: Callable[[str], Path], tmp_path: Path) -> None:
    folder = trained("mtlora")
    (folder / "metrics.json").write_text("{}")
    out = export(folder, "detect", tmp_path / "exported")
    assert {path.name for path in out.iterdir()} == {"adapter.json", "adapter_config.json", "adapter_model.safetensors"}
    spec = read_spec(out)
    assert spec is not None and spec.tasks == ("detect",) and spec.rank == 3


def test_a_plain_peft_folder_needs_to_be_told_its_base(
    trained: Callable[[str], Path], base: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(trained("lora"), plain)
    (plain / "adapter.json").unlink()
    with pytest.raises(GeneralistError, match="does not say which model it is for; name it with --model"):
        merge(plain, None, tmp_path / "merged")
    assert load_checkpoint(merge(plain, None, tmp_path / "merged", str(base))).model is not None
