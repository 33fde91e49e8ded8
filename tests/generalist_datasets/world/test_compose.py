"""Composed scenes: everything that a scene says of itself is true of its pixels."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from generalist_datasets.world.compose import Assets, compose
from generalist_datasets.world.layout import Menu
from generalist_datasets.world.scene import FARTHEST, MAX_THINGS, REMNANT, SURFACES, Scene
from generalist_datasets.world.solids import SHAPES

SEEDS = range(16)


def scene(assets: Assets, menu: Menu, seed: int, **options: object) -> Scene:
    return compose(np.random.default_rng(seed), assets, menu, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def photo_assets(toy_assets: Assets) -> Assets:
    photo = np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8)
    return dataclasses.replace(toy_assets, photos=(photo,))


@pytest.fixture(scope="module")
def scenes(photo_assets: Assets, toy_menu: Menu) -> list[Scene]:
    """Scenes of every kind: photographs, rooms, open grounds; sprites, solids."""
    made = [scene(photo_assets, toy_menu, seed, width=120, height=96, normals=True) for seed in range(60)]
    assert {made_.depth is None for made_ in made} == {True, False}
    assert {"solid", "fluent"} == {thing.style for made_ in made for thing in made_.things}
    return made


def test_the_same_seed_gives_the_same_scene_and_another_one_another(toy_assets: Assets, toy_menu: Menu) -> None:
    for seed in SEEDS:
        first, again = scene(toy_assets, toy_menu, seed), scene(toy_assets, toy_menu, seed)
        assert np.array_equal(first.image, again.image) and first.things == again.things
        assert first.depth is not None and np.array_equal(first.depth, again.depth)  # type: ignore[arg-type]
    assert not np.array_equal(scene(toy_assets, toy_menu, 1).image, scene(toy_assets, toy_menu, 2).image)


def test_boxes_are_tight_and_every_instance_has_a_thing(scenes: list[Scene]) -> None:
    for made in scenes:
        assert made.image.shape == (96, 120, 3) and made.image.dtype == np.uint8
        assert len(made.things) <= MAX_THINGS
        assert set(np.unique(made.instances)) - {0} == set(range(1, len(made.things) + 1))
        for index, thing in enumerate(made.things):
            rows, columns = np.nonzero(made.mask(index))
            expected = (columns.min() / 120, rows.min() / 96, (columns.max() + 1) / 120, (rows.max() + 1) / 96)
            assert thing.xyxy == expected


def test_what_shows_but_is_no_thing_is_known_to_be_hidden(toy_assets: Assets, toy_menu: Menu) -> None:
    """Six squares: some are hardly to be seen behind the others."""
    made = [scene(toy_assets, toy_menu, seed, concepts=[1, 1, 1, 1, 1, 1]) for seed in range(40)]
    for made_ in made:
        assert made_.hidden == ((1,) if (made_.surfaces == REMNANT).any() else ())
    assert {made_.hidden for made_ in made} == {(1,), ()}


def test_photographs_whole_or_on_a_wall_are_known(photo_assets: Assets, toy_assets: Assets, toy_menu: Menu) -> None:
    menu = dataclasses.replace(toy_menu, solids=0.0)
    kinds = set()
    for seed in range(60):
        made = scene(photo_assets, menu, seed)
        kinds.add((made.pictured, made.depth is None, bool(made.surface_mask("wall").any())))
        assert not scene(toy_assets, menu, seed).pictured
    assert kinds == {(True, True, False), (True, False, True), (False, False, True), (False, False, False)}


def test_things_are_ordered_from_left_to_right(scenes: list[Scene]) -> None:
    for made in scenes:
        centres = [thing.xyxy[0] + thing.xyxy[2] for thing in made.things]
        assert centres == sorted(centres)


def test_depth_of_planes_is_where_the_ray_meets_them(scenes: list[Scene]) -> None:
    """Floor: the ray's y is the eye height. Walls: one depth, or one x; ceilings: one y. In metres, to a millimetre."""
    seen: set[str] = set()
    for made in scenes:
        if made.depth is None:
            assert np.isin(made.surfaces, (SURFACES.index("photo"), REMNANT)).all() and made.normals is None
            continue
        height, width = made.depth.shape
        v, u = (np.mgrid[:height, :width].astype(np.float64) + 0.5) / np.array([height, width])[:, None, None]
        x = (u - made.camera.centre[0]) / made.camera.focal[0] * made.depth
        y = (v - made.camera.centre[1]) / made.camera.focal[1] * made.depth
        assert made.normals is not None
        for name in SURFACES:
            where = made.surface_mask(name)
            if not where.any():
                continue
            seen.add(name)
            normals = made.normals[where]
            if name == "floor":
                assert np.abs(y[where] - made.camera.eye).max() < 1e-3 and (normals == (0, -1, 0)).all()
            elif name == "sky":
                assert (made.depth[where] == np.float32(FARTHEST)).all() and (normals == 0).all()
            elif name == "ceiling":
                assert np.ptp(y[where]) < 1e-3 and (normals == (0, 1, 0)).all()
            else:
                for normal, along in (((0, 0, -1), made.depth), ((1, 0, 0), x), ((-1, 0, 0), x)):
                    plane = where & (made.normals == normal).all(-1)
                    assert not plane.any() or np.ptp(along[plane]) < 1e-3
    assert seen == {"floor", "wall", "sky", "ceiling"}


