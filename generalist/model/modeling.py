"""The model: vision tower -> projector -> stock causal language model.

An image takes ``num_image_tokens`` consecutive positions of ``input_ids``, each holding ``image_token_id``;
their embeddings are replaced by the projected features of the images, in reading order of the batch.

Shapes: B prompts, L positions, I images in all prompts together, n tokens an image, D text width, V vocabulary.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.models.auto.modeling_auto import AutoModel
from transformers.utils import can_return_tuple

from generalist.model.configuration import GeneralistConfig, GeneralistVisionConfig, vision_grid
from generalist.model.projector import Projector
from generalist.model.vision import GeneralistVisionModel
from generalist.types import GeneralistError

_IMAGE_INPUTS = ("pixel_values", "image_features")


class GeneralistPreTrainedModel(PreTrainedModel):
    """What the two models below share: names, initialisation, what they support."""

    config: GeneralistConfig
    config_class = GeneralistConfig
    base_model_prefix = "model"
    input_modalities = ["image", "text"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=getattr(self.config.text_config, "initializer_range", 0.02))
            if module.bias is not None:
                init.zeros_(module.bias)


class GeneralistModel(GeneralistPreTrainedModel):
    """The model without its head: final hidden states of the language model."""

    def __init__(self, config: GeneralistConfig) -> None:
        super().__init__(config)
        self.vision_tower = vision_tower_from_config(config.vision_config)
        self.projector = Projector(config)
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """[I, 3, H, W] -> ``last_hidden_state``, the tower's tokens; ``pooler_output`` [I, n, D], the features."""
        tokens = vision_tokens(self.vision_tower, pixel_values.to(self.vision_tower.dtype))
        return BaseModelOutputWithPooling(
            last_hidden_state=cast(torch.FloatTensor, tokens),
            pooler_output=cast(torch.FloatTensor, self.projector(tokens)),
        )

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """``input_ids`` [B, L] or ``inputs_embeds`` [B, L, D]; ``pixel_values`` [I, 3, H, W] or ``image_features``
        [I, n, D]; ``attention_mask`` [B, past + L], or [B, 1, L, past + L] (bool, or additive).

        Raises :class:`GeneralistError` when image tokens and images do not match.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise GeneralistError("forward takes exactly one of input_ids and inputs_embeds")
        if pixel_values is not None and image_features is not None:
            raise GeneralistError("forward takes pixel_values or image_features, not both")
        if pixel_values is not None:
            image_features = self.get_image_features(pixel_values).pooler_output
        if input_ids is not None:
            is_prompt = past_key_values is None or past_key_values.get_seq_length() == 0
            inputs_embeds = self._embed(input_ids, image_features, is_prompt)
        elif image_features is not None:
            raise GeneralistError("images need input_ids, which say where they belong; got inputs_embeds")
        assert inputs_embeds is not None
        if position_ids is None and attention_mask is not None and attention_mask.ndim == 2:
            position_ids = positions_of(attention_mask)[:, -inputs_embeds.shape[1] :]
        return self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **kwargs,
        )

    def _embed(self, input_ids: torch.Tensor, image_features: torch.Tensor | None, is_prompt: bool) -> torch.Tensor:
        """Embeddings [B, L, D] with the images' features where the image tokens are."""
        embeds = self.get_input_embeddings()(input_ids)
        if image_features is None and not is_prompt:
            return embeds  # a reply's own token, whatever the model wrote
        is_image = input_ids == self.config.image_token_id
        given = 0 if image_features is None else image_features.shape[0] * image_features.shape[1]
        if (found := int(is_image.sum())) != given:
            each = self.config.num_image_tokens
            images = 0 if image_features is None else image_features.shape[0]
            raise GeneralistError(
                f"input_ids hold {found} image tokens and {images} images were given, {each} tokens each; "
                f"repeat the image token {each} times for every image"
            )
        if image_features is None:
            return embeds
        return embeds.masked_scatter(is_image.unsqueeze(-1), image_features.to(embeds.device, embeds.dtype))


