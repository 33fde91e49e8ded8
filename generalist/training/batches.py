"""Where batches come from: worker processes compose scenes, the training process adds the codecs' codes."""

from __future__ import annotations

import numpy as np
import torch

from generalist.decoders import DepthCodec, MaskCodec
from generalist.tokens import Vocabulary
from generalist.training.packing import NOTHING, Batch, ImageArrays, Packer, collate
from generalist.training.recipe import BATCHES_A_CHUNK, Recipe
from generalist_datasets.world.ask import Questioner, ask_about
from generalist_datasets.world.compose import Assets, compose
from generalist_datasets.world.layout import Menu

_BOXES_ONLY = 0.12
"""The share of a run from nothing that asks for boxes alone."""


class SceneBatches(torch.utils.data.Dataset[list[Batch]]):
    """Chunk number -> its batches; the same for the same seed, however many workers compose them.

    ``side``: of the square scenes, in pixels.
    """

    def __init__(self, recipe: Recipe, assets: Assets, menu: Menu, packer: Packer, side: int) -> None:
        self.recipe, self.assets, self.menu, self.packer, self.side = recipe, assets, menu, packer, side
        # What is held out may not be named either, not even as absent.
        self.questioner = Questioner(concepts=assets.concepts, absent=menu.concepts, pairs=menu.pairs)

    def __len__(self) -> int:
        return self.recipe.chunks

    def __getitem__(self, chunk: int) -> list[Batch]:
        torch.set_num_threads(1)
        size = self.recipe.batch_size
        boxes_only = not self.recipe.start and chunk < _BOXES_ONLY * self.recipe.chunks
        examples = []
        for k in range(size * BATCHES_A_CHUNK):
            rng = np.random.default_rng([self.recipe.seed, chunk, k])
            scene = compose(rng, self.assets, self.menu, width=self.side, height=self.side)
            questions = ask_about(rng, self.questioner, scene, boxes_only=boxes_only)
            examples.append(self.packer.pack(rng, scene, questions))
        examples.sort(key=lambda e: len(e.ids))
        pad = self.packer.vocab.pad
        batches = [
            collate(examples[k : k + size], pad, self._looks(chunk, k)) for k in range(0, len(examples), size)
        ]
        np.random.default_rng([self.recipe.seed, chunk]).shuffle(batches)
        return batches

    def _looks(self, chunk: int, batch: int) -> list[ImageArrays]:
        """Scenes that nothing is asked about."""
        looks = []
        for k in range(1, self.recipe.looks + 1):  # numpy takes a trailing 0 for nothing
            rng = np.random.default_rng([self.recipe.seed, chunk, batch, k])
            scene = compose(rng, self.assets, self.menu, width=self.side, height=self.side)
            looks.append(self.packer.image_arrays(scene))
        return looks


class CodeFiller(torch.nn.Module):
    """Puts the codecs' codes into a batch: what composing workers leave open."""

    def __init__(self, vocab: Vocabulary, masks: MaskCodec, depths: DepthCodec, temperature: float) -> None:
        super().__init__()
        self.vocab, self.masks, self.depths, self.temperature = vocab, masks, depths, temperature

    @torch.no_grad()
    def forward(self, batch: Batch) -> torch.Tensor:
        """Fills ``batch["ids"]`` in place; returns soft mask targets [B, K, mask_length, mask_codes]."""
        sizes = self.vocab.sizes
        there = batch["cropped"]
        crops = batch["crops"][there]
        shape = (*there.shape, sizes.mask_length)
        codes = torch.zeros(shape, dtype=torch.long, device=there.device)
        soft = torch.zeros(*shape, sizes.mask_codes, device=there.device)
        if len(crops):
            codes[there] = self.masks.encode(crops)
            soft[there] = self.masks.soft_targets(crops, self.temperature)
        image, position = (batch["mask_code"] != NOTHING).nonzero(as_tuple=True)
        thing, code = batch["things"][image, position], batch["mask_code"][image, position]
        batch["ids"][image, position] = self.vocab.mask.start + codes[image, thing, code]
        deep = (batch["depth_code"] != NOTHING).any(1).nonzero()[:, 0]
        if len(deep):
            image, position = (batch["depth_code"] != NOTHING).nonzero(as_tuple=True)
            depth_codes = torch.zeros(len(there), sizes.depth_grid**2, dtype=torch.long, device=there.device)
            depth_codes[deep] = self.depths.encode(batch["depth"][deep])
            cells = batch["depth_code"][image, position]
            batch["ids"][image, position] = self.vocab.depth.start + depth_codes[image, cells]
        return soft
