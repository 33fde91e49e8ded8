"""Random visual heads, which see something everywhere."""

from __future__ import annotations

from pathlib import Path

import torch

from generalist.adapter_spec import AdapterSpec, write_spec
from generalist.heads.head import Head, Names, preprocess_of
from generalist.model import Checkpoint

NAMES = Names(
    tasks=("detect", "count", "segment"), boxes=("cat", "dog"), masks=("dog", "grass"), stuff=("grass",),
    said={"cat": "cat", "cats": "cat", "dog": "dog", "dogs": "dog", "grass": "grass"},
)  # fmt: skip


def random_head(checkpoint: Checkpoint, names: Names = NAMES, seed: int = 0) -> Head:
    head = Head.new(checkpoint.model, preprocess_of(checkpoint.processor), names, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for branch, spread in ((head.network.heat, 3.0), (head.network.sides, 0.5), (head.network.pixels, 3.0)):
            weight = branch[-1].get_parameter("weight")
            weight.copy_(spread * torch.randn(weight.shape, generator=generator) / weight.shape[1] ** 0.5)
        head.network.heat[-1].get_parameter("bias").fill_(2.0)
    return head


def write_head(folder: Path, checkpoint: Checkpoint, names: Names = NAMES, seed: int = 0) -> Path:
    folder.mkdir(parents=True)
    random_head(checkpoint, names, seed).save(folder)
    spec = AdapterSpec(
        name=folder.name, base="tiny", method="head", rank=0, alpha=0.0, targets=(), tasks=names.tasks,
        vocab_hash=checkpoint.vocabulary.hash,
    )  # fmt: skip
    write_spec(folder, spec)
    return folder
