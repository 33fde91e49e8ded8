"""Composed scenes: everything that a scene says of itself is true of its pixels."""

from __future__ import annotations

import numpy as np
import pytest

from generalist_datasets.scenes import FARTHEST, MAX_THINGS, NEAREST, Assets, Scene, compose

SEEDS = range(12)


def scene(assets: Assets, seed: int, **options: object) -> Scene:
    return compose(np.random.default_rng(seed), assets, **options)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_scene_and_another_one_another(assets: Assets) -> None:
    first, again, other = scene(assets, 1), scene(assets, 1), scene(assets, 2)
    assert np.array_equal(first.image, again.image) and first.things == again.things
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("seed", SEEDS)
def test_boxes_are_tight_and_every_instance_has_a_thing(assets: Assets, seed: int) -> None:
    made = scene(assets, seed, width=120, height=80)
    assert made.image.shape == (80, 120, 3) and made.image.dtype == np.uint8
    assert len(made.things) <= MAX_THINGS
    assert set(np.unique(made.instances)) - {0} == set(range(1, len(made.things) + 1))
    for index, thing in enumerate(made.things):
        rows, columns = np.nonzero(made.mask(index))
        expected = (columns.min() / 120, rows.min() / 80, (columns.max() + 1) / 120, (rows.max() + 1) / 80)
        assert thing.xyxy == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_things_are_ordered_from_left_to_right(assets: Assets, seed: int) -> None:
    centres = [thing.xyxy[0] + thing.xyxy[2] for thing in scene(assets, seed).things]
    assert centres == sorted(centres)


@pytest.mark.parametrize("seed", SEEDS)
def test_depth_is_that_of_the_thing_in_front(assets: Assets, seed: int) -> None:
    made = scene(assets, seed)
    assert made.depth.min() >= NEAREST and made.depth.max() <= FARTHEST
    for index, thing in enumerate(made.things):
        assert np.allclose(made.depth[made.mask(index)], thing.distance)


def test_a_nearer_thing_covers_a_farther_one(assets: Assets) -> None:
    for seed in range(200):
        made = scene(assets, seed, concepts=[1, 1, 1, 1, 1, 1])
        for index, thing in enumerate(made.things):
            x1, y1, x2, y2 = (round(v * 192) for v in thing.xyxy)
            inside = made.instances[y1:y2, x1:x2]
            for other in set(np.unique(inside)) - {0, index + 1}:
                middle = made.instances[(y1 + y2) // 2, (x1 + x2) // 2]
                if middle == other:  # it hides the middle of this square
                    assert made.things[other - 1].distance <= thing.distance
                    return
    raise AssertionError("no square was ever hidden")


def test_only_the_asked_concepts_appear(assets: Assets) -> None:
    seen = {thing.concept for seed in SEEDS for thing in scene(assets, seed, concepts=[0, 2]).things}
    assert seen == {0, 2}


def test_aspect_squashes_what_a_square_picture_shows(assets: Assets) -> None:
    def ratio(aspect: float) -> float:
        ratios = []
        for seed in range(40):
            for thing in scene(assets, seed, aspect=aspect, concepts=[0]).things:
                x1, y1, x2, y2 = thing.xyxy
                if x1 > 0.02 and y1 > 0.02 and x2 < 0.98 and y2 < 0.98:
                    ratios.append((x2 - x1) / (y2 - y1))
        return float(np.median(ratios))

    assert ratio(1.0) == pytest.approx(1.0, abs=0.1)
    assert ratio(2.0) == pytest.approx(0.5, abs=0.1)


def test_what_is_mostly_hidden_is_not_a_thing(assets: Assets) -> None:
    for seed in range(60):
        made = scene(assets, seed, concepts=[1] * 6)
        shares = [made.mask(k).mean() for k in range(len(made.things))]
        assert all(share >= 60 / 192**2 for share in shares)
