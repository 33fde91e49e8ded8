from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from generalist.adapter_folder import LoraWeights, read_config, read_weights
from generalist.types import GeneralistError

LAYERS = {"model.blocks.0.fc1": (6, 4), "model.blocks.1.fc1": (6, 4), "model.blocks.0.q": (4, 4), "stem": (4, 3, 2, 2)}
GOOD: dict[str, Any] = {"peft_type": "LORA", "r": 2, "lora_alpha": 3, "bias": "none"}


def name_of(layer: str, half: str) -> str:
    return f"base_model.model.{layer}.lora_{half}.weight"


A, B = (name_of("model.blocks.0.fc1", half) for half in "AB")
FC1: dict[str, Any] = {A: torch.ones(2, 4), B: torch.ones(6, 2)}


def write(folder: Path, tensors: Mapping[str, torch.Tensor] = FC1, **config: Any) -> Path:
    (folder / "adapter_config.json").write_text(json.dumps(GOOD | config))
    save_file(dict(tensors), folder / "adapter_model.safetensors")
    return folder


def read(folder: Path) -> dict[str, LoraWeights]:
    return read_weights(folder, read_config(folder, "the engine"), LAYERS, "the model", "the engine")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_weights_come_with_their_scale(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in FC1.items()}
    ((layer, update),) = read(write(tmp_path, tensors)).items()
    assert (layer, update.scale) == ("model.blocks.0.fc1", 1.5)
    assert torch.equal(update.a, tensors[A]) and torch.equal(update.b, tensors[B])


def test_ranks_and_scales_of_a_pattern_are_of_the_layers_whose_names_end_so(tmp_path: Path) -> None:
    layers = {"model.blocks.0.fc1": 2, "model.blocks.1.fc1": 1, "model.blocks.0.q": 4}
    tensors = {}
    for layer, rank in layers.items():
        high, wide = LAYERS[layer]  # type: ignore[misc]
        tensors |= {name_of(layer, "A"): torch.ones(rank, wide), name_of(layer, "B"): torch.ones(high, rank)}
    patterns = {"rank_pattern": {"q": 4, "blocks.1.fc1": 1}, "alpha_pattern": {"^model.blocks.0.q": 8, "0.q": 1}}
    found = read(write(tmp_path, tensors, **patterns))
    scales = dict(zip(layers, (1.5, 3.0, 2.0), strict=True))
    assert {layer: update.scale for layer, update in found.items()} == scales
    rooted = read(write(tmp_path, tensors, **patterns, use_rslora=True))
    expected = {layer: scales[layer] * math.sqrt(rank) for layer, rank in layers.items()}
    assert {layer: update.scale for layer, update in rooted.items()} == pytest.approx(expected)


@pytest.mark.parametrize("config, says", [
    ({"peft_type": "IA3"}, "peft_type is 'IA3', which the engine cannot serve; export the adapter as plain LoRA"),
    ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ({"use_dora": True}, "use_dora is True"),
    ({"bias": "lora_only"}, "bias is 'lora_only'"),
    ({"lora_bias": True}, "lora_bias"),
    ({"fan_in_fan_out": True}, "fan_in_fan_out"),
    ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
    ({"target_parameters": ["w"]}, "target_parameters"),
    ({"arrow_config": {"top_k": 1}}, "arrow_config"),
    ({"r": 0}, "the rank is 0; use 1 to 512"),
    ({"r": 10**9}, "the rank is 1000000000"),
    ({"r": "8"}, "the rank is '8'"),
    ({"rank_pattern": {"q": None}}, "the rank is None"),
    ({"rank_pattern": ["q"]}, "rank_pattern is"),
    ({"rank_pattern": {"(a+)+$": 2}}, "rank_pattern is .* without wildcards"),
    ({"alpha_pattern": {"\\": 2}}, "alpha_pattern is"),
    ({"lora_alpha": None}, "lora_alpha is None; use a number"),
    ({"alpha_pattern": {"q": "x"}}, "lora_alpha is 'x'"),
    ({"lora_alpha": float("inf")}, "lora_alpha is inf"),
])  # fmt: skip
def test_configurations_that_are_not_plain_lora(tmp_path: Path, config: dict[str, Any], says: str) -> None:
    folder = write(tmp_path, **config)
    with pytest.raises(GeneralistError, match=says) as raised:
        read_config(folder, "the engine")
    assert str(raised.value).startswith(str(folder / "adapter_config.json")) and "\n" not in str(raised.value)


@pytest.mark.parametrize("tensors, says", [
    ({}, "holds no weights"),
    ({A: torch.ones(2, 4)}, "the layer is"),
    ({A: torch.ones(2, 5), B: torch.ones(6, 2)}, r"are \(2, 5\) and \(6, 2\), the layer is \(6, 4\); use an adapter"),
    ({A: torch.ones(1, 4), B: torch.ones(6, 1)}, r"\(rank 2\) are .* use an adapter that was made for this model"),
    ({"other": torch.ones(1)}, "holds 'other', which is no LoRA weight that the engine can serve"),
    ({A.removeprefix("base_model.model."): torch.ones(2, 4)}, "which is no LoRA weight"),
    ({A.replace("lora_A", "lora_magnitude_vector"): torch.ones(2, 4)}, "which is no LoRA weight"),
    ({name_of("stem", "A"): torch.ones(2, 3, 2, 2)}, "changes 'stem', which is no linear layer of the model"),
    ({name_of("elsewhere", "A"): torch.ones(2, 3)}, "changes 'elsewhere'"),
    (FC1 | {A: torch.full((2, 4), torch.nan)}, "the weights for 'model.blocks.0.fc1' are not finite"),
    (FC1 | {B: torch.full((6, 2), torch.inf)}, "are not finite"),
    ({A: torch.ones(2, 4, dtype=torch.int8), B: torch.ones(6, 2)}, "holds no floating point numbers"),
])  # fmt: skip
def test_weights_that_do_not_fit(tmp_path: Path, tensors: dict[str, torch.Tensor], says: str) -> None:
    with pytest.raises(GeneralistError, match=says) as raised:
        read(write(tmp_path, tensors))
    assert str(raised.value).startswith(str(tmp_path / "adapter_model.safetensors"))


def test_only_safetensors_are_read(tmp_path: Path) -> None:
    folder = write(tmp_path)
    path = folder / "adapter_model.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", b"\x80\x04", whole[:-3], b"\xff" * 8 + whole[8:]):
        path.write_bytes(damaged)
        with pytest.raises(GeneralistError, match="not readable as safetensors"):
            read(folder)
    torch.save(FC1, folder / "adapter_model.bin")
    path.unlink()
    with pytest.raises(GeneralistError, match=r"no such file; name an adapter's folder \(only safetensors is read\)"):
        read(folder)


@pytest.mark.parametrize("folder", ["nowhere", "nul\0byte", "x" * 300])
def test_folders_that_are_not_there(tmp_path: Path, folder: str) -> None:
    with pytest.raises(GeneralistError, match=r"adapter_config\.json"):
        read_config(tmp_path / folder, "the engine")
