"""A side adapter's own promises: its file, images embedded with it, a trunk that keeps nothing for gradients."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from generalist.engine.transformers_engine import TransformersEngine
from generalist.model import Checkpoint, GeneralistForConditionalGeneration
from generalist.prompt import build
from generalist.tokens import Vocabulary
from generalist.types import ChatRequest, GeneralistError, Message, Sampling
from generalist_adapters.attached import Attached, SpecFields
from generalist_adapters.methods import METHODS, MethodConfig
from generalist_adapters.side import apply, image_embeddings
from generalist_adapters.side_network import blocks_of_stages

from ..pictures import noise

CONFIG = MethodConfig(side_width=8)
Model = GeneralistForConditionalGeneration
MakeModel = Callable[[str], Model]
PICTURE = noise(40, 30)


def shaken(model: Model) -> Attached:
    """A side adapter that changes what the model says."""
    attached = METHODS["side"].attach(model, CONFIG, ["segment"], seed=0)
    state = attached.state_dict()
    generator = torch.Generator().manual_seed(0)
    attached.load_state_dict({n: t + 0.1 * torch.randn(t.shape, generator=generator) for n, t in state.items()})
    return attached


def fields(vocab: Vocabulary) -> SpecFields:
    return SpecFields(name="things", base="tiny", vocab_hash=vocab.hash)


@pytest.mark.parametrize("name", ["nano-like", "swin", "siglip", "dinov2+gpt2", "convnext"])
def test_saved_and_applied_it_says_the_same(
    name: str, make_model: MakeModel, make_batch: Callable[[Model], Any], vocab: Vocabulary, tmp_path: Path
) -> None:
    model = make_model(name)
    batch = make_batch(model)
    with torch.no_grad():
        before = model(**batch).logits
        attached = shaken(model)
        said = model(**batch).logits
        assert not torch.allclose(said, before, atol=1e-3)
        assert attached.save(tmp_path / "one", fields(vocab)) == [tmp_path / "one"]
        assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["adapter.json", "side.safetensors"]
        other = make_model(name)
        again = apply(other, tmp_path / "one")
        assert torch.equal(other(**batch).logits, said)
        again.detach()
        assert torch.equal(other(**batch).logits, before)


def test_the_engine_runs_it(make_checkpoint: Callable[[str], Checkpoint]) -> None:
    """As an image gives other features, so it does in the engine, until the adapter is taken out."""
    tiny = make_checkpoint("nano-like")
    prompt = build(ChatRequest(messages=(Message(role="user", text="Where?", images=(PICTURE,)),)), tiny.vocabulary)

    def said() -> tuple[tuple[int, ...], tuple[float, ...]]:
        engine = TransformersEngine(tiny.model, tiny.processor, tiny.vocabulary)
        (one,) = engine.generate([prompt], Sampling(max_new_tokens=8))
        return one.token_ids, one.logprobs

    base = said()
    attached = shaken(tiny.model)
    assert said()[1] != base[1]
    attached.detach()
    assert said() == base


def test_images_are_embedded_for_another_engine(make_checkpoint: Callable[[str], Checkpoint]) -> None:
    tiny = make_checkpoint("nano-like")
    plain = image_embeddings(tiny.model, tiny.processor, [PICTURE] * 2)
    assert plain.shape == (2, tiny.model.config.num_image_tokens, 32) and not plain.requires_grad
    attached = shaken(tiny.model)
    assert not torch.allclose(image_embeddings(tiny.model, tiny.processor, [PICTURE])[0], plain[0], atol=1e-3)
    attached.detach()
    assert torch.equal(image_embeddings(tiny.model, tiny.processor, [PICTURE] * 2), plain)


def test_nothing_flows_into_the_tower(make_model: MakeModel, make_batch: Callable[[Model], Any]) -> None:
    model = make_model("nano-like")
    shaken(model)
    seen: list[bool] = []
    for block in model.model.vision_tower.blocks:  # type: ignore[union-attr]
        block.register_forward_hook(lambda *args: seen.append(args[2].requires_grad))
    model(**make_batch(model)).logits.sum().backward()
    assert seen == [False] * 3


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6, 12, 24, 27])
def test_every_block_of_a_tower_is_read(depth: int) -> None:
    reads = blocks_of_stages(depth)
    assert len(reads) == 4 and all(len(one) >= 1 for one in reads)
    assert sorted({number for one in reads for number in one}) == list(range(depth))


def test_a_folder_of_something_else_is_refused(make_model: MakeModel, vocab: Vocabulary, tmp_path: Path) -> None:
    model = make_model("nano-like")
    attached = shaken(model)
    attached.save(tmp_path, fields(vocab))
    attached.detach()
    whole, spec = load_file(tmp_path / "side.safetensors"), json.loads((tmp_path / "adapter.json").read_text())

    def refused(says: str, tensors: dict[str, Any] = whole, **changes: Any) -> None:
        save_file(tensors, tmp_path / "side.safetensors")
        (tmp_path / "adapter.json").write_text(json.dumps(spec | changes))
        with pytest.raises(GeneralistError, match=says):
            apply(model, tmp_path)

    refused("method is 'lora'; use a folder of the method side", method="lora")
    refused("vocab_hash is 'other', the model's vocabulary is", vocab_hash="other")
    refused("side.safetensors: holds no side network", {})
    refused("side.safetensors: side_width is 4", {**whole, "side.stem.bias": torch.zeros(4)})
    refused("does not fit this adapter", {n: t for n, t in whole.items() if n != "side.join.bias"})
    refused("does not fit this adapter", {**whole, "side.join.bias": torch.zeros(3)})
    refused("holds no finite numbers", {**whole, "side.join.bias": torch.full((32,), torch.inf)})
    (tmp_path / "side.safetensors").write_bytes(b"{}")
    with pytest.raises(GeneralistError, match="not readable as safetensors"):
        apply(model, tmp_path)
    with pytest.raises(GeneralistError, match="method is none"):
        apply(model, tmp_path / "nowhere")
    assert not any(model.model.vision_tower._forward_pre_hooks)


def test_features_of_half_a_tower_are_no_input(make_model: MakeModel) -> None:
    model = make_model("nano-like")
    shaken(model)
    with pytest.raises(GeneralistError, match="the tower did not run as a whole"):
        model.model.projector(torch.zeros(1, 16, 32))


def test_it_is_no_update_of_weights(make_model: MakeModel) -> None:
    with pytest.raises(GeneralistError, match="no update of weights"):
        shaken(make_model("nano-like")).merge()
    with pytest.raises(GeneralistError, match="reads the vision tower: name vision"):
        METHODS["side"].attach(make_model("nano-like"), MethodConfig(targets=("language",)), ["box"], seed=0)


def test_it_trains_in_mixed_precision(make_model: MakeModel, make_batch: Callable[[Model], Any]) -> None:
    model = make_model("nano-like")
    attached = shaken(model)
    with torch.autocast("cpu", torch.bfloat16):
        model(**make_batch(model)).logits.sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in attached.parameters().values())
