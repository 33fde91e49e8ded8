from __future__ import annotations

from typing import Any

import pytest
from transformers import LlamaConfig, SiglipVisionConfig

from generalist.model import GeneralistConfig, GeneralistVisionConfig
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError


@pytest.mark.parametrize(
    ("vision", "merge", "tokens"),
    [
        pytest.param({}, 1, 144, id="our tower, 192 / 16"),
        pytest.param({"image_size": 384}, 2, 144, id="our tower, 384 / 16 / 2"),
        pytest.param({"model_type": "siglip_vision_model"}, 1, 196, id="SigLIP has no class token"),
        pytest.param({"model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14}, 3, 81, id="27 / 3"),
        pytest.param({"model_type": "clip_vision_model"}, 1, 49, id="CLIP without its class token"),
        pytest.param({"model_type": "dinov2", "image_size": 518, "patch_size": 14}, 1, 1369, id="DINOv2"),
        pytest.param(
            {"model_type": "dinov2_with_registers", "image_size": 224, "patch_size": 14}, 2, 64, id="registers"
        ),
        pytest.param({"model_type": "swin"}, 1, 49, id="Swin, 224 / 4 halved three times"),
        pytest.param({"model_type": "convnext"}, 1, 49, id="ConvNeXt, a map instead of tokens"),
        pytest.param({"model_type": "siglip_vision_model", "image_size": [224, 448]}, 1, 392, id="not square"),
    ],
)
def test_an_image_takes_as_many_tokens_as_its_merged_grid_has_cells(
    vision: dict[str, Any], merge: int, tokens: int
) -> None:
    config = GeneralistConfig(vision_config={"model_type": "generalist_vision", **vision}, projector_merge=merge)
    assert config.num_image_tokens == tokens
    again = GeneralistConfig.from_dict(config.to_dict())
    assert (again.num_image_tokens, type(again.vision_config)) == (tokens, type(config.vision_config))


def test_the_default_is_the_small_one() -> None:
    config = GeneralistConfig()
    assert isinstance(config.vision_config, GeneralistVisionConfig)
    assert isinstance(config.text_config, LlamaConfig)
    assert (config.text_config.hidden_size, config.text_config.num_hidden_layers) == (256, 4)
    assert (config.grid, config.image_hw, config.tie_word_embeddings) == ((12, 12), (192, 192), False)


def test_parts_may_be_configuration_objects() -> None:
    vision, text = SiglipVisionConfig(image_size=64), LlamaConfig(tie_word_embeddings=True)
    config = GeneralistConfig(vision_config=vision, text_config=text)
    assert (config.vision_config, config.text_config, config.tie_word_embeddings) == (vision, text, True)


def test_it_takes_sizes_and_ids_from_a_vocabulary(vocab: Vocabulary) -> None:
    config = GeneralistConfig.for_vocabulary(vocab, text_config={"model_type": "qwen3", "hidden_size": 64})
    text = config.text_config
    assert (text.model_type, text.hidden_size, text.vocab_size) == ("qwen3", 64, vocab.size)
    assert (text.bos_token_id, text.eos_token_id, text.pad_token_id) == (vocab.structure["<bos>"], vocab.eos, vocab.pad)
    assert (config.image_token_id, config.vocab_hash) == (vocab.image, vocab.hash)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"projector_merge": 5}, "projector_merge is 5; use a divisor of .* 12 x 12"),
        ({"projector_merge": 0}, "projector_merge is 0"),
        ({"projector_hidden": 0}, "projector_hidden is 0"),
        ({"image_token_id": 32000}, "image_token_id is 32000; use an id below the vocabulary size 32000"),
        ({"image_token_id": -1}, "image_token_id is -1"),
        ({"vision_config": {"model_type": "no_such"}}, "vision_config has model_type 'no_such'"),
        ({"text_config": {"model_type": "no_such"}}, "text_config has model_type 'no_such'"),
        (
            {"text_config": {"model_type": "gemma2"}},
            "text_config has final_logit_softcapping 30.0; use .* plain linear",
        ),
        ({"vision_config": {"model_type": "siglip"}}, "'siglip' without image_size .* such as siglip_vision_model"),
        ({"vision_config": {"model_type": "swin", "image_size": 200}}, "image_size is 200; use a multiple of .* 32"),
        ({"vision_config": {"stem": "resnet"}}, "stem is 'resnet'; use one of mbconv, patch"),
        ({"vision_config": {"image_size": 200}}, "image_size is 200; use a multiple of patch_size 16"),
        ({"vision_config": {"patch_size": 14}}, "patch_size is 14; the mbconv stem has a stride of 16"),
        ({"vision_config": {"num_attention_heads": 7}}, "hidden_size is 256; use a multiple of num_attention_heads 7"),
    ],
)
def test_parts_that_do_not_fit_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(GeneralistError, match=message) as caught:
        GeneralistConfig(**fields)
    assert "\n" not in str(caught.value)
