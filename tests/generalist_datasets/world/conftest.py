"""Scenes made by hand for tests of questions: boxes and ellipses that stand for things; what they look like is moot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from generalist_datasets.world.concepts import Concept
from generalist_datasets.world.scene import REMNANT, SURFACES, Camera, Scene, Thing

SIDE = 96

ASKED_CONCEPTS = (
    Concept(name="dog", category="animal", synonyms=("hound",)),
    Concept(name="poodle", category="animal", implies=("dog",)),
    Concept(name="cat", category="animal"),
    Concept(name="goose", category="animal"),
    Concept(name="unicorn", category="animal"),
    Concept(name="car", category="vehicle", synonyms=("automobile",)),
    Concept(name="knife", category="tool"),
    Concept(name="old knife", category="tool"),
    Concept(name="tree", category="plant"),
    Concept(name="scissors", category="tool", synonyms=("pair of scissors",)),
    Concept(name="bacon", category="food"),
    Concept(name="Tokyo Tower", category="place"),
    Concept(name="cup of tea", category="drink", synonyms=("teacup",)),
    Concept(name="sphere", category="solid"),
    Concept(name="cube", category="solid"),
    Concept(name="cone", category="solid"),
)
_SOLIDS = range(13, 16)
_BACKDROPS = (("photo",), ("floor", "wall"), ("floor", "sky"), ("floor", "wall", "ceiling"))


def make_scene(rng: np.random.Generator) -> Scene:
    """Up to eight things before a random backdrop, nearer ones over farther ones; now and then only solids."""
    count, only_solids = int(rng.integers(9)), rng.random() < 0.25
    pool = rng.choice(_SOLIDS if only_solids else len(ASKED_CONCEPTS), size=4)
    distances = np.sort(rng.uniform(1, 12, count))[::-1]
    painted = np.zeros((SIDE, SIDE), np.uint8)
    names = _BACKDROPS[int(rng.integers(len(_BACKDROPS)))]
    surfaces = np.zeros((SIDE, SIDE), np.uint8)
    for row, name in zip(np.linspace(0, SIDE, len(names), endpoint=False).astype(int), reversed(names), strict=True):
        surfaces[row:] = SURFACES.index(name)
    depth = np.full((SIDE, SIDE), 20.0, np.float32)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    for number, distance in enumerate(distances, start=1):
        (cx, cy), (w, h) = rng.uniform(0.1, 0.9, 2) * SIDE, rng.uniform(0.06, 0.3, 2) * SIDE
        u, v = (x - cx) / w, (y - cy) / h
        where = (u**2 + v**2 < 1) if rng.random() < 0.5 else (np.maximum(abs(u), abs(v)) < 1)
        painted[where], depth[where] = number, distance
    found, hidden = [], []
    for number, distance in enumerate(distances, start=1):
        rows, columns = np.nonzero(painted == number)
        if len(rows) < 40:
            surfaces[rows, columns] = REMNANT
            hidden += [int(rng.choice(pool))] if len(rows) else []
            continue
        xyxy = (columns.min() / SIDE, rows.min() / SIDE, (columns.max() + 1) / SIDE, (rows.max() + 1) / SIDE)
        found.append((_thing(rng, int(rng.choice(pool)), tuple(map(float, xyxy)), float(distance)), number))
    found.sort(key=lambda entry: entry[0].xyxy[0] + entry[0].xyxy[2])
    instances = np.zeros_like(painted)
    for new, (_, old) in enumerate(found, start=1):
        instances[painted == old] = new
    return Scene(
        image=np.zeros((SIDE, SIDE, 3), np.uint8),
        instances=instances,
        surfaces=surfaces,
        depth=None if names == ("photo",) else depth,
        things=tuple(thing for thing, _ in found),
        camera=Camera(focal=(1.1, 1.1), centre=(0.5, 0.4), eye=1.1),
        hidden=tuple(hidden),
        pictured=names == ("photo",),
    )


def _thing(rng: np.random.Generator, concept: int, xyxy: tuple[float, float, float, float], distance: float) -> Thing:
    if concept not in _SOLIDS:
        return Thing(concept=concept, xyxy=xyxy, distance=distance)
    return Thing(
        concept=concept, xyxy=xyxy, distance=distance, style="solid", colour=str(rng.choice(["red", "blue", "green"])),
        material=str(rng.choice(["matte", "glossy", "metal"])), texture=str(rng.choice(["plain", "striped"])),
        size="small" if rng.random() < 0.5 else "large",
    )  # fmt: skip


@pytest.fixture(scope="session")
def asked_concepts() -> tuple[Concept, ...]:
    """What the hand-made scenes hold."""
    return ASKED_CONCEPTS


@pytest.fixture(scope="session")
def hand_made() -> tuple[Scene, ...]:
    """Random scenes, the same ones every time."""
    return tuple(make_scene(np.random.default_rng([3, number])) for number in range(250))


@pytest.fixture(scope="session")
def row_of(asked_concepts: tuple[Concept, ...]) -> Callable[..., Scene]:
    """A scene of known depth with named things side by side: ``row_of("dog", "cat")``; a solid as "red cube"."""
    numbers = {concept.name: number for number, concept in enumerate(asked_concepts)}

    def place(*names: str) -> Scene:
        instances = np.zeros((SIDE, SIDE), np.uint8)
        things = []
        for k, name in enumerate(names):
            colour, _, shape = name.rpartition(" ") if name not in numbers else ("", "", name)
            left, height = 2 + k * (SIDE // 8), 8 + 2 * k
            instances[40 : 40 + height, left : left + 8] = k + 1
            xyxy = (left / SIDE, 40 / SIDE, (left + 8) / SIDE, (40 + height) / SIDE)
            look = {"colour": colour, "material": "matte", "texture": "plain", "size": "small"} if colour else {}
            things.append(Thing(concept=numbers[shape], xyxy=xyxy, distance=2.0 + k, **look))  # type: ignore[arg-type]
        surfaces = np.full((SIDE, SIDE), SURFACES.index("floor"), np.uint8)
        surfaces[:30] = SURFACES.index("sky")
        return Scene(
            image=np.zeros((SIDE, SIDE, 3), np.uint8), instances=instances, surfaces=surfaces,
            depth=np.full((SIDE, SIDE), 5.0, np.float32), things=tuple(things),
            camera=Camera(focal=(1.1, 1.1), centre=(0.5, 0.4), eye=1.1),
        )  # fmt: skip

    return place
