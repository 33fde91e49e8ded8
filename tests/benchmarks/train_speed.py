"""How fast nano is trained: scenes, questions and positions a second, and what of a step is composing and learning.

    python tests/benchmarks/train_speed.py                           the default mixture
    python tests/benchmarks/train_speed.py --questions 3 --looks 0   fewer questions a scene, nothing to look at alone

Scenes are composed beforehand, as a worker process does beside the training. Steps of the same batches are timed after
two that warm up; the figure is their median.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer

from generalist.training import batches
from generalist.training.examples import Batch
from generalist.training.recipe import Recipe
from generalist.training.run import Run, claim_folder
from generalist.training.start import begin
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.question import Question
from generalist_datasets.world.splits import get_split

_WARM_UP = 2


def main(
    start: str = "nano",
    questions: Annotated[int, typer.Option(min=0, help="At most so many a scene; 0 for all.")] = 0,
    looks: Annotated[int, typer.Option(min=0)] = 16,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    threads: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Time the steps of one chunk of batches."""
    recipe = Recipe(images=8 * batch_size, batch_size=batch_size, looks=looks, start=start, seed=1)
    split = get_split("train")
    assets = Assets.load(split.styles, split.photos)
    asked: list[int] = []

    def some(*given: Any, **options: Any) -> list[Question]:
        found = ask_about(*given, **options)[: questions or None]
        asked.append(len(found))
        return found

    ask_about = batches.ask_about
    with tempfile.TemporaryDirectory() as folder, patch.object(batches, "ask_about", some):
        claim_folder(Path(folder), recipe)
        run = Run(Path(folder), recipe, begin(start, None), assets=assets, menu=split.menu(assets))
        began = time.monotonic()
        chunk = run.scenes[0]
        composing = (time.monotonic() - began) / len(chunk)
        torch.set_num_threads(threads)
        steps = [timed(run, batch) for batch in [*chunk[:_WARM_UP], *chunk][: _WARM_UP + len(chunk)]][_WARM_UP:]
    step = statistics.median(steps)
    positions = statistics.mean(int((batch["segments"] >= 0).sum()) for batch in chunk)
    images = chunk[0]["image"].shape[0]
    each = statistics.mean(asked)
    print(f"a step of {batch_size} scenes with {each:.1f} questions each, {images - batch_size} looks")
    print(f"learning   {step:.2f} s ({min(steps):.2f} to {max(steps):.2f}), {threads} threads")
    print(f"composing  {composing:.2f} s on one core, beside it")
    print(f"a second   {batch_size / step:.1f} scenes, {images / step:.1f} images, "
          f"{each * batch_size / step:.0f} questions, {positions / step:.0f} positions")  # fmt: skip


def timed(run: Run, batch: Batch) -> float:
    began = time.monotonic()
    run.learner.learn(0, [batch])
    return time.monotonic() - began


if __name__ == "__main__":
    typer.run(main)
