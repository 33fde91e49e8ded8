"""What the codecs are fitted on and measured with, composed and written as npz files.

    python -m generalist.training.codec_data FOLDER

``train.npz``: crops and depths of scenes, without the crops of every tenth concept. ``more.npz``: crops of scenes
of other pictographs, so that the mask codec sees more shapes. ``unseen.npz``: crops of the concepts left out of
both. ``test.npz``: depths of scenes on backgrounds kept for testing. The formats are those of
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
from generalist.training.packing import normalised_depth
from generalist.training.script import run
from generalist_datasets.scenes import Assets, Scene, compose
from generalist_datasets.sprites import load_sprite, other_sprite_files

HELD_OUT = range(3, 10_000, 10)
"""Concept numbers whose shapes no codec is fitted on."""


def scenes(assets: Assets, seed: int, count: int) -> Iterator[Scene]:
    """``count`` scenes, the same for the same seed."""
    for number in track(range(count), description="composing"):
        yield compose(np.random.default_rng([seed, number]), assets)


def crops_by_concept(made: list[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """Packed crops uint8 [N, 512] of every thing, and the concept of each."""
    pairs = [
        (np.packbits(mask_to_payload(s.mask(k))[1]), thing.concept) for s in made for k, thing in enumerate(s.things)
    ]
    return np.array([crop for crop, _ in pairs]), np.array([concept for _, concept in pairs])


def depths(made: list[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """Normalised log depth float16 [N, 96, 96] in 0-1, and nearest and farthest metres float32 [N, 2]."""
    maps = np.array([normalised_depth(s.depth) for s in made], np.float16)
    return maps, np.array([(s.depth.min(), s.depth.max()) for s in made], np.float32)


def main(
    folder: Annotated[Path, typer.Argument(help="Where to write the npz files.")],
    count: Annotated[int, typer.Option(min=100, help="Scenes for training; the others follow.")] = 9000,
) -> None:
    """Compose the data that the codecs are fitted on and measured with (a few minutes)."""
    folder.mkdir(parents=True, exist_ok=True)
    made = list(scenes(Assets.load("train"), 100, count))
    crops, concepts = crops_by_concept(made)
    unseen = np.isin(concepts, HELD_OUT)
    maps, ranges = depths(made)
    np.savez(folder / "train.npz", crops=crops[~unseen], depths=maps, ranges=ranges)
    np.savez(folder / "unseen.npz", crops=crops[unseen])
    sprites = tuple(load_sprite(path, 112) for path in other_sprite_files())
    others = Assets(names=tuple(map(str, range(len(sprites)))), sprites=sprites, photos=())
    np.savez(folder / "more.npz", crops=crops_by_concept(list(scenes(others, 77, count * 3 // 2)))[0])
    maps, ranges = depths(list(scenes(Assets.load("test"), 200, count // 9)))
    np.savez(folder / "test.npz", depths=maps, ranges=ranges)


if __name__ == "__main__":
    run(lambda: typer.run(main))
