"""Options that make no sense, targets that cannot be adapted, and where updates go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from generalist.adapter_folder import read_config, read_weights
from generalist.model import GeneralistForConditionalGeneration
from generalist.types import GeneralistError
from generalist_adapters.attached import SpecFields
from generalist_adapters.layers import stages
from generalist_adapters.methods import METHODS, MethodConfig
from generalist_adapters.mtlora import placement

FIELDS = SpecFields(name="things", base="tiny", vocab_hash="0123")
Model = GeneralistForConditionalGeneration
MakeModel = Callable[[str], Model]


@pytest.mark.parametrize("options, says", [
    ({"rank": 0}, "rank is 0; use a whole number from 1 to 512"),
    ({"rank": -3}, "rank is -3"),
    ({"rank": 513}, "rank is 513"),
    ({"rank": 4.0}, r"rank is 4\.0"),
    ({"rank": True}, "rank is True"),
    ({"shared_rank": 0}, "shared_rank is 0"),
    ({"shared_rank": 500, "task_rank": 13}, "shared_rank and task_rank are 513 together; use 512 at most"),
    ({"task_rank": "4"}, "task_rank is '4'"),
    ({"scale": 0}, "scale is 0; use a number above 0"),
    ({"scale": -1.0}, r"scale is -1\.0"),
    ({"scale": float("nan")}, "scale is nan"),
    ({"scale": float("inf")}, "scale is inf"),
    ({"scale": "2"}, "scale is '2'"),
    ({"dropout": 1.0}, r"dropout is 1\.0; use 0 or more, below 1"),
    ({"dropout": -0.1}, r"dropout is -0\.1"),
    ({"dropout": float("nan")}, "dropout is nan"),
    ({"targets": ()}, r"targets is \(\); use one or more of vision, projector, language"),
    ({"targets": "vision"}, "targets is 'vision'; use one or more"),
    ({"targets": ("vision", "vision")}, "each once"),
    ({"targets": ("eyes",)}, "targets holds 'eyes'; use vision, projector, language"),
    ({"side_width": 0}, "side_width is 0"),
    ({"side_width": 12}, "side_width is 12; use a multiple of 8"),
])  # fmt: skip
def test_an_option_that_makes_no_sense_is_named(options: dict[str, Any], says: str) -> None:
    with pytest.raises(GeneralistError, match=says):
        MethodConfig(**options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tasks, says", [
    ([], "tasks are \\[\\]; name at least one of chat, detect"),
    ("detect", "tasks are 'detect'; name at least one"),
    (["detect", "detect"], "each once"),
    (["fly"], "there is no task 'fly'; use one of"),
    (["../up"], "there is no task"),
])  # fmt: skip
def test_tasks_that_are_none(method: str, tasks: Any, says: str, make_model: MakeModel) -> None:
    model = make_model("swin")
    before = [p.requires_grad for p in model.parameters()]
    with pytest.raises(GeneralistError, match=says):
        METHODS[method].attach(model, MethodConfig(side_width=8), tasks, seed=0)
    assert [p.requires_grad for p in model.parameters()] == before
    assert not any(".lora_" in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("method", ["lora", "mtlora"])
def test_a_part_without_linear_layers_is_named(method: str, make_model: MakeModel) -> None:
    model = make_model("dinov2+gpt2")
    names = [name for name, _ in model.named_parameters()]
    with pytest.raises(GeneralistError, match="targets holds 'language', whose gpt2 model has no linear layers"):
        METHODS[method].attach(model, MethodConfig(), ["detect"], seed=0)
    assert [name for name, _ in model.named_parameters()] == names and all(p.requires_grad for p in model.parameters())


def test_updates_of_tasks_end_the_stages_of_a_hierarchical_tower(make_model: MakeModel) -> None:
    """As in the paper: stages of 2 and 3 blocks, patch merging between them."""
    shared, own = placement(make_model("swin"), MethodConfig(targets=("vision",)))
    layers = "model.vision_tower.encoder.layers"
    attention, rest = ("q_proj", "k_proj", "v_proj"), ("attention.o_proj", "mlp.fc1", "mlp.fc2")
    blocks = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    every = {f"{layers}.{s}.blocks.{b}.{n}" for s, b in blocks for n in (*(f"attention.{a}" for a in attention), *rest)}
    assert set(shared) == every | {f"{layers}.0.downsample.reduction"}
    assert set(own) == {f"{layers}.{s}.blocks.{b}.{n}" for s, b in ((0, 1), (1, 2)) for n in rest}
    plain, _ = placement(make_model("swin"), MethodConfig(targets=("vision",), patch_merging=False))
    assert set(plain) == every


def test_a_convolutional_tower_has_stages_too(make_model: MakeModel) -> None:
    shared, own = placement(make_model("convnext"), MethodConfig(targets=("vision",)))
    stage = "model.vision_tower.encoder.stages"
    blocks = [f"{stage}.0.layers.0", f"{stage}.1.layers.0", f"{stage}.1.layers.1"]
    assert set(shared) == {f"{block}.pwconv{k}" for block in blocks for k in (1, 2)}
    assert set(own) == {f"{block}.pwconv{k}" for block in (blocks[0], blocks[2]) for k in (1, 2)}


def test_a_quarter_of_the_depth_is_a_stage_of_a_plain_tower(make_model: MakeModel) -> None:
    model = make_model("siglip")
    assert [len(stage) for stage in stages(model.model.vision_tower)] == [2, 1, 1, 2]
    assert [len(stage) for stage in stages(make_model("nano-like").model.vision_tower)] == [1, 1, 1]
    shared, own = placement(model, MethodConfig(targets=("vision", "projector")))
    ends = {name.split(".")[4] for name in own if "encoder" in name}
    assert ends == {"1", "2", "3", "5"}
    assert "model.projector.fc1" in own and set(own) < set(shared)
    assert not any("head" in name for name in shared), "the pooling head takes no part in what the model computes"


def test_norms_and_embeddings_cannot_be_saved_as_lora(make_model: MakeModel, tmp_path: Path) -> None:
    for options in ({"train_norms": True}, {"train_embeddings": True}):
        attached = METHODS["lora"].attach(make_model("swin"), MethodConfig(**options), ["detect"], seed=0)
        trained = [name for name in attached.parameters() if ".lora_" not in name]
        assert trained
        with pytest.raises(GeneralistError, match="turn train_norms and train_embeddings off, or merge the adapter"):
            attached.check_saveable()
        with pytest.raises(GeneralistError, match="cannot be saved as LoRA"):
            attached.save(tmp_path / "no", FIELDS)
        assert not (tmp_path / "no").exists()
    assert any("relative_position_bias" in name for name in trained) and any("embed_tokens" in name for name in trained)


def test_what_trains_in_the_targets_only(make_model: MakeModel) -> None:
    config = MethodConfig(targets=("vision",), train_norms=True, train_embeddings=True)
    attached = METHODS["lora"].attach(make_model("nano-like"), config, ["detect"], seed=0)
    assert all(name.startswith("model.vision_tower.") for name in attached.parameters())
    assert "model.vision_tower.position_embedding" in attached.parameters()
    assert "model.vision_tower.stem.norm.weight" in attached.parameters()


def test_saved_adapters_are_what_every_engine_reads(make_model: MakeModel, tmp_path: Path) -> None:
    """One rank and scale, linear layers only: what is checked before vLLM or the engine loads an adapter."""
    model = make_model("nano-like")
    shapes = {n: tuple(m.weight.shape) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    attached = METHODS["mtlora"].attach(model, MethodConfig(shared_rank=3, task_rank=2), ["box", "count"], seed=0)
    for folder in attached.save(tmp_path, FIELDS):
        config = read_config(folder, "vLLM")
        assert (config.rank, config.rank_pattern, config.scale_of("any")) == (5, {}, 1.0)
        weights = read_weights(folder, config, shapes, "the model", "vLLM")
        assert len(weights) == len([name for name in attached.parameters() if "lora_A.shared" in name])


def test_a_task_that_it_was_not_made_for(make_model: MakeModel) -> None:
    attached = METHODS["mtlora"].attach(make_model("swin"), MethodConfig(), ["box", "count"], seed=0)
    with pytest.raises(GeneralistError, match="task is 'depth'; this adapter was made for box, count"):
        attached.set_task("depth")
    with pytest.raises(GeneralistError, match="no task is set, and weights can hold one; set one of box, count"):
        attached.merge()
    with pytest.raises(GeneralistError, match=r"the state does not fit this adapter \(\d+ tensors, "):
        attached.load_state_dict({})


def test_a_model_takes_one_adapter_at_a_time(make_model: MakeModel) -> None:
    model = make_model("swin")
    attached = METHODS["lora"].attach(model, MethodConfig(), ["box"], seed=0)
    for method in METHODS:
        with pytest.raises(GeneralistError, match="the model has an adapter already; detach or merge it first"):
            METHODS[method].attach(model, MethodConfig(side_width=8), ["box"], seed=0)
    attached.detach()
    METHODS["mtlora"].attach(model, MethodConfig(), ["box"], seed=0).detach()
