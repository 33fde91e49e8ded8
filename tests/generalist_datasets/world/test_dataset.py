"""The world by number: the same item whoever asks for it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from torch.utils.data import DataLoader

from generalist.types import GeneralistError
from generalist_datasets.world.ask import ABILITIES, COMPARE
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.dataset import World, WorldItem, digest
from generalist_datasets.world.samples import samples_of
from generalist_datasets.world.splits import Split

TOY = Split(name="toy", summary="painted shapes", styles=("fluent",), size=64)
TRAIN = dataclasses.replace(TOY, size=None)


def toy(assets: Assets, split: Split = TOY, **options: object) -> World:
    return World(split, assets=assets, size=(96, 96), **options)  # type: ignore[arg-type]


def same(one: WorldItem, other: WorldItem) -> bool:
    """Bit for bit, questions included."""
    arrays = all(
        np.array_equal(getattr(one.scene, name), getattr(other.scene, name))
        for name in ("image", "instances", "surfaces", "depth")
    )
    return arrays and one.scene.things == other.scene.things and said(one) == said(other)


def said(item: WorldItem) -> list[object]:
    return [(q.ability, q.text, q.answer, q.drawn, q.history, q.negative) for q in item.questions]


def test_an_item_depends_on_split_seed_and_number_alone(toy_assets: Assets) -> None:
    world = toy(toy_assets)
    first = world[5]
    world[3]  # what was asked for before does not matter
    assert same(world[5], first) and same(toy(toy_assets)[5], first)
    assert same(toy(toy_assets, count=6)[np.int64(5)], first)
    others = [world[6], toy(toy_assets, seed=1)[5], toy(toy_assets, dataclasses.replace(TOY, name="other"))[5]]
    assert not any(np.array_equal(other.scene.image, first.scene.image) for other in others)


@pytest.mark.parametrize("workers", [1, 3])
def test_loading_in_worker_processes_changes_nothing(toy_assets: Assets, workers: int) -> None:
    world = toy(toy_assets, TRAIN, count=64)

    def load(number: int) -> list[WorldItem]:
        batches = DataLoader(world, batch_size=4, num_workers=number, collate_fn=list)  # type: ignore[arg-type]
        return [item for batch in batches for item in batch]

    alone, shared = load(0), load(workers)
    assert [item.index for item in shared] == list(range(64))
    assert all(same(one, other) for one, other in zip(alone, shared, strict=True))
    assert [item.digest() for item in shared] == [item.digest() for item in alone]


def test_a_set_has_an_end_and_training_has_none(toy_assets: Assets) -> None:
    world = toy(toy_assets, count=3)
    assert len(world) == 3 and [item.index for item in world] == [0, 1, 2]
    for number in (-1, 3):
        with pytest.raises(IndexError):
            world[number]
    endless = toy(toy_assets, TRAIN)
    assert endless[10**9].index == 10**9
    with pytest.raises(TypeError, match="no end"):
        len(endless)


@pytest.mark.parametrize("options, says", [
    ({"split": "tain"}, "no split 'tain'"),
    ({"seed": -1}, "seed is -1"),
    ({"size": (0, 224)}, "size is 0x224"),
    ({"size": (224, 100_000)}, "size is 224x100000"),
    ({"count": 0}, "0 scenes"),
    ({"count": 65}, "has 64 scenes, not 65"),
    ({"split": TRAIN, "count": 10**30}, "use 1 to 25000000"),
])  # fmt: skip
def test_what_cannot_be_asked_for_is_one_line(toy_assets: Assets, options: dict[str, object], says: str) -> None:
    with pytest.raises(GeneralistError, match=says) as caught:
        World(**{"split": TOY, "assets": toy_assets, **options})  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_pictures_have_the_size_asked_for(toy_assets: Assets) -> None:
    assert World(TOY, assets=toy_assets, size=(128, 80))[0].scene.image.shape == (80, 128, 3)


def test_an_evaluation_set_asks_for_every_ability_and_for_what_is_not_there(toy_assets: Assets) -> None:
    items = list(toy(toy_assets))
    questions = [question for item in items for question in item.questions]
    in_toy_world = {ability for ability in ABILITIES if "category" not in ability}  # it has but one
    in_toy_world -= {"segment_except"}  # newer than the recorded sets
    assert {question.ability for question in questions} >= {*in_toy_world, COMPARE}
    assert 0.02 < np.mean([question.negative for question in questions]) < 0.5
    assert any(question.history for question in questions)


def test_training_compares_two_pictures_now_and_then(toy_assets: Assets) -> None:
    world = toy(toy_assets, TRAIN)
    compared = [question for index in range(0, 64, 8) for question in world[index].questions if question.earlier]
    assert len(compared) >= 4
    assert all(question.earlier.image.shape == (96, 96, 3) for question in compared if question.earlier)


def test_every_question_becomes_a_sample_that_fits_its_picture(toy_assets: Assets) -> None:
    for split in (TOY, TRAIN):
        world = toy(toy_assets, split)
        for index in range(16):
            item = world[index]
            samples = samples_of(item)
            assert [s.prompt for s in samples] == [q.text for q in item.questions] and samples
            assert len({s.id for s in samples}) == len(samples)
            assert {(s.meta["split"], s.meta["index"]) for s in samples} == {("toy", index)}
            for sample in samples:
                assert all(sample.text[slice(*t.span)] == t.label for t in sample.targets)


def test_drawing_on_a_sample_is_repeatable(toy_assets: Assets) -> None:
    items = [toy(toy_assets, TRAIN)[index] for index in range(8)]
    again = [[s.visual_prompts[0].xyxy for s in samples_of(i) if s.visual_prompts] for i in items]
    assert again == [[s.visual_prompts[0].xyxy for s in samples_of(i) if s.visual_prompts] for i in items]
    assert any(boxes for boxes in again)


def test_the_digest_sees_pixels_and_words(toy_assets: Assets) -> None:
    world = toy(toy_assets)
    assert digest(world, 2) == digest(toy(toy_assets), 2) != digest(world, 3)
    item = world[0]
    assert dataclasses.replace(item, questions=item.questions[1:]).digest() != item.digest()
    image = item.scene.image.copy()
    image[0, 0, 0] ^= 1
    assert dataclasses.replace(item, scene=dataclasses.replace(item.scene, image=image)).digest() != item.digest()
