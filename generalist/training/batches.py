"""Where batches come from: worker processes compose scenes, the training process adds the codecs' codes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import torch

from generalist.decoders import DepthCodec, MaskCodec
from generalist.tokens import Vocabulary
from generalist.training.examples import NOTHING, Batch, Example, ImageArrays, collate
from generalist.training.image_arrays import image_arrays
from generalist.training.packing import Packer
from generalist.training.recipe import BATCHES_A_CHUNK, Recipe
from generalist_datasets.world.ask import Questioner, ask_about
from generalist_datasets.world.compose import Assets, compose
from generalist_datasets.world.layout import Menu
from generalist_datasets.world.scene import Scene

SceneNumbers: TypeAlias = tuple[int, int, int, int]
"""Seed, chunk, and within the chunk: number of the scene and 0, or first scene of a batch and number of the look."""

_BOXES_ONLY = 0.12
"""The share of a run from nothing that asks for boxes alone."""


class SceneBatches(torch.utils.data.Dataset[list[Batch]]):
    """Chunk number -> its batches; the same for the same seed, however many workers compose them.

    ``side``: of the square scenes, in pixels. ``batch["scenes"]`` int64 [images, 4] tells every scene's numbers:
    ``numpy.random.default_rng`` of them composes it again.
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
        for number in range(size * BATCHES_A_CHUNK):
            # numpy takes a trailing 0 for nothing, so these are no looks
            numbers = (self.recipe.seed, chunk, number, 0)
            rng = np.random.default_rng(numbers)
            scene = self._compose(rng)
            questions = ask_about(rng, self.questioner, scene, boxes_only=boxes_only)
            examples.append((numbers, self.packer.pack(rng, scene, questions)))
        examples.sort(key=lambda e: len(e[1].ids))
        batches = [self._batch(chunk, k, examples[k : k + size]) for k in range(0, len(examples), size)]
        np.random.default_rng([self.recipe.seed, chunk]).shuffle(batches)
        return batches

    def _batch(self, chunk: int, first: int, examples: Sequence[tuple[SceneNumbers, Example]]) -> Batch:
        looks = [self._look((self.recipe.seed, chunk, first, k)) for k in range(1, self.recipe.looks + 1)]
        arrays = [arrays for _, arrays in looks]
        batch = collate([example for _, example in examples], self.packer.vocab.pad, arrays)
        batch["scenes"] = torch.tensor([numbers for numbers, _ in [*examples, *looks]])
        return batch

    def _look(self, numbers: SceneNumbers) -> tuple[SceneNumbers, ImageArrays]:
        """A scene that nothing is asked about."""
        return numbers, image_arrays(self._compose(np.random.default_rng(numbers)), self.packer.grid)

    def _compose(self, rng: np.random.Generator) -> Scene:
        return compose(rng, self.assets, self.menu, width=self.side, height=self.side)


def upcoming(scenes: SceneBatches, process: int, step: int, workers: int) -> Iterator[list[Batch]]:
    """What a process learns from in each step from ``step`` on: ``accumulate`` batches.

    ``workers``: further processes that compose; 0 to compose in this one.
    """
    recipe = scenes.recipe
    first, skip = divmod(step * recipe.accumulate, BATCHES_A_CHUNK)
    loader = torch.utils.data.DataLoader(
        scenes,
        batch_size=None,
        sampler=range(process + first * recipe.processes, recipe.chunks, recipe.processes),
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        worker_init_fn=_leave_signals_to_the_trainer,
    )
    gathered: list[Batch] = []
    for chunk in loader:
        for batch in chunk[skip:]:
            gathered.append(batch)
            if len(gathered) == recipe.accumulate:
                yield gathered
                gathered = []
        skip = 0


def _leave_signals_to_the_trainer(worker: int) -> None:
    """A signal often goes to a whole group of processes; the trainer needs scenes until it has saved its state.

    A worker ends when the trainer wants no more, or is no more.
    """
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.SIG_IGN)


class CodeFiller(torch.nn.Module):
    """Puts the codecs' codes into a batch: what composing workers leave open."""

    def __init__(self, vocab: Vocabulary, masks: MaskCodec, depths: DepthCodec, temperature: float) -> None:
        super().__init__()
        self.vocab, self.masks, self.depths, self.temperature = vocab, masks, depths, temperature

    @torch.no_grad()
    def forward(self, batch: Batch) -> torch.Tensor:
        """Fills ``batch["ids"]``, and adds what wrong codes cost; returns soft mask targets.

        Those are [B, K, mask_length, mask_codes], as is ``batch["mask_costs"]``, the share of pixels that a code gets
        wrong; ``batch["depth_costs"]`` [depth_codes, depth_codes] tells how unlike two codes are.
        """
        sizes = self.vocab.sizes
        there = batch["cropped"]
        crops = batch["crops"][there]
        shape = (*there.shape, sizes.mask_length)
        codes = torch.zeros(shape, dtype=torch.long, device=there.device)
        soft = torch.zeros(*shape, sizes.mask_codes, device=there.device)
        costs = torch.zeros_like(soft)
        if len(crops):
            codes[there] = self.masks.encode(crops)
            soft[there] = self.masks.soft_targets(crops, self.temperature)
            costs[there] = self.masks.wrong_shares(crops)
        batch["mask_costs"], batch["depth_costs"] = costs, self.depths.entry_distances()
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
