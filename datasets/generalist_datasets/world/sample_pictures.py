"""The sample pictures of the repository with their boxes, composed without photographs so that anyone may use them.

python -m generalist_datasets.world.sample_pictures datasets/samples
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from generalist.types import GeneralistError
from generalist_datasets.world.compose import Assets, compose
from generalist_datasets.world.concepts import CONCEPTS, NUMBER
from generalist_datasets.world.layout import Menu
from generalist_datasets.world.sprites import load_sprites

SAMPLES: dict[str, tuple[tuple[str, ...], int]] = {
    "orchard": (("red apple", "ladder", "tree", "basket", "butterfly"), 27),
    "desk": (("laptop", "scissors", "alarm clock", "potted plant", "headphones"), 25),
    "street": (("car", "bicycle", "traffic light", "dog", "bus"), 2),
    "picnic": (("watermelon", "teapot", "croissant", "croissant", "basket"), 32),
}
"""Name -> (what is in it, seed)."""


def write_samples(folder: Path, width: int = 640, height: int = 480) -> None:
    """Write every sample as a PNG into ``folder``, and ``boxes.csv`` with what is where."""
    assets = Assets(concepts=CONCEPTS, sprites={"fluent": load_sprites("fluent", 256)})
    menu = Menu(concepts=tuple(range(len(CONCEPTS))), styles=("fluent",))
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, ...]] = [("image", "label", "x1", "y1", "x2", "y2")]
    for name, (things, seed) in SAMPLES.items():
        concepts = [NUMBER[thing] for thing in things]
        scene = compose(np.random.default_rng(seed), assets, menu, width=width, height=height, concepts=concepts)
        Image.fromarray(scene.image).save(folder / f"{name}.png")
        for thing in scene.things:
            box = (str(round(v * side)) for v, side in zip(thing.xyxy, (width, height) * 2, strict=True))
            rows.append((f"{name}.png", CONCEPTS[thing.concept].name, *box))
    with (folder / "boxes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    try:
        write_samples(Path(sys.argv[1] if len(sys.argv) > 1 else "datasets/samples"))
    except GeneralistError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
