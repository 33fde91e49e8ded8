"""What is known of words beyond concepts' names speaks of concepts that there are."""

from __future__ import annotations

import numpy as np

from generalist_datasets.world import ask_words
from generalist_datasets.world.ask import Questioner
from generalist_datasets.world.concepts import CONCEPTS, NUMBER
from generalist_datasets.world.scene import SURFACES, Camera, Scene, Thing

NAMES = {concept.name for concept in CONCEPTS}
CATEGORIES = {concept.category for concept in CONCEPTS}


def test_words_are_those_of_the_world() -> None:
    loose = {name for names in ask_words.LOOSELY.values() for name in names}
    doubtful = {name for names in ask_words.DOUBTFUL.values() for name in names}
    assert {*ask_words.LOOSELY, *ask_words.PARTS, *loose, *doubtful, *ask_words.SCENERY} <= NAMES
    assert {synonym for concept in CONCEPTS for synonym in concept.synonyms} >= ask_words.AWKWARD
    shown = {
        category for categories in (*ask_words.PARTS.values(), *ask_words.LIKE.values()) for category in categories
    }
    assert {*ask_words.CATEGORY_ANSWERS, *ask_words.DOUBTFUL, *shown, *ask_words.WEARERS, ask_words.WORN} <= CATEGORIES
    assert set(ask_words.SURFACE_WORDS) == {*SURFACES} - {"photo"}


def test_words_that_may_mean_something_else_there() -> None:
    """Beside the first, the second cannot be spoken of without doubt."""
    questioner = Questioner(concepts=CONCEPTS)
    for there, word in [
        ("poodle", "dog"), ("fir tree", "tree"), ("owl", "bird"), ("glass of milk", "glass"),
        ("cyclist", "bicycle"), ("teddy bear", "bear"), ("ice cube", "cube"), ("doughnut", "torus"), ("dog", "ear"),
        ("chef", "coat"), ("car", "wheel"), ("bow and arrow", "bow"), ("locomotive", "train"),
    ]:  # fmt: skip
        assert questioner.meaning(_scene(there), word) is None, (there, word)
    for there, word in [("dog", "cat"), ("poodle", "cat"), ("ladder", "wheel"), ("dog", "coat"), ("cube", "ice cube")]:
        assert questioner.meaning(_scene(there), word) == (), (there, word)


def _scene(name: str) -> Scene:
    """A scene with one thing, of known depth."""
    thing = Thing(concept=NUMBER[name], xyxy=(0.0, 0.0, 0.5, 0.5), distance=2.0)
    blank = np.zeros((2, 2), np.uint8)
    instances = blank.copy()
    instances[0, 0] = 1
    return Scene(
        image=np.zeros((2, 2, 3), np.uint8), instances=instances, surfaces=blank + 1, depth=blank + np.float32(5),
        things=(thing,), camera=Camera(focal=(1.1, 1.1), centre=(0.5, 0.4), eye=1.1),
    )  # fmt: skip
