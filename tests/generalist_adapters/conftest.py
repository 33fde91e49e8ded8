"""Tiny models of every kind that adapters meet, and a batch to run through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from generalist.model import GeneralistConfig, GeneralistForConditionalGeneration, GeneralistProcessor, save_checkpoint
from generalist.model.checkpoint import Checkpoint
from generalist.tokens import Vocabulary

NARROW = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
NANO_LIKE: dict[str, Any] = {"model_type": "generalist_vision", **NARROW, "num_hidden_layers": 3, "image_size": 64}
SIGLIP: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    **{**NARROW, "num_hidden_layers": 6, "image_size": 48, "patch_size": 16},
}
DINOV2: dict[str, Any] = {
    "model_type": "dinov2_with_registers",
    **{"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_ratio": 2, "num_register_tokens": 2},
    **{"image_size": 42, "patch_size": 14},
}
SWIN: dict[str, Any] = {
    "model_type": "swin",
    **{"embed_dim": 16, "depths": [2, 3], "num_heads": [2, 2], "window_size": 2, "image_size": 32, "patch_size": 4},
    "drop_path_rate": 0.0,
}
CONVNEXT: dict[str, Any] = {
    "model_type": "convnext",
    **{"depths": [1, 2], "hidden_sizes": [16, 32], "num_stages": 2, "image_size": 32, "patch_size": 4},
    "layer_scale_init_value": 0.5,
}
LLAMA = {"model_type": "llama", **NARROW, "tie_word_embeddings": False}
SMOLLM = {"model_type": "llama", **NARROW, "num_key_value_heads": 2, "tie_word_embeddings": True}
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "tie_word_embeddings": True}

# name: vision tower, language model, the rest of the configuration
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "nano-like": (NANO_LIKE, LLAMA, {}),
    "swin": (SWIN, SMOLLM, {"projector_hidden": 24}),
    "siglip": (SIGLIP, SMOLLM, {"projector_merge": 3}),
    "dinov2+gpt2": (DINOV2, GPT2, {}),
    "convnext": (CONVNEXT, SMOLLM, {}),
}


@pytest.fixture(scope="session")
def make_model(vocab: Vocabulary) -> Callable[[str], GeneralistForConditionalGeneration]:
    """A new model of the table by its name, with the same weights every time."""

    def make(name: str) -> GeneralistForConditionalGeneration:
        vision, text, rest = MODELS[name]
        # Large weights: a change anywhere shows in the logits.
        text = {**text, "initializer_range": 0.2}
        config = GeneralistConfig.for_vocabulary(vocab, vision_config=vision, text_config=text, **rest)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = GeneralistForConditionalGeneration(config).eval()
            for parameter in (*model.model.vision_tower.parameters(), *model.model.projector.parameters()):
                if parameter.ndim > 1:  # an untrained tower says the same about every image
                    torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
        return model

    return make


@pytest.fixture(scope="session")
def make_batch(vocab: Vocabulary) -> Callable[[GeneralistForConditionalGeneration], dict[str, torch.Tensor]]:
    """Two images with a few words each, as a model takes them."""

    def make(model: GeneralistForConditionalGeneration) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(1)
        height, width = model.config.image_hw
        words = torch.randint(vocab.loc.start, vocab.loc.stop, (2, 7), generator=generator)
        images = torch.full((2, model.config.num_image_tokens), vocab.image)
        return {
            "input_ids": torch.cat([images, words], dim=1),
            "pixel_values": torch.randn(2, 3, height, width, generator=generator),
        }

    return make


@pytest.fixture
def make_checkpoint(
    make_model: Callable[[str], GeneralistForConditionalGeneration], vocab: Vocabulary, tmp_path: Any
) -> Callable[[str], Checkpoint]:
    """A checkpoint folder of a model of the table, and what it holds."""

    def make(name: str) -> Checkpoint:
        model = make_model(name)
        processor = GeneralistProcessor.for_model(model.config, vocab)
        save_checkpoint(tmp_path / name, model, processor, vocab)
        return Checkpoint(model=model, processor=processor, vocabulary=vocab, folder=tmp_path / name)

    return make
