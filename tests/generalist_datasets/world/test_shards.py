"""Shards: what is written is read again, whatever interrupted the writing and however many workers wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from generalist.types import DepthMap, GeneralistError, Sample
from generalist_datasets.world import shards
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.dataset import World, digest
from generalist_datasets.world.samples import samples_of
from generalist_datasets.world.shards import is_shards, read_shards, write_shards
from generalist_datasets.world.splits import Split

TOY = Split(name="toy", summary="painted shapes", styles=("fluent",), size=None)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_ROWS", 4)


@pytest.fixture
def make(toy_assets: Assets) -> Callable[..., World]:
    def make(count: int = 10, seed: int = 0, size: tuple[int, int] = (96, 80), split: Split = TOY) -> World:
        return World(split, seed=seed, size=size, count=count, assets=toy_assets)

    return make


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def alike(one: Sample, other: Sample) -> None:
    assert (np.asarray(one.image) == np.asarray(other.image)).all()
    for name in ("id", "task", "prompt", "text"):
        assert getattr(one, name) == getattr(other, name)
    assert dict(one.meta) == dict(other.meta)
    assert len(one.targets) == len(other.targets)
    for target, wanted in zip(one.targets, other.targets, strict=True):
        assert (target.label, target.span, target.image, target.ref) == (
            wanted.label, wanted.span, wanted.image, wanted.ref,
        )  # fmt: skip
        if isinstance(target.output, DepthMap) and isinstance(wanted.output, DepthMap):
            assert np.abs(target.output.values - wanted.output.values).max() <= 0.001
        else:
            assert target.output == wanted.output
    for history, wished in zip(one.history, other.history, strict=True):
        assert (history.role, history.text) == (wished.role, wished.text)
        same_prompts(history.visual_prompts, wished.visual_prompts)
    same_prompts(one.visual_prompts, other.visual_prompts)
    for picture, wished_picture in zip(one.earlier_images, other.earlier_images, strict=True):
        assert (np.asarray(picture) == np.asarray(wished_picture)).all()


def same_prompts(ours: tuple, theirs: tuple) -> None:
    for prompt, wanted in zip(ours, theirs, strict=True):
        assert (prompt.kind, prompt.xyxy, prompt.xy) == (wanted.kind, wanted.xyxy, wanted.xy)
        assert prompt.excludes == wanted.excludes
        assert np.array_equal(prompt.bitmap, wanted.bitmap)


def test_samples_come_back(make: Callable[..., World], tmp_path: Path) -> None:
    world = make()
    write_shards(world, tmp_path)
    back = list(read_shards(tmp_path))
    wanted = [sample for item in world for sample in samples_of(item)]
    assert len(back) == len(wanted) > 30
    for one, other in zip(back, wanted, strict=True):
        alike(one, other)
    kinds = {type(target.output).__name__ for sample in back for target in sample.targets}
    assert {"Box", "Point", "Mask", "DepthMap"} <= kinds
    assert any(s.visual_prompts for s in back) and any(s.earlier_images for s in back)
    assert {prompt.excludes for s in back for prompt in s.visual_prompts} == {False, True}


def test_samples_of_a_scene_share_its_picture(make: Callable[..., World], tmp_path: Path) -> None:
    write_shards(make(2), tmp_path)
    pictures = {(sample.meta["index"], id(sample.image)) for sample in list(read_shards(tmp_path))}
    assert sorted(index for index, _ in pictures) == [0, 1]  # type: ignore[type-var]


def test_hugging_face_reads_them(make: Callable[..., World], tmp_path: Path) -> None:
    from datasets import load_dataset

    world = make(6)
    write_shards(world, tmp_path / "toy")
    files = sorted(str(path) for path in (tmp_path / "toy").glob("*.parquet"))
    for named in ({"path": "parquet", "data_files": files}, {"path": str(tmp_path / "toy")}):
        table = next(iter(load_dataset(**named, cache_dir=str(tmp_path / "cache")).values()))  # type: ignore[arg-type]
        assert len(table) == 6
        for row, item in zip(table, world, strict=True):
            scene = item.scene
            assert (np.asarray(row["image"]) == scene.image).all()
            assert (np.asarray(row["instances"]) == scene.instances).all()
            assert (np.asarray(row["surfaces"]) == scene.surfaces).all()
            assert (row["depth"] is None) == (scene.depth is None)
            if scene.depth is not None:
                assert np.abs(np.asarray(row["depth"]) / 1600 - scene.depth).max() <= 0.001
            assert [tuple(thing["box"]) for thing in row["things"]] == [thing.xyxy for thing in scene.things]
            assert [question["prompt"] for question in row["questions"]] == [q.text for q in item.questions]


def test_workers_change_no_byte(make: Callable[..., World], tmp_path: Path) -> None:
    world = make(19)
    write_shards(world, tmp_path / "one")
    write_shards(world, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(list((tmp_path / "one").glob("toy-*.parquet"))) == 5


def test_the_manifest_says_what_is_there(make: Callable[..., World], tmp_path: Path) -> None:
    world, seen = make(10, seed=3), []
    manifest = write_shards(world, tmp_path, advance=seen.append)
    assert manifest == json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["split"], manifest["seed"], manifest["size"], manifest["count"]) == ("toy", 3, [96, 80], 10)
    assert manifest["complete"] and [shard["rows"] for shard in manifest["shards"]] == [4, 4, 2]
    assert manifest["digest"] == digest(world, 10) and manifest["shards"][0]["digest"] == digest(world, 4)
    assert sum(seen) == 10


def test_a_card_for_every_concept(make: Callable[..., World], tmp_path: Path) -> None:
    world = make(1)
    write_shards(world, tmp_path)
    cards = [json.loads(line) for line in (tmp_path / "cards.jsonl").read_text().splitlines()]
    assert len(cards) == len(world.assets.concepts) == len({card["_id"] for card in cards})
    assert all(set(card) == {"_id", "title", "text"} and card["text"] for card in cards)


def interrupt(world: World, folder: Path, after: int) -> None:
    """Begin to write, and press Ctrl-C when so many scenes have come in."""
    seen = []

    def advance(scenes: int) -> None:
        seen.append(scenes)
        if sum(seen) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(world, folder, advance=advance)


def test_writing_goes_on_where_it_was_interrupted(make: Callable[..., World], tmp_path: Path) -> None:
    world = make(10)
    write_shards(world, tmp_path / "whole")
    folder = tmp_path / "resumed"
    interrupt(world, folder, after=6)
    assert [path.name for path in folder.glob("*.parquet")] == ["toy-00000.parquet"]
    assert not json.loads((folder / "manifest.json").read_text())["complete"]
    assert is_shards(folder) and {sample.meta["index"] for sample in read_shards(folder)} == {0, 1, 2, 3}
    kept, seen = (folder / "toy-00000.parquet").stat().st_mtime_ns, []
    write_shards(world, folder, advance=seen.append)
    assert seen[0] == 4 and sum(seen) == 10
    assert (folder / "toy-00000.parquet").stat().st_mtime_ns == kept
    assert contents(folder) == contents(tmp_path / "whole")


def test_more_scenes_are_added_to_a_smaller_set(make: Callable[..., World], tmp_path: Path) -> None:
    write_shards(make(6), tmp_path / "grown")
    write_shards(make(10), tmp_path / "grown")
    write_shards(make(10), tmp_path / "at once")
    assert contents(tmp_path / "grown") == contents(tmp_path / "at once")
    with pytest.raises(GeneralistError, match="begun with 10 scenes, and 6 are asked for"):
        write_shards(make(6), tmp_path / "grown")


def test_a_damaged_shard_is_reported_and_written_again(make: Callable[..., World], tmp_path: Path) -> None:
    world = make(6)
    write_shards(world, tmp_path)
    shard = tmp_path / "toy-00001.parquet"
    whole = shard.read_bytes()
    for damage in (whole[: len(whole) // 2], b"", b"PAR1" + bytes(100)):
        shard.write_bytes(damage)
        with pytest.raises(GeneralistError, match=r"toy-00001.parquet: not a whole shard"):
            list(read_shards(tmp_path))
        write_shards(world, tmp_path)
        assert shard.read_bytes() == whole


@pytest.mark.parametrize("change, says", [
    ({"seed": 1}, "seed 0, and 1 "),
    ({"size": (80, 80)}, r"size \[96, 80\], and \[80, 80\] "),
    ({"split": Split(name="other", summary="", styles=("noto",), size=None)}, "split 'toy', and 'other' "),
])  # fmt: skip
def test_a_folder_of_another_kind_is_refused(
    make: Callable[..., World], tmp_path: Path, change: dict[str, object], says: str
) -> None:
    write_shards(make(4), tmp_path)
    before = contents(tmp_path)
    with pytest.raises(GeneralistError, match=f"was begun with {says}") as caught:
        write_shards(make(4, **change), tmp_path)
    assert "\n" not in str(caught.value) and contents(tmp_path) == before


def test_jpg_pictures_take_less_space_and_do_not_mix_with_png(make: Callable[..., World], tmp_path: Path) -> None:
    world = make(4, size=(224, 224))
    write_shards(world, tmp_path / "png")
    write_shards(world, tmp_path / "jpg", form="jpg")
    sizes = [(tmp_path / form / "toy-00000.parquet").stat().st_size for form in ("png", "jpg")]
    assert sizes[1] < 0.8 * sizes[0]
    exact, close = (list(read_shards(tmp_path / form)) for form in ("png", "jpg"))
    difference = np.asarray(exact[0].image, np.float32) - np.asarray(close[0].image, np.float32)
    assert 0 < np.abs(difference).mean() < 4
    assert [s.text for s in exact] == [s.text for s in close]
    with pytest.raises(GeneralistError, match="pictures 'jpg', and 'png' "):
        write_shards(world, tmp_path / "jpg")


def test_a_folder_with_something_else_in_it_is_refused(make: Callable[..., World], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(GeneralistError, match="not empty"):
        write_shards(make(4), tmp_path)
    with pytest.raises(GeneralistError, match=r"thesis.txt: cannot write in this folder"):
        write_shards(make(4), tmp_path / "thesis.txt")
    assert contents(tmp_path) == {"thesis.txt": b"precious"}


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"format": "other"}', b"\xff\xfe", b"[" * 100_000])
def test_other_manifests_are_not_ours(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    assert not is_shards(tmp_path)
    with pytest.raises(GeneralistError, match="holds no shards"):
        next(read_shards(tmp_path))
