"""A tiny base model on disk, and folders of labelled pictures with coloured squares."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from generalist.decoders import DepthCodec, MaskCodec, depth, mask
from generalist.model import GeneralistConfig, GeneralistForConditionalGeneration, GeneralistProcessor, save_checkpoint
from generalist.tokens import Vocabulary

SIDE = 48
COLOURS = {"red cell": (220, 30, 40), "blue cell": (40, 60, 210)}
NARROW = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}

Things = Sequence[tuple[str, tuple[int, int, int, int]]]


@pytest.fixture(autouse=True)
def nothing_cached(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the machine's cache holds, scenes are composed of what needs no files; threads stay as they are."""
    monkeypatch.setenv("GENERALIST_CACHE", str(tmp_path_factory.getbasetemp() / "no-cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_base(vocab: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with codecs: 32 x 32 images of 4 tokens. Shared: do not change it."""
    vision = {"model_type": "generalist_vision", **NARROW, "num_hidden_layers": 1, "image_size": 32, "stem": "patch"}
    text = {"model_type": "llama", **NARROW, "num_hidden_layers": 3, "tie_word_embeddings": False}
    config = GeneralistConfig.for_vocabulary(vocab, vision_config=vision, text_config=text)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GeneralistForConditionalGeneration(config)
        depths = DepthCodec(vocab.sizes.depth_grid, vocab.sizes.depth_codes).eval()
    folder = tmp_path_factory.mktemp("tiny_base")
    save_checkpoint(folder, model, GeneralistProcessor.for_model(config, vocab), vocab)
    crops = torch.rand(160, 64, 64, generator=torch.Generator().manual_seed(0)) > 0.5
    MaskCodec.fit(crops, entries=vocab.sizes.mask_codes, components=4).save(folder / mask.FILE)
    depths.save(folder / depth.FILE)
    return folder


def paint(things: Things, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """A grey picture with a square of its class's colour for each thing."""
    pixels = np.full((size[1], size[0], 3), 128, np.uint8)
    for name, (x1, y1, x2, y2) in things:
        pixels[y1:y2, x1:x2] = COLOURS[name]
    return Image.fromarray(pixels)


def some_things(number: int) -> Things:
    """One to three squares; every other picture has blue ones."""
    rng = np.random.default_rng(number)
    names = ["red cell"] * int(rng.integers(1, 3)) + ["blue cell"] * (number % 2)
    corners = rng.permutation(4)[: len(names)]
    places = [(int(c % 2) * 24 + int(rng.integers(2, 8)), int(c // 2) * 24 + int(rng.integers(2, 8))) for c in corners]
    return [(name, (x, y, x + 14, y + 12)) for name, (x, y) in zip(names, places, strict=True)]


@pytest.fixture
def boxes_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder of pictures with a table of boxes; by default twelve of two classes."""

    def write(pictures: Mapping[str, Things] | None = None, name: str = "cells") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        pictures = {f"p{k:02d}.png": some_things(k) for k in range(12)} if pictures is None else pictures
        with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["image", "label", "x1", "y1", "x2", "y2"])
            for image, things in pictures.items():
                paint(things).save(folder / image)
                table.writerows([image, label, *xyxy] for label, xyxy in things)
        return folder

    return write


@pytest.fixture
def masks_folder(tmp_path: Path) -> Path:
    """Ten pictures with semantic masks: 0 ground, 1 a square."""
    folder = tmp_path / "masks-data"
    for split, numbers in (("train", range(7)), ("test", range(7, 10))):
        for part in ("images", "masks"):
            (folder / split / part).mkdir(parents=True)
        for number in numbers:
            things = some_things(number)[:1]
            paint(things).save(folder / split / "images" / f"{number}.png")
            labels = np.zeros((SIDE, SIDE), np.uint8)
            (x1, y1, x2, y2) = things[0][1]
            labels[y1:y2, x1:x2] = 1
            Image.fromarray(labels).save(folder / split / "masks" / f"{number}.png")
    return folder
