"""A tiny random checkpoint of every architecture, made once, and pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.utils import logging

from generalist import Generalist

from .tiny_hub import ARCHITECTURES


@pytest.fixture(scope="session")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of an architecture, by the name of its dialect."""
    root = tmp_path_factory.mktemp("hub")
    logging.set_verbosity_error()
    logging.disable_progress_bar()

    def find(name: str) -> Path:
        folder = root / name
        return folder if folder.is_dir() else ARCHITECTURES[name](folder)

    return find


@pytest.fixture(scope="session")
def hub_model(hub_folder: Callable[[str], Path]) -> Callable[[str], Generalist]:
    """The loaded model of an architecture; shared: do not change it."""
    loaded: dict[str, Generalist] = {}

    def find(name: str) -> Generalist:
        if name not in loaded:
            loaded[name] = Generalist.from_pretrained(hub_folder(name), device="cpu")
        return loaded[name]

    return find


@pytest.fixture(scope="session")
def pictures() -> tuple[Image.Image, Image.Image]:
    """100x60 and 60x160 pixels of noise."""
    rng = np.random.default_rng(0)
    wide, tall = (rng.integers(0, 255, (h, w, 3), dtype=np.uint8) for w, h in ((100, 60), (60, 160)))
    return Image.fromarray(wide), Image.fromarray(tall)
