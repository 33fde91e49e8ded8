"""Arrangements: the same one gives the same picture, and a little later only one thing has changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from generalist_datasets.world.arrange import Arrangement, Assets, arrange, rearranged
from generalist_datasets.world.compose import draw
from generalist_datasets.world.layout import CutOut, Menu, PlacedSolid
from generalist_datasets.world.scene import MAX_THINGS


def things(made: Arrangement) -> list[CutOut | PlacedSolid]:
    return [*made.solids, *made.cut_outs]


@pytest.fixture(scope="module")
def pairs(toy_assets: Assets, toy_menu: Menu) -> list[tuple[Arrangement, Arrangement]]:
    pairs = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        made = arrange(rng, toy_assets, toy_menu, width=96, height=96)
        pairs.append((made, rearranged(rng, made, toy_assets, toy_menu)))
    return pairs


def test_an_arrangement_is_drawn_alike_every_time(toy_assets: Assets, toy_menu: Menu) -> None:
    made = arrange(np.random.default_rng(3), toy_assets, toy_menu, width=96, height=80)
    first, again = draw(made, toy_assets), draw(made, toy_assets)
    assert np.array_equal(first.image, again.image) and first.things == again.things


def test_later_one_thing_is_gone_or_new_or_elsewhere(pairs: list[tuple[Arrangement, Arrangement]]) -> None:
    seen = set()
    for before, after in pairs:
        gone = sum(all(thing is not other for other in things(after)) for thing in things(before))
        new = sum(all(thing is not other for other in things(before)) for thing in things(after))
        assert after.behind is before.behind and after.light is before.light
        assert len(things(after)) <= MAX_THINGS
        seen.add((gone, new))
    assert {(1, 0), (0, 1), (1, 1)} <= seen <= {(1, 0), (0, 1), (1, 1), (0, 0)}


def test_what_moves_stays_the_same_thing(pairs: list[tuple[Arrangement, Arrangement]]) -> None:
    moved = 0
    for before, after in pairs:
        for old, new in zip(before.cut_outs, after.cut_outs, strict=False):
            if old is not new and len(before.cut_outs) == len(after.cut_outs):
                assert (old.concept, old.style) == (new.concept, new.style) and old.sprite is new.sprite
                moved += old.centre != new.centre
    assert moved > 5


def test_what_has_not_changed_is_where_it_was(toy_assets: Assets, toy_menu: Menu) -> None:
    made = arrange(np.random.default_rng(5), toy_assets, toy_menu, width=96, height=96, concepts=[0, 1, 2])
    fewer = dataclasses.replace(made, cut_outs=made.cut_outs[:-1])
    before, after = draw(made, toy_assets), draw(fewer, toy_assets)
    assert before.depth is not None and after.depth is not None
    changed = before.depth != after.depth
    assert changed.any() and (before.depth[changed] == made.cut_outs[-1].distance).all()
