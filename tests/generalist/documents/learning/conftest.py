"""A collection that there is something to learn from, in the tokens of a tiny language model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from generalist.documents import Collection, build_index
from generalist.documents.learning.material import Material
from generalist_datasets.records import Document

ANIMALS = ("fox", "hen", "owl", "cow", "bee", "elk")
PLACES = ("Oslo", "Lima", "Cairo", "Delhi", "Paris", "Quito")
NOTES = tuple(
    Document(
        id=f"{animal}.md",
        title=f"The {animal}",
        text=(
            f"The {animal} came to {place} in {1900 + number}. It was seen by {number + 12} people near the bridge.\n\n"
            f"Nobody in {place} had ever fed a {animal} before. See [the next one]({following}.md) for more.\n\n"
            f"Later the {animal} slept under the big tree, because winters in {place} are cold. Yes."
        ),
    )
    for number, (animal, place, following) in enumerate(zip(ANIMALS, PLACES, (*ANIMALS[1:], "ape"), strict=True))
)


@pytest.fixture(scope="session")
def _notes(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notes") / "index"
    build_index(NOTES, folder, base=llama)
    return folder


@pytest.fixture(scope="session")
def notes(_notes: Path) -> Collection:
    """The index of ``NOTES``. Shared: do not change it."""
    return Collection.open(_notes)


@pytest.fixture
def own_notes(_notes: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(_notes, tmp_path / "notes"))


@pytest.fixture(scope="session")
def material(notes: Collection) -> Material:
    return Material.of(notes)
