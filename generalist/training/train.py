"""Train the small default model on composed scenes: everything that ``generalist train`` does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from accelerate import PartialState
from accelerate.utils import is_bf16_available

from generalist.training.finish import evaluate, finish
from generalist.training.recipe import Precision, Recipe, Shape, check_recipe
from generalist.training.run import Run, claim_folder
from generalist.training.start import begin, check_beginning
from generalist.types import GeneralistError
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.splits import get_split


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What the program is asked for. ``workers`` None: one for each processor that the process has to itself."""

    out: Path
    start: str = ""
    codecs: Path | None = None
    new_tokenizer: bool = False
    images: int = 60_000
    batch_size: int = 16
    accumulate: int = 1
    looks: int = 32
    learning_rate: float = 1.5e-3
    schedule: Shape = "cosine"
    hold: float = 0.4
    warmup_steps: int = 60
    ema: float = 0.999
    agvm: bool = False
    precision: Precision | Literal["auto"] = "auto"
    seed: int = 0
    workers: int | None = None
    evaluate: bool = False

    def recipe(self, processes: int) -> Recipe:
        precision: Precision = "bf16" if is_bf16_available() else "no"
        return Recipe(
            images=self.images,
            batch_size=self.batch_size,
            accumulate=self.accumulate,
            processes=processes,
            looks=self.looks,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            hold=self.hold,
            warmup_steps=self.warmup_steps,
            ema=self.ema,
            agvm=self.agvm,
            precision=precision if self.precision == "auto" else self.precision,
            seed=self.seed,
            start=self.start,
            new_tokenizer=self.new_tokenizer,
        )


def train(options: TrainOptions) -> None:
    """Train, or go on; then fit what belongs to the checkpoint, and measure it. Called again it goes on.

    One folder holds the results: ``recipe.json``, ``log.jsonl``, ``tensorboard/``, ``checkpoint/`` and
    ``evaluation/``; ``state/`` is what a run goes on from. Raises :class:`GeneralistError`, and
    :class:`~generalist.training.run.Interrupted` when a signal ends the run.
    """
    # Whatever can be wrong is looked at before assets are fetched and models are loaded.
    if options.workers is not None and options.workers < 0:
        raise GeneralistError(f"--workers is {options.workers}; use 0 or more")
    check_beginning(options.start, options.codecs, new_tokenizer=options.new_tokenizer)
    processes = _processes()
    recipe = options.recipe(processes.num_processes)
    check_recipe(recipe)
    with processes.main_process_first():
        claim_folder(options.out, recipe)
    torch.manual_seed(recipe.seed)
    with processes.main_process_first():  # one process downloads
        beginning = begin(options.start, options.codecs, new_tokenizer=options.new_tokenizer)
        split = get_split("train")
        assets = Assets.load(split.styles, split.photos)
    workers = _workers(processes.num_processes) if options.workers is None else options.workers
    run = Run(options.out, recipe, beginning, assets=assets, menu=split.menu(assets), workers=workers)
    run.resume()
    run.train()
    checkpoint = run.export()
    is_first = processes.is_main_process
    processes.destroy_process_group()  # what follows is the work of one
    if is_first:
        finish(checkpoint)
        if options.evaluate:
            evaluate(checkpoint, options.out / "evaluation")


def _processes() -> PartialState:
    """The processes of this run. On a machine without an accelerator, torchrun starts several on the CPU."""
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true") or not torch.accelerator.is_available()
    return PartialState(cpu=on_cpu)


def _workers(processes: int) -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available // processes - 1)