def test_a_sprite_has_one_depth_and_a_solid_is_nearest_at_its_distance(scenes: list[Scene]) -> None:
    for made in scenes:
        for index, thing in enumerate(made.things):
            if made.depth is None:
                continue
            values = made.depth[made.mask(index)]
            assert values.min() == pytest.approx(thing.distance, abs=1e-6)
            if thing.style == "solid":
                assert thing.colour and thing.material and thing.texture and thing.size
            else:
                assert np.ptp(values) == 0 and thing.colour == thing.size == ""


def test_a_nearer_thing_covers_a_farther_one(toy_assets: Assets, toy_menu: Menu) -> None:
    for seed in range(200):
        made = scene(toy_assets, toy_menu, seed, concepts=[1, 1, 1, 1, 1, 1])
        for index, thing in enumerate(made.things):
            x1, y1, x2, y2 = (round(v * 224) for v in thing.xyxy)
            middle = made.instances[(y1 + y2) // 2, (x1 + x2) // 2]
            if middle not in (0, index + 1):  # it hides the middle of this square
                assert made.things[middle - 1].distance <= thing.distance
                return
    raise AssertionError("no square was ever hidden")


def test_only_the_asked_concepts_appear(toy_assets: Assets, toy_menu: Menu) -> None:
    cube = 4 + SHAPES.index("cube")
    made = [scene(toy_assets, toy_menu, seed, concepts=[0, 2, cube]) for seed in SEEDS]
    assert {thing.concept for m in made for thing in m.things} == {0, 2, cube}


def test_only_what_is_on_the_menu_appears(toy_assets: Assets, toy_menu: Menu) -> None:
    pairs = (("red", "cube"), ("blue", "sphere"))
    menu = Menu(concepts=(3,), styles=("noto",), pairs=pairs, needs_pair=pairs[:1], solids=1.0)
    names = [concept.name for concept in toy_assets.concepts]
    seen = [thing for seed in range(40) for thing in scene(toy_assets, menu, seed).things]
    assert {(t.colour, names[t.concept]) for t in seen if t.style == "solid"} == set(pairs)
    assert {(names[t.concept], t.style) for t in seen if t.style != "solid"} == {("yellow bar", "noto")}


def test_aspect_squashes_what_a_square_picture_shows(toy_assets: Assets) -> None:
    menu = Menu(concepts=(0,), styles=("fluent",))

    def ratio(aspect: float) -> float:
        ratios = []
        for seed in range(60):
            for thing in scene(toy_assets, menu, seed, aspect=aspect, concepts=[0]).things:
                x1, y1, x2, y2 = thing.xyxy
                if x1 > 0.02 and y1 > 0.02 and x2 < 0.98 and y2 < 0.98:
                    ratios.append((x2 - x1) / (y2 - y1))
        return float(np.median(ratios))

    assert ratio(1.0) == pytest.approx(1.0, abs=0.1)
    assert ratio(2.0) == pytest.approx(0.5, abs=0.1)


def test_what_is_mostly_hidden_is_not_a_thing(toy_assets: Assets, toy_menu: Menu) -> None:
    for seed in range(60):
        made = scene(toy_assets, toy_menu, seed, concepts=[1] * 6)
        assert all(made.mask(k).mean() >= 60 / 192**2 for k in range(len(made.things)))


def test_a_solid_is_no_deeper_than_its_size(toy_assets: Assets, toy_menu: Menu) -> None:
    cubes = [4 + SHAPES.index("cube")] * 3
    for seed in SEEDS:
        made = scene(toy_assets, toy_menu, seed, concepts=cubes)
        for index, thing in enumerate(made.things):
            assert thing.size in ("small", "large")
            depth = made.depth[made.mask(index)]  # type: ignore[index]
            assert np.ptp(depth) <= {"small": 0.4, "large": 0.8}[thing.size] * 3**0.5
