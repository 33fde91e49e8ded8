"""Writing a LoRA adapter as PEFT's folder, ``adapter.json`` beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from peft import LoraConfig

from generalist.adapter_folder import CONFIG, WEIGHTS
from generalist.adapter_spec import AdapterSpec, write_spec
from generalist_adapters.attached import SpecFields
from generalist_adapters.own_file import write_tensors

Update = Mapping[str, tuple[torch.Tensor, torch.Tensor]]
"""Layer -> A [r, in] and B [out, r] of an update ``B A``, its scale inside B."""


def write_lora(folder: Path, update: Update, method: str, fields: SpecFields, tasks: Sequence[str]) -> Path:
    """Write ``adapter_model.safetensors``, ``adapter_config.json``, ``adapter.json``; the folder.

    One rank for all layers and ``lora_alpha`` equal to it: vLLM reads one rank and scale of an adapter.
    """
    rank = len(next(iter(update.values()))[0])
    tensors = {}
    for layer, (down, up) in update.items():
        tensors[f"base_model.model.{layer}.lora_A.weight"] = down.to("cpu", torch.float32).contiguous()
        tensors[f"base_model.model.{layer}.lora_B.weight"] = up.to("cpu", torch.float32).contiguous()
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=sorted(update),
        base_model_name_or_path=fields["base"],
        inference_mode=True,
    )
    spec = AdapterSpec(
        **fields, method=method, rank=rank, alpha=rank, targets=tuple(sorted(update)), tasks=tuple(tasks)
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, tensors)
    settings = {name: sorted(v) if isinstance(v, set) else v for name, v in config.to_dict().items()}
    part = folder / f"{CONFIG}.part"
    part.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(folder / CONFIG)
    write_spec(folder, spec)
    return folder
