"""A tiny random model in a checkpoint folder, for everything that needs a model but not its answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from generalist.model import Checkpoint
from generalist.tokens import Vocabulary


@pytest.fixture(scope="session")
def tiny_checkpoint(vocab: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Saved and loaded again: 32 x 32 images of 4 tokens, width 32. Shared: do not change it.

    Weights are large, so that different prompts and images get clearly different logits.
    """
    from generalist.model import (
        GeneralistConfig,
        GeneralistForConditionalGeneration,
        GeneralistProcessor,
        load_checkpoint,
        save_checkpoint,
    )

    narrow = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = GeneralistConfig.for_vocabulary(
        vocab,
        vision_config={"model_type": "generalist_vision", **narrow, "image_size": 32, "stem": "patch"},
        text_config={"model_type": "llama", **narrow, "initializer_range": 0.2},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GeneralistForConditionalGeneration(config)
    folder = tmp_path_factory.mktemp("tiny_checkpoint")
    save_checkpoint(folder, model, GeneralistProcessor.for_model(config, vocab), vocab)
    return load_checkpoint(folder)


@pytest.fixture(scope="session")
def drawer_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny random model that draws, by its name in ``random_drawers.DRAWERS``; made when asked for."""
    from .random_drawers import DRAWERS

    root = tmp_path_factory.mktemp("drawers")

    def find(name: str) -> Path:
        folder = root / name
        return folder if folder.is_dir() else DRAWERS[name](folder)

    return find
