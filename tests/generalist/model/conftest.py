"""One table of tiny models: every kind of vision tower and language model that the tests hold alike."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from generalist.model import GeneralistConfig, GeneralistForConditionalGeneration

VOCAB_SIZE, IMAGE, PAD, BOS, EOS = 60, 5, 0, 1, 2

NARROW = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
OWN: dict[str, Any] = {"model_type": "generalist_vision", **NARROW, "image_size": 64}
SIGLIP = {"model_type": "siglip_vision_model", **NARROW, "image_size": 32, "patch_size": 16}
DINOV2 = {
    "model_type": "dinov2",
    **{name: NARROW[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")},
    "mlp_ratio": 2,
    "image_size": 28,
    "patch_size": 14,
}
SWIN = {
    "model_type": "swin",
    **{"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2, "image_size": 32, "patch_size": 4},
    "drop_path_rate": 0.0,
}
LLAMA = {"model_type": "llama", **NARROW, "tie_word_embeddings": False}
SMOLLM = {"model_type": "llama", **NARROW, "num_key_value_heads": 2, "tie_word_embeddings": True}
QWEN3 = {"model_type": "qwen3", **NARROW, "num_key_value_heads": 2, "head_dim": 16, "tie_word_embeddings": True}
# positions are learnt and the embedding has another name
GPT2 = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "tie_word_embeddings": True}

# name: vision tower, language model, the rest of the configuration
MODELS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "mbconv+llama": (OWN, LLAMA, {}),
    "patch+smollm": ({**OWN, "stem": "patch"}, SMOLLM, {"projector_merge": 2}),
    "siglip+qwen3": (SIGLIP, QWEN3, {"projector_hidden": 24}),
    "dinov2+smollm": (DINOV2, SMOLLM, {}),
    "registers+gpt2": ({**DINOV2, "model_type": "dinov2_with_registers", "num_register_tokens": 3}, GPT2, {}),
    "swin+qwen3": (SWIN, QWEN3, {"projector_merge": 2, "projector_hidden": 24}),
}


def make_config(name: str) -> GeneralistConfig:
    vision, text, rest = MODELS[name]
    ids = {"vocab_size": VOCAB_SIZE, "pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
    # Large weights: near-equal logits would let rounding decide between tokens.
    return GeneralistConfig(
        vision_config=vision, text_config={**text, **ids, "initializer_range": 0.25}, image_token_id=IMAGE, **rest
    )


def make_model(name: str) -> GeneralistForConditionalGeneration:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GeneralistForConditionalGeneration(make_config(name)).eval()
        for parameter in (*model.model.vision_tower.parameters(), *model.model.projector.parameters()):
            if parameter.ndim > 1:  # an untrained tower says the same about every image
                torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model


@pytest.fixture(scope="session", params=list(MODELS))
def model(request: pytest.FixtureRequest) -> GeneralistForConditionalGeneration:
    """Each model of the table in turn. Shared: do not change it."""
    return make_model(request.param)


@pytest.fixture(scope="session")
def one_model() -> GeneralistForConditionalGeneration:
    """A single model, for what does not depend on the parts."""
    return make_model("patch+smollm")


@pytest.fixture
def fresh_model() -> GeneralistForConditionalGeneration:
    """A single model that a test may change."""
    return make_model("patch+smollm")
