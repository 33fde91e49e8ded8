from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from generalist.model import Checkpoint, load_checkpoint, save_checkpoint
from generalist.tokens import Vocabulary, VocabularySizes
from generalist.types import GeneralistError


def states(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    return dict(checkpoint.model.state_dict())


def greedy(checkpoint: Checkpoint) -> list[int]:
    config = checkpoint.model.config
    ids = torch.tensor([[1, *[config.image_token_id] * config.num_image_tokens, 7, 8]])
    pixels = torch.randn(1, 3, *config.image_hw, generator=torch.Generator().manual_seed(0))
    out = checkpoint.model.generate(input_ids=ids, pixel_values=pixels, max_new_tokens=6, min_new_tokens=6)
    return out[0, -6:].tolist()


def test_saved_and_loaded_it_is_the_same(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    first = tiny_checkpoint
    save_checkpoint(tmp_path / "new" / "folder", first.model, first.processor, first.vocabulary)
    again = load_checkpoint(str(tmp_path / "new" / "folder"))
    assert again.folder == tmp_path / "new" / "folder"
    assert states(again).keys() == states(first).keys()
    assert all(torch.equal(states(again)[name], tensor) for name, tensor in states(first).items())
    assert (again.vocabulary.hash, again.model.training) == (first.vocabulary.hash, False)
    assert again.model.generation_config.eos_token_id == first.vocabulary.eos
    assert greedy(again) == greedy(first)


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wanted", [torch.float32, torch.bfloat16])
def test_any_dtype_is_stored_and_loaded(
    tiny_checkpoint: Checkpoint, tmp_path: Path, stored: torch.dtype, wanted: torch.dtype
) -> None:
    first = tiny_checkpoint
    save_checkpoint(tmp_path, first.model, first.processor, first.vocabulary, dtype=stored)
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {stored}
    assert first.model.dtype == torch.float32  # the one saved is left as it was
    loaded = load_checkpoint(tmp_path, dtype=wanted)
    for name, tensor in states(first).items():
        assert torch.equal(states(loaded)[name], tensor.to(stored).to(wanted)), name
    # rounding these would move every position
    frequencies = loaded.model.model.language_model.rotary_emb.inv_freq
    assert torch.equal(frequencies, first.model.model.language_model.rotary_emb.inv_freq)


def test_tied_weights_are_stored_once(vocab: Vocabulary, tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    config = type(tiny_checkpoint.model.config).from_dict(tiny_checkpoint.model.config.to_dict())
    config.text_config.tie_word_embeddings = config.tie_word_embeddings = True
    model = type(tiny_checkpoint.model)(config)
    save_checkpoint(tmp_path, model, tiny_checkpoint.processor, vocab)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    loaded = load_checkpoint(tmp_path).model
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)


# --- damage ---


def weights(edit: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors")

    return damage


def fields(file: str, **changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        content.update(changes)
        (folder / file).write_text(json.dumps(content))

    return damage


def cut(file: str, keep: int) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes()[:keep]) and None


def gone(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


DAMAGE = {
    "a missing weight": (
        weights(lambda t: t.pop("lm_head.weight")),
        r"model.safetensors: weights do not fit config.json: 1 missing \(lm_head.weight\)",
    ),
    "many missing weights": (
        weights(lambda t: [t.pop(n) for n in list(t) if "language_model" in n]),
        r"\d+ missing \(model\.language_model\.\S+, model\.\S+, model\.\S+, \.\.\.\)",
    ),
    "an extra weight": (weights(lambda t: t.update(extra=torch.ones(1))), r"1 unexpected \(extra\)"),
    "a weight of another shape": (
        weights(lambda t: t.update({"model.projector.fc1.bias": torch.ones(3)})),
        r"1 of another shape \(model\.projector\.fc1\.bias \(3,\) instead of \(32,\)\)",
    ),
    "a truncated weights file": (cut("model.safetensors", 1000), "model.safetensors: not readable as safetensors"),
    "an empty weights file": (cut("model.safetensors", 0), "model.safetensors: not readable as safetensors"),
    "no weights file": (gone("model.safetensors"), "model.safetensors: no such file"),
    "no config": (gone("config.json"), "config.json: no such file"),
    "a truncated config": (cut("config.json", 50), "config.json: not readable as JSON"),
    "another model's config": (fields("config.json", model_type="llama"), "config.json: model_type is 'llama'"),
    "a config of wrong types": (fields("config.json", text_config=7), "config.json: not usable"),
    "a config that does not fit": (fields("config.json", projector_merge=7), "config.json: projector_merge is 7"),
    "a text model nobody knows": (
        fields("config.json", text_config={"model_type": "no_such"}),
        "config.json: text_config has model_type 'no_such'",
    ),
    "a text field of a wrong type": (
        fields("config.json", text_config={"model_type": "llama", "hidden_size": "wide"}),
        "config.json: not usable",
    ),
    "another vocabulary": (fields("config.json", vocab_hash="0123"), "made with vocabulary 0123, its vocabulary.json"),
    "an altered vocabulary": (fields("vocabulary.json", locs=32), "vocabulary hash is"),
    "no vocabulary": (gone("vocabulary.json"), "cannot read the vocabulary"),
    "no tokenizer": (gone("tokenizer.json"), "cannot read the vocabulary"),
    "no processor": (gone("processor_config.json"), "processor_config.json: no such file"),
    "a processor without its images": (
        lambda folder: (folder / "processor_config.json").write_text("{}") and None,
        "processor_config.json: has no 'image_processor'",
    ),
    "a processor of another size": (
        fields("processor_config.json", num_image_tokens=9),
        "32 x 32 images of 9 tokens, the model takes 32 x 32 of 4",
    ),
    "a list for a processor": (
        lambda folder: (folder / "processor_config.json").write_text("[]") and None,
        "processor_config.json: holds a JSON list",
    ),
}


@pytest.mark.parametrize("defect", list(DAMAGE))
def test_a_damaged_checkpoint_is_named_in_one_line(tiny_checkpoint: Checkpoint, tmp_path: Path, defect: str) -> None:
    damage, message = DAMAGE[defect]
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint.folder, folder)
    damage(folder)
    with pytest.raises(GeneralistError, match=message) as caught:
        load_checkpoint(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match="nowhere: no such checkpoint folder"):
        load_checkpoint(tmp_path / "nowhere")


def test_pickled_weights_are_never_read(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint.folder, folder)
    torch.save(states(tiny_checkpoint), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(GeneralistError, match="only safetensors is read"):
        load_checkpoint(folder)


def test_an_unusable_device_is_named(tiny_checkpoint: Checkpoint) -> None:
    with pytest.raises(GeneralistError, match="device is 'cuda:99', which cannot be used here"):
        load_checkpoint(tiny_checkpoint.folder, device="cuda:99")


def test_saving_parts_that_do_not_belong_together_is_refused(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    other = Vocabulary(tiny_checkpoint.vocabulary.tokenizer, VocabularySizes(locs=32, mask_codes=16, depth_codes=32))
    with pytest.raises(GeneralistError, match="made with vocabulary"):
        save_checkpoint(tmp_path / "new", tiny_checkpoint.model, tiny_checkpoint.processor, other)
    assert not (tmp_path / "new").exists()


def test_importing_the_package_is_free() -> None:
    code = "import sys, generalist.model; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
