"""The small network from scratch is a fair opponent: it learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from generalist.model import load_checkpoint
from generalist_adapters.finetune import baseline
from generalist_adapters.finetune.augment import Augmentation
from generalist_adapters.finetune.measure import figures, take_baseline
from generalist_adapters.finetune.options import FinetuneOptions
from generalist_adapters.finetune.setting import Chosen, choose


@pytest.fixture
def chosen(tiny_base: Path, boxes_folder: Callable[..., Path]) -> Chosen:
    options = FinetuneOptions(data=boxes_folder(), out=Path("out"), model=str(tiny_base), shots=8, eval_limit=4)
    return choose(options, load_checkpoint(tiny_base))


def test_it_finds_what_it_was_shown(chosen: Chosen) -> None:
    network = baseline.train(chosen.pictures, 48, steps=60, augmentation=Augmentation(), seed=0)
    assert network is not None and network.boxes == ("blue cell", "red cell") and network.masks == ()
    found = figures(take_baseline(chosen.exam, network))
    floor = found["detect/AP50"].floor
    assert floor is not None and found["detect/AP50"].value > floor + 0.3
    assert found["count/count accuracy"].count > 0


def test_the_seed_decides(chosen: Chosen) -> None:
    first, again, other = (
        baseline.train(chosen.pictures, 32, steps=2, augmentation=Augmentation(), seed=seed) for seed in (0, 0, 1)
    )
    assert first and again and other
    weights = [one.network.heat.weight for one in (first, again, other)]
    assert weights[0].equal(weights[1]) and not weights[0].equal(weights[2])


def test_it_learns_masks(tiny_base: Path, masks_folder: Path) -> None:
    options = FinetuneOptions(data=masks_folder, out=Path("out"), model=str(tiny_base), shots=6)
    chosen = choose(options, load_checkpoint(tiny_base))
    network = baseline.train(chosen.pictures, 48, steps=40, augmentation=chosen.augmentation, seed=0)
    assert network is not None and len(network.masks) == 2
    semantic = figures(take_baseline(chosen.exam, network))["semantic/semantic mIoU"]
    assert semantic.floor is not None and semantic.value > semantic.floor + 0.1


def test_nothing_to_draw_is_nothing_to_learn(chosen: Chosen) -> None:
    from dataclasses import replace

    bare = [replace(picture, boxes=(), masks=()) for picture in chosen.pictures]
    assert baseline.train(bare, 32, steps=1, augmentation=Augmentation(), seed=0) is None
