"""Composed scenes carried to other tools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from generalist.types import Box, GeneralistError
from generalist_datasets.converters import convert
from generalist_datasets.readers import read_records
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.dataset import World
from generalist_datasets.world.shards import read_shards, write_shards
from generalist_datasets.world.splits import Split


@pytest.fixture
def world(toy_assets: Assets) -> World:
    split = Split(name="toy", summary="painted shapes", styles=("fluent",), size=None)
    return World(split, seed=0, size=(96, 80), count=6, assets=toy_assets)


@pytest.fixture
def shards(world: World, tmp_path: Path) -> Path:
    write_shards(world, tmp_path / "shards")
    return tmp_path / "shards"


def test_coco_has_every_thing_to_the_pixel(world: World, shards: Path, tmp_path: Path) -> None:
    written = convert(shards, "coco", tmp_path / "out")
    assert written.files == ("instances_toy.json",)
    truth = COCO(str(tmp_path / "out" / "instances_toy.json"))
    for index, image in enumerate(truth.loadImgs(truth.getImgIds())):
        scene = world[index].scene
        with Image.open(tmp_path / "out" / image["file_name"]) as picture:
            assert (np.asarray(picture) == scene.image).all()
        entries = truth.loadAnns(truth.getAnnIds([image["id"]]))
        assert len(entries) == len(scene.things)
        for number, (thing, entry) in enumerate(zip(scene.things, entries, strict=True)):
            assert truth.loadCats([entry["category_id"]])[0]["name"] == world.assets.concepts[thing.concept].name
            assert (np.asarray(truth.annToMask(entry), bool) == scene.mask(number)).all()
            x, y, width, height = entry["bbox"]
            assert np.allclose((x / 96, y / 80, (x + width) / 96, (y + height) / 80), thing.xyxy)
    assert len(list(read_records(tmp_path / "out"))) == 6


def test_messages_have_every_question_that_can_be_written(shards: Path, tmp_path: Path) -> None:
    written = convert(shards, "messages", tmp_path / "out")
    samples = list(read_shards(shards))
    assert written.counts["conversations"] + sum(written.left_out.values()) == len(samples)
    records = {record.id: record for record in read_records(tmp_path / "out")}
    boxed = [s for s in samples if s.targets and all(isinstance(t.output, Box) for t in s.targets) and s.id in records]
    assert boxed
    for sample in boxed:
        record = records[sample.id]
        assert record.turns[-1].text.count("bbox_2d") == len(sample.targets)
        with Image.open(record.images[-1]) as picture:
            assert (np.asarray(picture) == np.asarray(sample.image)).all()


def test_a_damaged_shard_is_named(shards: Path, tmp_path: Path) -> None:
    shard = next(shards.glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-50])
    for form in ("coco", "messages"):
        with pytest.raises(GeneralistError, match="not a whole shard"):
            convert(shards, form, tmp_path / "out")
        assert not (tmp_path / "out").exists()
