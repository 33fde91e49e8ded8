"""What the codecs are fitted on and measured with, composed and written as npz files.

    python -m generalist.training.codec_data FOLDER

``train.npz``: crops and depths of scenes, without the crops of every tenth concept. ``unseen.npz``: crops of the
concepts left out. ``test.npz``: depths of scenes on backgrounds kept for testing. The formats are those of
:mod:`generalist.training.codecs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

from generalist.decoders.crops import mask_to_payload
from generalist.training.image_arrays import normalised_depth
from generalist.training.script import run
from generalist_datasets.world.backgrounds import PhotoSplit
from generalist_datasets.world.compose import Assets, compose
from generalist_datasets.world.layout import Menu
from generalist_datasets.world.scene import Scene
from generalist_datasets.world.splits import get_split

_SIDE = 192
HELD_OUT = range(3, 10_000, 10)
"""Concept numbers whose shapes no codec is fitted on."""


def scenes(assets: Assets, menu: Menu, seed: int, count: int) -> Iterator[Scene]:
    """``count`` square scenes, the same for the same seed."""
    for number in track(range(count), description="composing"):
        yield compose(np.random.default_rng([seed, number]), assets, menu, width=_SIDE, height=_SIDE)


def training_scenes(photos: PhotoSplit, seed: int, count: int) -> list[Scene]:
    """Scenes of what is trained on, before photographs of a split."""
    split = get_split("train")
    assets = Assets.load(split.styles, photos)
    return list(scenes(assets, split.menu(assets), seed, count))


def crops_by_concept(made: list[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """Packed crops uint8 [N, 512] of every thing, and the concept of each."""
    pairs = [
        (np.packbits(mask_to_payload(s.mask(k))[1]), thing.concept) for s in made for k, thing in enumerate(s.things)
    ]
    return np.array([crop for crop, _ in pairs]), np.array([concept for _, concept in pairs])


def depths(made: list[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """Normalised log depth float16 [N, 96, 96] in 0-1, and nearest and farthest metres float32 [N, 2]."""
    known = [s.depth for s in made if s.depth is not None]
    maps = np.array([normalised_depth(depth) for depth in known], np.float16)
    return maps, np.array([(depth.min(), depth.max()) for depth in known], np.float32)


def main(
    folder: Annotated[Path, typer.Argument(help="Where to write the npz files.")],
    count: Annotated[int, typer.Option(min=100, help="Scenes for training; the others follow.")] = 9000,
) -> None:
    """Compose the data that the codecs are fitted on and measured with (a few minutes)."""
    folder.mkdir(parents=True, exist_ok=True)
    made = training_scenes("train", 100, count)
    crops, concepts = crops_by_concept(made)
    unseen = np.isin(concepts, HELD_OUT)
    maps, ranges = depths(made)
    np.savez(folder / "train.npz", crops=crops[~unseen], depths=maps, ranges=ranges)
    np.savez(folder / "unseen.npz", crops=crops[unseen])
    maps, ranges = depths(training_scenes("test", 200, count // 9))
    np.savez(folder / "test.npz", depths=maps, ranges=ranges)


if __name__ == "__main__":
    run(lambda: typer.run(main))
