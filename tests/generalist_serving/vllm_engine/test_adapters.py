"""Adapters that vLLM cannot serve are refused in one line, before vLLM sees them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from generalist.types import GeneralistError
from generalist_serving.vllm_engine.adapters import check_adapter

GOOD: dict[str, Any] = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "bias": "none", "target_modules": ["q_proj"]}
LAYER = "model.language_model.layers.0.self_attn.q_proj"
A, B = (f"base_model.model.{LAYER}.lora_{part}.weight" for part in "AB")


def write(folder: Path, shapes: Mapping[str, tuple[int, ...]] | None = None, **config: Any) -> Path:
    """An adapter of rank 8 for a layer from 4 to 6."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(GOOD | config))
    shapes = {A: (8, 4), B: (6, 8)} if shapes is None else shapes
    save_file(
        {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, folder / "adapter_model.safetensors"
    )
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of one linear layer and of a convolution."""
    folder = tmp_path_factory.mktemp("base")
    shapes = {f"{LAYER}.weight": (6, 4), "model.vision_tower.stem.weight": (4, 3, 2, 2)}
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    save_file(weights, folder / "model.safetensors")
    return folder


def test_plain_lora_is_taken(tmp_path: Path, base: Path) -> None:
    check_adapter(write(tmp_path, use_dora=False, modules_to_save=None, init_lora_weights=True), base, 8)
    check_adapter(write(tmp_path, init_lora_weights="gaussian", rank_pattern={}), base, 16)


@pytest.mark.parametrize("shapes, says", [
    ({A: (8, 5), B: (6, 8)}, r"are \(8, 5\) and \(6, 8\), the layer is \(6, 4\); use an adapter that was made"),
    ({A: (8, 4), B: (5, 8)}, "the layer is"),
    ({A: (8, 4), B: (6, 4)}, "the layer is"),
    ({A: (8, 4)}, "the layer is"),
    ({A.replace("q_proj", "gate"): (8, 4)}, "self_attn.gate', which is no linear layer"),
    ({"base_model.model.model.vision_tower.stem.lora_A.weight": (8, 3, 2, 2)}, "stem', which is no linear layer"),
    ({f"{A[:-14]}.lora_embedding_A": (8, 4)}, "which is no LoRA weight that vLLM can serve"),
    ({f"base_model.model.{LAYER}.weight": (6, 4)}, "q_proj.weight', which is no LoRA weight"),
    ({}, "holds no weights"),
])  # fmt: skip
def test_weights_that_belong_to_another_model(
    tmp_path: Path, base: Path, shapes: dict[str, tuple[int, ...]], says: str
) -> None:
    with pytest.raises(GeneralistError, match=says):
        check_adapter(write(tmp_path, shapes), base, 8)


def test_an_engine_without_adapters(tmp_path: Path, base: Path) -> None:
    with pytest.raises(GeneralistError, match="takes no adapters; start it with max_adapters=1 or more"):
        check_adapter(write(tmp_path), base, 0)


@pytest.mark.parametrize("config, says", [
    ({"modules_to_save": ["lm_head"]}, r"modules_to_save is \['lm_head'\], which vLLM cannot serve; export"),
    ({"use_dora": True}, "use_dora is True"),
    ({"bias": "all"}, "bias is 'all'"),
    ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
    ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
    ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
    ({"r": 32}, "the rank is 32, the engine was started for at most 8; start it with max_lora_rank=32 or more"),
    ({"rank_pattern": {"q_proj": 64}}, "the rank is 64"),
    ({"r": None}, "the rank is None"),
])  # fmt: skip
def test_what_vllm_cannot_serve(tmp_path: Path, base: Path, config: dict[str, Any], says: str) -> None:
    with pytest.raises(GeneralistError, match=says) as raised:
        check_adapter(write(tmp_path / "cats", **config), base, 8)
    assert str(tmp_path / "cats") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_folders_that_hold_no_adapter(tmp_path: Path, base: Path) -> None:
    with pytest.raises(GeneralistError, match=r"adapter_config.json: cannot be read"):
        check_adapter(tmp_path / "none", base, 8)
    folder = write(tmp_path / "a")
    (folder / "adapter_model.safetensors").write_bytes(b"short")
    with pytest.raises(GeneralistError, match="not readable as safetensors"):
        check_adapter(folder, base, 8)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(GeneralistError, match="no such file"):
        check_adapter(folder, base, 8)
    for content, says in (("{", "not readable as JSON"), ("[]", "holds a JSON list")):
        (folder / "adapter_config.json").write_text(content)
        with pytest.raises(GeneralistError, match=says):
            check_adapter(folder, base, 8)
