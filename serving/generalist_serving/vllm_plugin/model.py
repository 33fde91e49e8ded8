"""The model inside vLLM: our vision tower and projector, and vLLM's own language model for the text configuration.

Weights and adapters have the names of :class:`generalist.model.GeneralistForConditionalGeneration`.
Shapes: T positions of all requests together, I images, n positions an image, D text width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import MultiModalEmbeddings, SupportsLoRA, SupportsMultiModal, SupportsPP
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import (
    AutoWeightsLoader,
    WeightsMapper,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalKwargsItem
from vllm.sequence import IntermediateTensors

from generalist.model.checkpoint import WEIGHTS
from generalist.model.modeling import vision_tokens
from generalist.tokens import IMAGE
from generalist.types import GeneralistError
from generalist_serving.vllm_plugin.processing import DummyInputs, MultiModalProcessor, ProcessingInfo
from generalist_serving.vllm_plugin.vision import make_projector, make_vision_tower, takes_lora

_HF_TOWER, _HF_PROJECTOR = "model.vision_tower.", "model.projector."


@MULTIMODAL_REGISTRY.register_processor(MultiModalProcessor, info=ProcessingInfo, dummy_inputs=DummyInputs)
class GeneralistForConditionalGeneration(nn.Module, SupportsMultiModal, SupportsLoRA, SupportsPP):
    """What vLLM builds for a checkpoint, one on every rank.

    The language part is split by tensor and pipeline parallelism as vLLM does it; every rank has the whole
    vision tower and projector.
    """

    supports_tower_connector_lora = True
    allow_patterns_overrides = (WEIGHTS,)  # the codecs beside it are not the model's

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """What stands for an image in text."""
        if modality == "image":
            return IMAGE
        raise GeneralistError(f"the input is of modality {modality!r}; this model takes images")

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        self.config = vllm_config.model_config.hf_config
        _check_lora(vllm_config)
        vllm: Any = self  # what vLLM's base classes bring
        vllm.configure_mm_token_handling(self.config.text_config.vocab_size, [self.config.image_token_id])
        with vllm._mark_tower_model(vllm_config, "image"):
            self.vision_tower = make_vision_tower(
                self.config.vision_config, vllm_config.model_config.dtype, maybe_prefix(prefix, "vision_tower")
            )
            self.projector = make_projector(self.config, maybe_prefix(prefix, "projector"))
        with vllm._mark_language_model(vllm_config):
            self.language_model = init_vllm_registered_model(
                vllm_config, hf_config=self.config.text_config, prefix=maybe_prefix(prefix, "language_model")
            )
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors
        self.packed_modules_mapping = getattr(self.language_model, "packed_modules_mapping", {})
        self.embedding_modules = getattr(self.language_model, "embedding_modules", {})
        self.hf_to_vllm_mapper = Names(
            orig_to_new_prefix=name_prefixes(self.config.text_config), refused=_refused(vllm_config)
        )

    def embed_multimodal(self, **kwargs: Any) -> MultiModalEmbeddings:
        """``pixel_values`` [I, 3, H, W], or ``image_embeds`` [I, n, D] computed elsewhere, -> [I, n, D]."""
        if (pixels := kwargs.get("pixel_values")) is not None:
            return self.projector(vision_tokens(self.vision_tower, pixels))
        if (embeds := kwargs.get("image_embeds")) is not None:
            return embeds.to(self.vision_tower.dtype)
        return []

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor | IntermediateTensors:
        """Final states [T, D], or what the next rank of the pipeline continues with.

        ``input_ids`` and ``positions`` are int64[T]; ``inputs_embeds`` [T, D] hold the images in their places.
        """
        if intermediate_tensors is not None:  # not the first of the pipeline
            inputs_embeds = None
        return self.language_model(
            input_ids, positions, intermediate_tensors=intermediate_tensors, inputs_embeds=inputs_embeds
        )

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor | None:
        """[T, D] -> [T, V]; None on the ranks that have no head."""
        return self.language_model.compute_logits(hidden_states)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Read the tensors of a checkpoint; the names of what was filled."""
        return AutoWeightsLoader(self).load_weights(weights, mapper=self.hf_to_vllm_mapper)

    def get_mm_mapping(self) -> MultiModelKeys:
        """Which parts are which, for LoRA."""
        return MultiModelKeys.from_string_field(
            language_model="language_model", connector="projector", tower_model="vision_tower"
        )

    def get_mm_lora_token_counts(
        self, *, modality: str, mm_kwargs: MultiModalKwargsItem | None, num_mm_embeds: int
    ) -> tuple[int, int]:
        """How many tokens the tower and the projector see of an image with ``num_mm_embeds`` positions."""
        return num_mm_embeds * self.config.projector_merge**2, num_mm_embeds


@dataclass
class Names(WeightsMapper):
    """Names of our checkpoints and adapters -> names inside vLLM.

    ``refused``: why an adapter may not change what starts with a prefix. vLLM looks only at the last part of a
    name, so it would take such an adapter and leave out a part of it.
    """

    refused: tuple[tuple[str, str], ...] = ()

    def map_name(self, key: str) -> str | None:
        """Used for adapters, one name at a time."""
        for prefix, reason in self.refused:
            if key.startswith(prefix):
                raise GeneralistError(f"the adapter changes {key}, and {reason}")
        return super().map_name(key)


def name_prefixes(text_config: PreTrainedConfig) -> dict[str, str]:
    """Beginnings of names: those of our checkpoints -> those inside vLLM.

    vLLM reads a language model under the names that transformers gives it with its head.
    """
    with_head: Any = MODEL_FOR_CAUSAL_LM_MAPPING[type(text_config)]
    return {
        "model.language_model.": f"language_model.{with_head.base_model_prefix}.",
        "lm_head.": "language_model.lm_head.",
        _HF_TOWER: "vision_tower.",
        _HF_PROJECTOR: "projector.",
    }


def _check_lora(vllm_config: VllmConfig) -> None:
    lora = vllm_config.lora_config
    if lora and lora.enable_tower_connector_lora and vllm_config.model_config.multimodal_config.enable_mm_embeds:
        # vLLM counts the tower's tokens over pixels and embeddings together, and would give images wrong adapters.
        raise GeneralistError(
            "enable_mm_embeds and enable_tower_connector_lora are both on; leave one of them off: adapters of the "
            "vision tower cannot be applied to embeddings made elsewhere"
        )


def _refused(vllm_config: VllmConfig) -> tuple[tuple[str, str], ...]:
    lora, config = vllm_config.lora_config, vllm_config.model_config.hf_config
    if lora is None or not lora.enable_tower_connector_lora:
        reason = "LoRA of the vision part is off; start vLLM with enable_tower_connector_lora"
        return (_HF_TOWER, reason), (_HF_PROJECTOR, reason)
    if not takes_lora(config.vision_config):
        kind = config.vision_config.model_type
        return ((_HF_TOWER, f"a {kind} tower takes no adapters in vLLM; merge the adapter into the checkpoint"),)
    return ()