class GeneralistForConditionalGeneration(GeneralistPreTrainedModel, GenerationMixin):
    """The model with its head: logits, loss, ``generate``."""

    def __init__(self, config: GeneralistConfig) -> None:
        super().__init__(config)
        self.model = GeneralistModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        embedding = self.get_input_embeddings()
        name = next(name for name, module in self.named_modules() if module is embedding)
        self._tied_weights_keys = {"lm_head.weight": f"{name}.weight"}  # applies if the text config ties them
        self.post_init()
        # An image token in a reply would ask for an image that nobody gave.
        self.generation_config.suppress_tokens = [config.image_token_id]

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.lm_head = value

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """See :meth:`GeneralistModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_features: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        labels: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """As :meth:`GeneralistModel.forward`; ``logits`` [B, L or logits_to_keep, V].

        ``labels`` [B, L], -100 where there is nothing to learn, are shifted here. ``logits_to_keep``: how many last
        positions get logits (0: all), or a tensor of positions.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            image_features=image_features,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, keep])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=logits.shape[-1])
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def prepare_inputs_for_generation(self, input_ids: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Images are needed once when a cache keeps what was read from them, else at every step."""
        parent = cast(Any, super())
        inputs: dict[str, Any] = parent.prepare_inputs_for_generation(input_ids, *args, **kwargs)
        if not kwargs.get("is_first_iteration") and kwargs.get("use_cache", True):
            for name in _IMAGE_INPUTS:
                inputs.pop(name, None)
        return inputs

    def _expand_inputs_for_generation(
        self, expand_size: int = 1, is_encoder_decoder: bool = False, input_ids: Any = None, **model_kwargs: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Repeat every prompt (beams, several samples) together with its own images."""
        images = {name: model_kwargs.pop(name) for name in _IMAGE_INPUTS if model_kwargs.get(name) is not None}
        if images and expand_size > 1:
            tokens = (input_ids == self.config.image_token_id).sum(1)
            counts = (tokens // self.config.num_image_tokens).tolist()
            for name, value in images.items():
                groups = value.split(counts)
                images[name] = torch.cat([group for group in groups for _ in range(expand_size)])
        input_ids, model_kwargs = cast(Any, super())._expand_inputs_for_generation(
            expand_size=expand_size, is_encoder_decoder=is_encoder_decoder, input_ids=input_ids, **model_kwargs
        )
        return input_ids, {**model_kwargs, **images}


def vision_tower_from_config(config: PreTrainedConfig) -> PreTrainedModel:
    """Our own tower, or transformers' base model for ``config``."""
    if isinstance(config, GeneralistVisionConfig):
        return GeneralistVisionModel(config)
    return AutoModel.from_config(config)


def vision_tokens(tower: PreTrainedModel, pixel_values: torch.Tensor) -> torch.Tensor:
    """[I, 3, H, W] -> [I, rows * columns, width]: the tower's last states, one a grid cell, row-major.

    Tokens in front of the grid (class, registers, distillation) are dropped; a convolutional map is flattened.
    """
    states = tower(pixel_values).last_hidden_state
    if states.ndim == 4:
        states = states.flatten(2).transpose(1, 2)
    rows, columns = vision_grid(tower.config)
    extra = states.shape[1] - rows * columns
    if not 0 <= extra <= max(2, 1 + getattr(tower.config, "num_register_tokens", 0)):
        raise GeneralistError(
            f"the {tower.config.model_type} tower gives {states.shape[1]} tokens where its configuration says "
            f"{rows} x {columns}; this tower is not supported"
        )
    return states[:, extra:]


def positions_of(attention_mask: torch.Tensor) -> torch.Tensor:
    """Position of every token [B, L], counted from the first one that is not padding."""
    return (attention_mask.long().cumsum(-1) - 1).clamp_min(0)
