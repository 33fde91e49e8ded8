"""A tiny model in the toy world, so that a whole run takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from generalist.tokens import Vocabulary

if TYPE_CHECKING:
    from generalist.training.recipe import Recipe
    from generalist.training.run import Run
    from generalist.training.start import Beginning
    from generalist_datasets.world.compose import Assets
    from generalist_datasets.world.layout import Menu

TEXT = {
    "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 2, "tie_word_embeddings": False,
}  # fmt: skip
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="session")
def new_beginning(vocab: Vocabulary) -> Callable[[], Beginning]:
    """Makes the same tiny model every time, with one mask codec and one depth codec."""
    import torch

    from generalist.decoders import DepthCodec, MaskCodec
    from generalist.model import GeneralistConfig, GeneralistForConditionalGeneration
    from generalist.training.start import Beginning

    crops = torch.rand(160, 64, 64, generator=torch.Generator().manual_seed(0)) > 0.5
    masks = MaskCodec.fit(crops, entries=vocab.sizes.mask_codes, components=4)
    depths = DepthCodec(vocab.sizes.depth_grid, vocab.sizes.depth_codes).eval()

    def begin() -> Beginning:
        torch.manual_seed(1)
        config = GeneralistConfig.for_vocabulary(vocab, vision_config=VISION, text_config=TEXT)
        model = GeneralistForConditionalGeneration(config)
        return Beginning(model=model, vocab=vocab, masks=masks, depths=depths, trained=False)

    return begin


@pytest.fixture(scope="session")
def make_run(
    new_beginning: Callable[[], Beginning], toy_assets: Assets, toy_menu: Menu
) -> Callable[[Path, Recipe], Run]:
    """A run in a folder, from the same beginning every time."""
    from accelerate.state import AcceleratorState

    from generalist.training.run import Run, claim_folder

    def make(folder: Path, recipe: Recipe) -> Run:
        claim_folder(folder, recipe)
        AcceleratorState._reset_state()  # a process has one precision for its life, but for tests
        return Run(folder, recipe, new_beginning(), assets=toy_assets, menu=toy_menu)

    return make
