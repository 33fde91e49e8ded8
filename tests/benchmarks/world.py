"""The composed world: how fast it is composed, and that workers change nothing.

    python tests/benchmarks/world.py

Speed is of one process on one core at 224 x 224 pixels: scenes of sprites alone, scenes with solids, the training
mixture, and the mixture with its questions. Then the same items are composed with 0, 1 and 3 workers of torch's
DataLoader and compared bit for bit.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable
from typing import Annotated

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core: before numpy and torch are imported

import numpy as np
import torch
import typer

from generalist_datasets.world.compose import compose
from generalist_datasets.world.dataset import World


def rate(make: Callable[[int], object], count: int) -> float:
    """How many a second, after a few that do not count."""
    for number in range(20):
        make(number)
    began = time.process_time()
    for number in range(count):
        make(number)
    return count / (time.process_time() - began)


def digests(world: World, workers: int) -> list[bytes]:
    loader: Iterable[bytes] = torch.utils.data.DataLoader(
        _Digests(world), batch_size=None, num_workers=workers, prefetch_factor=8 if workers else None
    )
    return list(loader)


class _Digests(torch.utils.data.Dataset[bytes]):
    """Hashes of items, so that only they travel between processes."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __len__(self) -> int:
        return len(self.world)

    def __getitem__(self, index: int) -> bytes:
        if index >= len(self.world):
            raise IndexError(index)
        return self.world[index].digest()


def main(
    scenes: Annotated[int, typer.Option(min=20, help="Scenes that each speed is measured on.")] = 600,
    same: Annotated[int, typer.Option(min=1, help="Items to compare between workers.")] = 1000,
) -> None:
    """Measure the world."""
    world = World("train", count=max(scenes, same))
    menu = world.split.menu(world.assets)
    for name, solids in (("sprites alone", 0.0), ("with solids", 1.0), ("training mixture", menu.solids)):
        chosen = dataclasses.replace(menu, solids=solids)

        def one(number: int, chosen: object = chosen) -> object:
            return compose(np.random.default_rng([9, number]), world.assets, chosen)  # type: ignore[arg-type]

        print(f"{name:32s} {rate(one, scenes):6.0f} images/s a core")
    print(f"{'training mixture, with questions':32s} {rate(world.__getitem__, scenes):6.0f} images/s a core")
    world = World("train", count=same, assets=world.assets)
    expected = digests(world, 0)
    for workers in (1, 3):
        verdict = "the same" if digests(world, workers) == expected else "DIFFERENT"
        print(f"{same} items with {workers} worker(s): {verdict}")


if __name__ == "__main__":
    typer.run(main)
