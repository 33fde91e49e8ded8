"""Splits keep back what they say, and every evaluation set is the recorded one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from generalist.types import GeneralistError
from generalist_datasets import assets
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.concepts import CONCEPTS, HELD_OUT
from generalist_datasets.world.dataset import World, digest
from generalist_datasets.world.scene import Style
from generalist_datasets.world.solids import COLOURS, SHAPES
from generalist_datasets.world.splits import DIGESTS, HELD_OUT_PAIRS, SPLITS, TRAINED_PAIRS, get_split

STYLES: tuple[Style, ...] = ("fluent", "twemoji", "noto")
EVALUATION = [name for name, split in SPLITS.items() if split.size is not None]


@pytest.fixture(scope="module")
def all_concepts() -> Assets:
    """Every concept of the world, each as one white pixel in every style."""
    pixel = np.full((1, 1, 4), 255, np.uint8)
    sprites = tuple((pixel,) if concept.pictographs else () for concept in CONCEPTS)
    return Assets(concepts=CONCEPTS, sprites=dict.fromkeys(STYLES, sprites))


@pytest.fixture(scope="module")
def toys(toy_assets: Assets) -> Assets:
    """The toy world in every style."""
    return dataclasses.replace(toy_assets, sprites=dict.fromkeys(STYLES, toy_assets.sprites["fluent"]))


def test_pairs_are_kept_back_but_no_colour_and_no_shape_is() -> None:
    assert not set(HELD_OUT_PAIRS) & set(TRAINED_PAIRS)
    assert len(HELD_OUT_PAIRS) + len(TRAINED_PAIRS) == len(COLOURS) * len(SHAPES)
    assert 0.12 < len(HELD_OUT_PAIRS) / (len(COLOURS) * len(SHAPES)) < 0.18
    assert {colour for colour, _ in TRAINED_PAIRS} == {colour for colour, _ in HELD_OUT_PAIRS} == set(COLOURS)
    assert {shape for _, shape in TRAINED_PAIRS} == {shape for _, shape in HELD_OUT_PAIRS} == set(SHAPES)


def test_what_is_kept_back_is_not_on_the_menu_of_training(all_concepts: Assets) -> None:
    menu = SPLITS["train"].menu(all_concepts)
    pictured = {number for number, concept in enumerate(CONCEPTS) if concept.pictographs}
    assert set(menu.concepts) == pictured - HELD_OUT
    assert "noto" not in menu.styles and SPLITS["train"].photos == "train"
    assert not set(menu.pairs) & set(HELD_OUT_PAIRS) and not menu.needs_pair


def test_the_menus_of_evaluation(all_concepts: Assets) -> None:
    menus = {name: SPLITS[name].menu(all_concepts) for name in EVALUATION}
    assert menus["compositions"] == SPLITS["train"].menu(all_concepts)
    assert set(menus["concepts"].concepts) == HELD_OUT and menus["concepts"].styles == ("fluent", "twemoji")
    assert menus["style"].styles == ("noto",)
    assert set(menus["attributes"].needs_pair) == set(HELD_OUT_PAIRS)
    assert {SPLITS[name].photos for name in EVALUATION} == {"test"}
    assert {SPLITS[name].size for name in EVALUATION} == {1000}


def test_a_concept_without_a_picture_in_the_style_is_not_on_the_menu(toy_assets: Assets) -> None:
    bare = dataclasses.replace(toy_assets, sprites={"noto": ((), *toy_assets.sprites["noto"][1:])})
    assert SPLITS["style"].menu(bare).concepts == (1, 2, 3)


def pairs_of(world: World, index: int) -> set[tuple[str, str]]:
    things = world[index].scene.things
    return {(t.colour, world.assets.concepts[t.concept].name) for t in things if t.style == "solid"}


def test_every_scene_of_attributes_shows_a_pair_that_training_never_does(toys: Assets) -> None:
    world = World("attributes", assets=toys, size=(96, 96))
    assert all(pairs_of(world, index) & set(HELD_OUT_PAIRS) for index in range(12))
    world = World("train", assets=toys, size=(96, 96))
    shown = set().union(*(pairs_of(world, index) for index in range(40)))
    assert shown and not shown & set(HELD_OUT_PAIRS)


def test_every_scene_of_style_shows_it(toys: Assets) -> None:
    world = World("style", assets=toys, size=(96, 96))
    for index in range(12):
        styles = {thing.style for thing in world[index].scene.things}
        assert "noto" in styles and styles <= {"noto", "solid"}


def test_an_unknown_split_is_one_line_with_the_known_ones() -> None:
    with pytest.raises(GeneralistError, match=r"no split 'test'.* train, compositions, attributes, style, concepts"):
        get_split("test")


def test_every_evaluation_set_is_recorded() -> None:
    assert set(DIGESTS) == set(EVALUATION)


@pytest.mark.parametrize("name", EVALUATION)
def test_evaluation_sets_are_the_recorded_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(package: assets.Package, *folders: Path) -> None:
        raise GeneralistError(f"{package.name} is not in the cache")

    for registry in assets._CLIENTS:
        monkeypatch.setitem(assets._CLIENTS, registry, refuse)
    try:
        world = World(name)
    except GeneralistError as error:
        if "is not in the cache" not in str(error):
            raise
        pytest.skip(f"{error}; `generalist data world --split {name} --out scenes` fetches it")
    assert digest(world) == DIGESTS[name]
