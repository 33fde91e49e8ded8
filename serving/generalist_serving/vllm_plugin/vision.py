"""Vision tower and projector inside vLLM.

Ours are built from vLLM's linear layers, so that LoRA can wrap them; any other tower is the transformers module
that it is.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import AutoModel
from vllm.model_executor.layers.linear import LinearBase, ReplicatedLinear

from generalist.model import GeneralistConfig, GeneralistVisionConfig, GeneralistVisionModel
from generalist.model.projector import Projector

M = TypeVar("M", bound=nn.Module)


def make_vision_tower(config: PreTrainedConfig, dtype: torch.dtype, prefix: str) -> PreTrainedModel:
    """The tower of ``config``, in ``dtype``; ``prefix`` is its name in the whole model."""
    if isinstance(config, GeneralistVisionConfig):
        return _named(GeneralistVisionModel(config, _replicated_linear), prefix)
    # The configuration has the dtype of the checkpoint, which need not be the one that vLLM was asked for.
    return AutoModel.from_config(config, dtype=dtype)


def make_projector(config: GeneralistConfig, prefix: str) -> Projector:
    """The projector of ``config``; ``prefix`` is its name in the whole model."""
    return _named(Projector(config, _replicated_linear), prefix)


def takes_lora(config: PreTrainedConfig) -> bool:
    """Whether LoRA can be applied to the tower of ``config``."""
    return isinstance(config, GeneralistVisionConfig)


def _replicated_linear(width_in: int, width_out: int) -> nn.Module:
    # Whole on every rank: the tower is small, and splitting it would cost more in communication than it saves.
    return ReplicatedLinear(width_in, width_out, bias=True, return_bias=False)


def _named(module: M, prefix: str) -> M:
    # vLLM's LoRA layers are looked up by this name, which must not occur twice.
    for name, layer in module.named_modules():
        if isinstance(layer, LinearBase):
            layer.prefix = f"{prefix}.{name}"
    return module
