"""What the tests of every package share: a vocabulary small enough to make in milliseconds."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from generalist.tokens import Vocabulary, VocabularySizes

if TYPE_CHECKING:
    from generalist_datasets.world.compose import Assets
    from generalist_datasets.world.layout import Menu

SENTENCES = (
    "The dog is asleep (on a sofa). Where is the red mug? Segment the cat.",
    "There are 12 boxes, a point, a mask, a depth map and a doc.",
    "- Name: the dog Unit: box Num: 2\n- Name: the cat Unit: mask Num: 10\n",
)


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


@pytest.fixture(scope="session")
def vocab() -> Vocabulary:
    """Byte-level BPE of three sentences, 64 locations, 16 mask codes (x 16), 32 depth codes (x 8 x 8)."""
    return Vocabulary.extend(make_tokenizer(), VocabularySizes(locs=64, mask_codes=16, depth_codes=32))


@pytest.fixture(scope="session")
def ids(vocab: Vocabulary) -> Callable[[str], list[int]]:
    """Token ids of a reply as one reads it: names of special tokens become those, the rest is text."""
    names = {vocab.name(i): i for i in vocab.special_ids}
    unit_ends = [r"\((?=<Unit>)", r"(?<=[>\]])\)"]  # a unit's parentheses are tokens of their own
    longest_first = sorted(names, key=len, reverse=True)
    special = re.compile("(" + "|".join([*map(re.escape, longest_first), *unit_ends]) + ")")

    def write(written: str) -> list[int]:
        parts = [p for p in special.split(written) if p]
        return [i for p in parts for i in ([names[p]] if p in names else vocab.encode_text(p))]

    return write


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A folder of real data by name: in ``shared/data`` beside the repository, or in $GENERALIST_TEST_DATA.

    The data may not be copied into the repository, so a test that asks for what is not there is skipped.
    """
    beside = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    root = Path(os.environ.get("GENERALIST_TEST_DATA") or beside).resolve()

    def find(name: str) -> Path:
        folder = root / name
        if not folder.is_dir():
            pytest.skip(f"real data {name!r} is not in {root}; set GENERALIST_TEST_DATA to its folder")
        return folder

    return find


def painted_shapes() -> dict[str, np.ndarray]:
    """Four named sprites, uint8 [64, 64, 4] with premultiplied colour."""
    side = 64
    y, x = np.mgrid[:side, :side] / (side - 1) * 2 - 1
    radius = np.hypot(x, y)
    shapes = {
        "red disc": (radius <= 1, (230, 30, 30)),
        "green square": (np.ones_like(radius, bool), (30, 200, 40)),
        "blue ring": ((radius <= 1) & (radius >= 0.5), (40, 60, 230)),
        "yellow bar": ((np.abs(y) < 0.3), (230, 210, 30)),
    }
    sprites = {}
    for name, (shape, colour) in shapes.items():
        sprite = np.dstack([shape[..., None] * np.array(colour), shape * 255]).astype(np.uint8)
        rows = np.flatnonzero(shape.any(1))
        sprites[name] = np.ascontiguousarray(sprite[rows[0] : rows[-1] + 1])
    return sprites


@pytest.fixture(scope="session")
def toy_assets() -> Assets:
    """A small world of painted shapes, in two styles, and solids; no photographs, nothing is fetched."""
    from generalist_datasets.world.compose import Assets
    from generalist_datasets.world.concepts import Concept
    from generalist_datasets.world.solids import SHAPES

    painted = painted_shapes()
    concepts = [Concept(name=name, category="shape", synonyms=(f"{name} thing",)) for name in painted]
    concepts += [Concept(name=shape, category="solid") for shape in SHAPES]
    sprites = tuple((picture,) for picture in painted.values()) + ((),) * len(SHAPES)
    return Assets(concepts=tuple(concepts), sprites={"fluent": sprites, "noto": sprites})


@pytest.fixture(scope="session")
def toy_menu() -> Menu:
    """Everything that the toy world has."""
    from generalist_datasets.world.layout import Menu
    from generalist_datasets.world.solids import COLOURS, SHAPES

    pairs = tuple((colour, shape) for colour in COLOURS for shape in SHAPES)
    return Menu(concepts=(0, 1, 2, 3), styles=("fluent",), pairs=pairs)
