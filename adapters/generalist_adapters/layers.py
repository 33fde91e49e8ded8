"""Where a model's blocks and linear layers are, whatever its tower or language model.

A *block* is one layer of a transformer; a *stage* a run of blocks. A hierarchical tower (Swin) has stages of its own;
elsewhere a quarter of the depth is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from generalist.model import GeneralistForConditionalGeneration, GeneralistVisionModel
from generalist.types import GeneralistError
from generalist_adapters.config import PARTS

STAGES = 4
_ATTENTION_INPUTS = {
    "q_proj",
    "k_proj",
    "v_proj",
    "query",
    "key",
    "value",
    "qkv",
    "qkv_proj",
    "Wqkv",
    "query_key_value",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A linear layer by its name in the model. ``in_block``: it belongs to a block, otherwise it lies between or before
    stages. ``ends_stage``: its block is the last of a stage. ``feeds_attention``: it makes queries, keys or values."""

    name: str
    in_block: bool
    ends_stage: bool = False
    feeds_attention: bool = False


def linear_layers(model: GeneralistForConditionalGeneration, part: str) -> list[Layer]:
    """The linear layers of a part of ``PARTS`` that take part in what the model computes.

    Raises :class:`GeneralistError` when there are none that LoRA can change.
    """
    prefix = PARTS[part]
    root = model.get_submodule(prefix)
    if part == "projector":
        found = [Layer(name=f"{prefix}.{name}", in_block=False) for name in _linear_names(root)]
    else:
        found = [layer for stage in stages(root) for layer in _of_stage(root, prefix, stage)]
        found += [Layer(name=f"{prefix}.{name}", in_block=False) for name in _between_stages(root)]
    if not found:
        kind = model.config.vision_config if part == "vision" else model.config.text_config
        raise GeneralistError(
            f"targets holds {part!r}, whose {kind.model_type} model has no linear layers that LoRA can change; "
            "leave it out"
        )
    return found


def _of_stage(root: nn.Module, prefix: str, blocks: list[str]) -> Iterator[Layer]:
    for block in blocks:
        for name in _linear_names(root.get_submodule(block)):
            yield Layer(
                name=f"{prefix}.{block}.{name}",
                in_block=True,
                ends_stage=block == blocks[-1],
                feeds_attention=name.rsplit(".", maxsplit=1)[-1] in _ATTENTION_INPUTS,
            )


def stages(root: nn.Module) -> list[list[str]]:
    """The names of the blocks of a tower or language model, by stages."""
    name, items = _main_list(root)
    if len(getattr(root.config, "depths", ())) > 1:
        inner = [_main_list(stage) for stage in items]
        return [[f"{name}.{k}.{one}.{n}" for n in range(len(blocks))] for k, (one, blocks) in enumerate(inner)]
    depth, count = len(items), min(STAGES, len(items))
    edges = [round(k * depth / count) for k in range(count + 1)]
    return [[f"{name}.{block}" for block in range(*edges[k : k + 2])] for k in range(count)]


def _main_list(module: nn.Module) -> tuple[str, nn.ModuleList]:
    """The list that holds most of a module's matrices, by its name; an empty one where there is none."""
    lists = [(name, one) for name, one in module.named_modules() if isinstance(one, nn.ModuleList)]
    # Experts are lists inside blocks, and a convolutional stem may be one without matrices.
    outer = [(name, one) for name, one in lists if not any(name.startswith(f"{other}.") for other, _ in lists)]
    return max(outer, key=lambda one: _count_matrices(one[1]), default=("", nn.ModuleList()))


def _count_matrices(module: nn.Module) -> int:
    return sum(parameter.ndim == 2 for parameter in module.parameters())


def _linear_names(module: nn.Module) -> list[str]:
    # Not a subclass: attention of torch's own reads the weight of its output layer past any adapter.
    return [name for name, layer in module.named_modules() if type(layer) is nn.Linear]


def _between_stages(root: nn.Module) -> list[str]:
    """Patch merging of hierarchical towers, and the linear patch embedding of ours."""
    if isinstance(root, GeneralistVisionModel):
        return ["stem.proj"]
    if len(getattr(root.config, "depths", ())) < 2:
        return []
    inside = [block for stage in stages(root) for block in stage]
    top = inside[0].split(".", maxsplit=1)[0] if inside else ""
    return [
        name
        for name in _linear_names(root)
        if name.startswith(f"{top}.") and not any(name.startswith(f"{block}.") for block in inside)
    ]
