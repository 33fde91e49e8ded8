"""Random LoRA adapters in PEFT's format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

LANGUAGE, VISION = ("language_model.layers",), ("vision_tower", "projector")
PREFIX = "base_model.model."


def write_adapter(
    folder: Path,
    model: torch.nn.Module,
    seed: int = 0,
    *,
    parts: Sequence[str] = (*LANGUAGE, *VISION),
    rank: int = 4,
    ranks: Mapping[str, int] | None = None,
    scale: float = 0.5,
    **config: Any,
) -> Path:
    """Of every linear layer whose name holds one of ``parts``; ``ranks`` of layers whose last name is a key."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and any(part in name for part in parts):
            high, wide = module.weight.shape
            r = (ranks or {}).get(name.rsplit(".", 1)[-1], rank)
            a, b = torch.randn(r, wide, generator=generator), torch.randn(high, r, generator=generator)
            tensors[f"{PREFIX}{name}.lora_A.weight"] = a * wide**-0.5
            tensors[f"{PREFIX}{name}.lora_B.weight"] = b * scale * r**-0.5
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    targets = sorted({name.removeprefix(PREFIX).removesuffix(".lora_A.weight") for name in tensors if "lora_A" in name})
    content = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "bias": "none", "target_modules": targets}
    (folder / "adapter_config.json").write_text(json.dumps(content | config), encoding="utf-8")
    return folder
