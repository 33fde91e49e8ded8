"""Other vision towers and language models: every weight finds its place, and images look the same.

Built inside the process of the one engine, whose groups of ranks they share, without an engine of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from generalist.model import (
    GeneralistConfig,
    GeneralistForConditionalGeneration,
    GeneralistProcessor,
    save_checkpoint,
)
from generalist.tokens import Vocabulary
from generalist.types import GeneralistError

if TYPE_CHECKING:
    from generalist_serving.vllm_engine.engine import VllmEngine

NARROW: dict[str, Any] = {
    **{"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2},
    "initializer_range": 0.2,
}
SIGLIP = {"model_type": "siglip_vision_model", **NARROW, "image_size": 32, "patch_size": 16}
DINOV2 = {
    "model_type": "dinov2",
    **{"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2},
    **{"image_size": 28, "patch_size": 14},
}
SWIN = {
    "model_type": "swin",
    **{"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2, "image_size": 32, "patch_size": 4},
}
OWN = {"model_type": "generalist_vision", **NARROW, "image_size": 32, "stem": "patch"}
LLAMA = {"model_type": "llama", **NARROW, "tie_word_embeddings": True}
QWEN3 = {"model_type": "qwen3", **NARROW, "num_key_value_heads": 1, "head_dim": 32, "tie_word_embeddings": False}
# no "model." in front of its names, and weights that lie across
GPT2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 128, "tie_word_embeddings": True}

MODELS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "siglip+qwen3": (SIGLIP, QWEN3, {"projector_hidden": 48}),
    "dinov2+gpt2": (DINOV2, GPT2, {}),
    "swin+llama": (SWIN, LLAMA, {"projector_merge": 2}),
    "patch+qwen3": (OWN, QWEN3, {"projector_merge": 2, "projector_hidden": 48}),
}


def saved(name: str, vocab: Vocabulary, folder: Path) -> GeneralistForConditionalGeneration:
    vision, text, rest = MODELS[name]
    config = GeneralistConfig.for_vocabulary(vocab, vision_config=vision, text_config=text, **rest)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GeneralistForConditionalGeneration(config).eval()
    save_checkpoint(folder, model, GeneralistProcessor.for_model(config, vocab), vocab)
    return model


@pytest.mark.parametrize("name", MODELS)
def test_it_is_read_whole_and_sees_the_same(
    name: str, vllm_engine: VllmEngine, vocab: Vocabulary, tmp_path: Path
) -> None:
    ours = saved(name, vocab, tmp_path)
    height, width = ours.config.image_hw
    pixels = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = ours.get_image_features(pixels).pooler_output
    features, words, names = vllm_engine.call(lambda _: features_in_vllm(tmp_path, pixels))
    assert expected is not None and torch.allclose(features, expected, atol=1e-4)
    assert torch.equal(words, ours.get_input_embeddings()(torch.arange(4)).detach())
    assert {name.split(".")[0] for name in names} == {"vision_tower", "projector", "language_model"}


def features_in_vllm(
    folder: Path, pixels: torch.Tensor, **options: Any
) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Features of images, embeddings of the first words, names of all weights: of a model that vLLM has read.

    vLLM itself fails when a weight is left unread, or has no place.
    """
    from vllm.config import set_current_vllm_config
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader import get_model

    arguments = EngineArgs(model=str(folder), dtype="float32", enforce_eager=True, max_model_len=128, **options)
    config = arguments.create_engine_config()
    with set_current_vllm_config(config), torch.inference_mode():
        model: Any = get_model(vllm_config=config)
        words = model.embed_input_ids(torch.arange(4))
        return model.embed_multimodal(pixel_values=pixels), words, [name for name, _ in model.named_parameters()]


def test_tower_adapters_and_embeddings_do_not_go_together(
    vllm_engine: VllmEngine, vocab: Vocabulary, tmp_path: Path
) -> None:
    saved("patch+qwen3", vocab, tmp_path)
    both = {"enable_lora": True, "enable_tower_connector_lora": True, "enable_mm_embeds": True}
    with pytest.raises(GeneralistError, match="enable_mm_embeds and enable_tower_connector_lora are both on; leave"):
        vllm_engine.call(lambda _: features_in_vllm(tmp_path, torch.zeros(1, 3, 32, 32), **both))
