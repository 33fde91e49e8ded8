"""From prompts and images to what the model inside vLLM reads.

A prompt holds one ``<image>`` per image, as token ids or as text; each becomes the positions of an image. So a
:class:`generalist.types.Prompt` and a conversation written with the chat template reach vLLM as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL.Image import Image
from transformers import BatchFeature
from vllm.inputs import MultiModalInput
from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems
from vllm.multimodal.parse import ImageEmbeddingItems, ImageProcessorItems, MultiModalDataItems
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    ProcessorInputs,
    PromptReplacement,
    PromptUpdate,
    TimingContext,
)

from generalist.model import GeneralistConfig, GeneralistProcessor
from generalist.types import GeneralistError


class ProcessingInfo(BaseProcessingInfo):
    """What vLLM asks before it has seen a request."""

    def get_hf_config(self) -> GeneralistConfig:
        return self.ctx.get_hf_config(GeneralistConfig)

    def get_hf_processor(self, **kwargs: object) -> GeneralistProcessor:
        return self.ctx.get_hf_processor(GeneralistProcessor, **kwargs)

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """As many images as fit the context."""
        return {"image": None}

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        """Every image takes the same number of positions."""
        return {"image": self.get_hf_config().num_image_tokens}


class DummyInputs(BaseDummyInputsBuilder[ProcessingInfo]):
    """The largest inputs, with which vLLM measures memory before it serves."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        return self.info.get_hf_processor().image_token * mm_counts.get("image", 0)

    def get_dummy_mm_data(
        self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, Any]
    ) -> dict[str, list[Image]]:
        height, width = self.info.get_hf_config().image_hw
        count = mm_counts.get("image", 0)
        images = self._get_dummy_images(width=width, height=height, num_images=count, overrides=mm_options.get("image"))
        return {"image": images}


class MultiModalProcessor(BaseMultiModalProcessor[ProcessingInfo]):
    """Images to pixels, and every ``<image>`` of a prompt to the positions of its image.

    What is wrong with a request is said here, in front of the engine: an error inside it would end every other
    request too.
    """

    def apply(self, inputs: ProcessorInputs, timing_ctx: TimingContext) -> MultiModalInput:
        """Raises :class:`GeneralistError` when the images and the ``<image>`` tokens do not match."""
        if inputs.hf_processor_mm_kwargs:
            raise GeneralistError(
                f"mm_processor_kwargs are {dict(inputs.hf_processor_mm_kwargs)}; leave them out: every image is "
                "prepared as the model was trained"
            )
        images = inputs.mm_data_items.get_all_counts().get("image", 0)
        places = inputs.prompt.count(self.info.get_hf_config().image_token_id)
        if places != images:
            raise GeneralistError(
                f"the prompt has {places} <image> tokens and {images} images; give one image for each"
            )
        return super().apply(inputs, timing_ctx)

    def _get_mm_fields_config(
        self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, MultiModalFieldConfig]:
        return {name: MultiModalFieldConfig.batched("image") for name in ("pixel_values", "image_embeds")}

    def _get_prompt_updates(
        self,
        mm_items: MultiModalDataItems,
        hf_processor_mm_kwargs: Mapping[str, object],
        out_mm_kwargs: MultiModalKwargsItems,
    ) -> Sequence[PromptUpdate]:
        config = self.info.get_hf_config()

        wanted = (config.num_image_tokens, config.text_config.hidden_size)

        def positions(item: int) -> list[int]:
            images = mm_items.get_items("image", (ImageEmbeddingItems, ImageProcessorItems))
            if isinstance(images, ImageEmbeddingItems) and tuple(images.get(item).shape) != wanted:
                raise GeneralistError(
                    f"the embeddings of image {item} have the shape {tuple(images.get(item).shape)}; an image of this "
                    f"model has {wanted}"
                )
            return [config.image_token_id] * config.num_image_tokens

        return [PromptReplacement(modality="image", target=[config.image_token_id], replacement=positions)]
