"""Which format a folder is in is found from its contents, and said plainly when nobody knows it."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from generalist.types import GeneralistError
from generalist_datasets import readers
from generalist_datasets.check import check
from generalist_datasets.corpora import detect_corpus
from generalist_datasets.readers import READERS, Options, Reader, detect_reader, read_records, read_samples
from generalist_datasets.records import Problems
from generalist_datasets.world.compose import Assets
from generalist_datasets.world.dataset import World
from generalist_datasets.world.shards import write_shards
from generalist_datasets.world.splits import Split

from ..small_sets import CORPORA, IMAGE_SETS, write_set


def test_every_reader_is_listed() -> None:
    modules = (import_module(f"{readers.__name__}.{module.name}") for module in pkgutil.iter_modules(readers.__path__))
    written = {module.READER.name for module in modules if hasattr(module, "READER")}
    assert set(READERS) == written and all(isinstance(reader, Reader) for reader in READERS.values())
    assert {form for form, _ in IMAGE_SETS.values()} == set(READERS), "each has a folder to be tested with"


ALSO = {"refcoco": ["coco"], "ade20k": ["mask_folder"]}
"""What a folder is as well: the order of READERS decides."""


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_its_own_reader_knows_a_folder(name: str, tmp_path: Path) -> None:
    form, _ = IMAGE_SETS[name]
    folder = write_set(name, tmp_path / "data")
    assert detect_reader(folder).name == form
    assert [reader.name for reader in READERS.values() if reader.detect(folder)] == [form, *ALSO.get(name, [])]
    assert detect_corpus(folder) is None


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_is_not_taken_for_images(name: str, tmp_path: Path) -> None:
    folder = write_set(name, tmp_path / "data")
    found = detect_corpus(folder)
    assert found is not None and found.name == name
    with pytest.raises(GeneralistError, match=f"a corpus of text .{name}., which has no images"):
        detect_reader(folder)


@pytest.mark.parametrize("name", [*IMAGE_SETS, *CORPORA])
def test_a_sound_folder_is_usable_without_an_error(name: str, tmp_path: Path) -> None:
    report = check(write_set(name, tmp_path / "data"))
    assert [finding for finding in report.findings if finding.severity == "error"] == []
    assert report.usable


@pytest.mark.parametrize("name", IMAGE_SETS)
def test_a_sound_folder_becomes_samples(name: str, tmp_path: Path) -> None:
    folder = write_set(name, tmp_path / "data")
    samples = list(read_samples(folder))
    assert len(samples) >= 2 and len({sample.id for sample in samples}) == len(samples)
    tasks = {sample.task for sample in samples}
    for task in tasks:
        assert [s.id for s in read_samples(folder, tasks=[task])] == [s.id for s in samples if s.task == task]
    splits = {str(sample.meta["split"]) for sample in samples}
    assert sum(len(list(read_samples(folder, split=split))) for split in splits) == len(samples)
    assert list(read_samples(folder, split="no such split")) == []


def test_composed_scenes_are_read_as_well(toy_assets: Assets, tmp_path: Path) -> None:
    split = Split(name="toy", summary="", styles=("fluent",))
    folder = tmp_path / "scenes"
    write_shards(World(split, size=(96, 96), count=3, assets=toy_assets), folder)
    samples = list(read_samples(folder))
    assert {sample.meta["index"] for sample in samples} == {0, 1, 2}
    task = samples[0].task
    assert [s.id for s in read_samples(folder, split="toy", tasks=[task])] == [s.id for s in samples if s.task == task]
    assert list(read_samples(folder, split="train")) == []
    with pytest.raises(GeneralistError, match="read_samples reads them"):
        read_records(folder)


def test_what_cannot_be_read_is_refused_at_once(tmp_path: Path) -> None:
    folder = write_set("csv", tmp_path / "data")
    for path, options in ((tmp_path / "gone", {}), (folder, {"tasks": ["paint"]}), (folder, {"format": "cocoa"})):
        with pytest.raises(GeneralistError):
            read_samples(path, **options)


def test_of_several_formats_the_more_telling_one_is_taken(tmp_path: Path) -> None:
    folder = write_set("imagefolder", tmp_path / "data")
    IMAGE_SETS["coco"][1](folder)
    assert detect_reader(folder).name == "coco"
    assert next(read_records(folder, "imagefolder")).id.startswith("train/")


@pytest.mark.parametrize("path", [
    "", "gone", "a\0b", "x" * 5000, "a/" * 3000, "file.txt", "folder", "loop", "broken link", "folder.json",
])  # fmt: skip
def test_detection_never_raises(path: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file.txt").write_bytes(bytes(range(256)))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "folder" / "up").symlink_to(tmp_path)
    (tmp_path / "broken link").symlink_to(tmp_path / "gone")
    assert [name for name, reader in READERS.items() if reader.detect(tmp_path / path)] == []
    with pytest.raises(GeneralistError) as error:
        detect_reader(tmp_path / path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 800


def test_an_unknown_folder_is_described(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.PNG", "notes"):
        (tmp_path / name).write_text("")
    (tmp_path / "inner").mkdir()
    with pytest.raises(GeneralistError) as error:
        detect_reader(tmp_path)
    said = str(error.value)
    assert "it holds 3 .png; 1 no suffix; folders inner" in said and "--format" in said
    assert all(name in said for name in READERS)


def test_without_problems_the_first_error_raises_and_with_them_all_are_kept(tmp_path: Path) -> None:
    folder = write_set("csv", tmp_path / "data")
    with (folder / "boxes.csv").open("a") as table:
        table.write("a.jpg,dog,x,2,3,4\nb.jpg,dog,y,2,3,4\n")
    with pytest.raises(GeneralistError, match=r"boxes.csv: line 4: not a number .*generalist data check"):
        list(read_records(folder))
    problems = Problems(strict=False)
    assert len(list(read_records(folder, problems=problems))) == 4 and problems.errors == 2


def test_options_reach_the_reader(tmp_path: Path) -> None:
    folder = write_set("csv", tmp_path / "data")
    (folder / "images").mkdir()
    for picture in folder.glob("*.jpg"):
        picture.rename(folder / "images" / picture.name)
    (folder / "images").rename(tmp_path / "elsewhere")
    records = list(read_records(folder, options=Options(images=tmp_path / "elsewhere")))
    assert [record.image.parent for record in records] == [tmp_path / "elsewhere"] * 2


@pytest.mark.parametrize("name, form", [
    ("bccd", "voc"), ("camvid", "mask_folder"), ("coco128-train", "coco_panoptic"),
    ("coco128-train/yolo-boxes", "yolo"), ("flickr8k-100", "imagefolder"), ("rgbd-7scenes", "depth_folder"),
])  # fmt: skip
def test_real_folders(shared_data: Callable[[str], Path], name: str, form: str) -> None:
    folder = shared_data(name)
    assert detect_reader(folder).name == form
