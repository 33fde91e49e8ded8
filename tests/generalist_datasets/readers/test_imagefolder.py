"""Class folders, and images beside a metadata file or a table of captions."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from generalist_datasets.readers import imagefolder
from generalist_datasets.readers.base import Options
from generalist_datasets.records import Problems, Record


def read(path: Path, images: Path | None = None) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False)
    return list(imagefolder.READER.read(path, problems, Options(images=images))), problems


def paint(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(file)


def place(folder: Path, name: str, *entries: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return file


# --- class folders ------------------------------------------------------------------------------------


def test_the_folder_is_the_class_and_its_parent_the_split(tmp_path: Path) -> None:
    paint(*(tmp_path / name for name in ("train/dog/1.png", "train/dog/2.JPG", "train/cat/1.png", "test/dog/1.png")))
    (tmp_path / "train" / "dog" / ".hidden.png").write_bytes(b"")
    assert imagefolder.READER.detect(tmp_path)
    records, problems = read(tmp_path)
    found = {record.id: (record.split, record.annotations[0].label, record.facts) for record in records}
    assert found == {
        "train/dog/1.png": ("train", "dog", {"class": "dog"}),
        "train/dog/2.JPG": ("train", "dog", {"class": "dog"}),
        "train/cat/1.png": ("train", "cat", {"class": "cat"}),
        "test/dog/1.png": ("test", "dog", {"class": "dog"}),
    }
    assert all(annotation.xyxy is None for record in records for annotation in record.annotations)
    assert not problems.counts


def test_images_of_no_class_have_no_label(tmp_path: Path) -> None:
    paint(tmp_path / "1.png", tmp_path / "train" / "2.png", tmp_path / "images" / "3.png")
    records, _ = read(tmp_path)
    assert [(record.id, record.annotations) for record in records] == [
        ("1.png", ()),
        ("images/3.png", ()),
        ("train/2.png", ()),
    ]


OTHER_LAYOUTS = {
    "images without classes": ("1.png", "2.png"),
    "one class only": ("dog/1.png",),
    "pictures and label pictures": ("images/1.png", "masks/1.png"),
    "splits without classes": ("train/1.png", "test/1.png"),
    "labels beside the images": ("dog/1.png", "dog/1.txt", "cat/1.png", "cat/1.txt"),
    "deeper folders": ("dog/images/1.png", "cat/images/1.png"),
    "nothing": (),
}


@pytest.mark.parametrize("layout", OTHER_LAYOUTS)
def test_other_layouts_are_not_taken_for_class_folders(tmp_path: Path, layout: str) -> None:
    for name in OTHER_LAYOUTS[layout]:
        paint(tmp_path / name) if name.endswith(".png") else (tmp_path / name).write_text("0 0 0 1 1")
    assert not imagefolder.READER.detect(tmp_path)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    paint(tmp_path / "dog" / "1.png", tmp_path / "cat" / "1.png")
    for name in ("train", "val", "test"):
        (tmp_path / name).symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    assert not imagefolder.READER.detect(tmp_path)
    assert [record.id for record in read(tmp_path)[0]] == ["cat/1.png", "dog/1.png"]


@pytest.mark.parametrize("name", ["missing", "n" * 5000, "nul\0"])
def test_detection_never_raises(tmp_path: Path, name: str) -> None:
    assert not imagefolder.READER.detect(tmp_path / name)


# --- metadata -----------------------------------------------------------------------------------------


def test_metadata_gives_captions_classes_and_boxes(tmp_path: Path) -> None:
    paint(tmp_path / "train" / "1.png", tmp_path / "train" / "sub" / "2.png", tmp_path / "train" / "3.png")
    objects = {"bbox": [[1, 2, 3, 4], [0.5, 0, 1, 1.5]], "categories": ["dog", 7], "id": [4, 5], "area": [12, 1.5]}
    place(
        tmp_path / "train",
        "metadata.jsonl",
        {"file_name": "1.png", "text": " a dog ", "label": "animal"},
        {"file_name": "sub/2.png", "objects": objects, "captions": ["one", "two"]},
        {"file_name": "3.png", "objects": [{"bbox": [0, 0, 2, 2], "category": "cat"}], "text": None},
    )
    assert imagefolder.READER.detect(tmp_path)
    assert imagefolder.READER.detect(tmp_path / "train" / "metadata.jsonl")
    records, problems = read(tmp_path)
    assert not problems.counts
    assert [record.split for record in records] == ["train"] * 3
    assert [record.captions for record in records] == [("a dog",), ("one", "two"), ()]
    assert [[(a.label, a.xyxy) for a in record.annotations] for record in records] == [
        [("animal", None)],
        [("dog", (1, 2, 4, 6)), ("7", (0.5, 0, 1.5, 1.5))],
        [("cat", (0, 0, 2, 2))],
    ]
    assert records[1].annotations[1].where.entry == "line 2, object 1"
    assert records[1].images == (tmp_path / "train" / "sub" / "2.png",)


def test_metadata_as_csv(tmp_path: Path) -> None:
    paint(tmp_path / "a, b.png")
    (tmp_path / "metadata.csv").write_bytes('\ufefffile_name,text,split\r\n"a, b.png","a ""big"" dog",val\r\n'.encode())
    (record,), problems = read(tmp_path)
    assert (record.captions, record.split, record.where.entry) == (('a "big" dog',), "val", "line 2")
    assert not problems.counts


def test_images_elsewhere(tmp_path: Path) -> None:
    file = place(tmp_path / "labels", "metadata.jsonl", {"file_name": "1.png", "text": "a"})
    paint(tmp_path / "pictures" / "1.png")
    assert read(file)[1].counts == {("error", "missing image"): 1}
    records, _ = read(file, tmp_path / "pictures")
    assert records[0].image == tmp_path / "pictures" / "1.png"


def test_an_image_described_twice_is_kept_apart_and_reported(tmp_path: Path) -> None:
    paint(tmp_path / "1.png", tmp_path / "2.png")
    names = ("1.png", "2.png", "1.png")
    place(tmp_path, "metadata.jsonl", *({"file_name": name, "text": "x"} for name in names))
    records, problems = read(tmp_path)
    assert len({record.id for record in records}) == 3
    assert [(p.severity, p.kind, p.where.entry) for p in problems.kept] == [("warning", "duplicate id", "line 3")]


SOUND = '{"file_name": "1.png", "text": "sound"}'
BROKEN = {
    '{"text": "x"}': "missing field",  # no file name
    '{"file_name": 3}': "wrong type",  # a number for a name
    '{"file_name": "2.png"}': "missing image",  # not there
    '{"file_name": ""}': "missing image",  # the folder itself
    '{"file_name": "sub"}': "missing image",  # a folder
    '{"file_name": "../../../../etc"}': "missing image",  # a folder elsewhere
    '{"file_name": "\\u0000"}': "missing image",  # NUL
    '{"file_name": "https://example.org/1.png"}': "missing image",  # on the network
    '{"file_name": "' + "n" * 100_000 + '"}': "missing image",  # longer than names are
    '{"file_name": "1.png", "text": 5}': "wrong type",  # a number for a caption
    '{"file_name": "1.png", "captions": [["x"]]}': "wrong type",  # a list in the list
    '{"file_name": "1.png", "objects": 5}': "wrong type",  # no objects
    '{"file_name": "1.png", "objects": [5]}': "wrong type",  # no object
    '{"file_name": "1.png", "objects": {"bbox": [[0, 0, 1, 1]], "category": []}}': "wrong type",  # no class for a box
    '{"file_name": "1.png", "objects": {"bbox": {"0": 1}, "category": ["a"]}}': "wrong type",  # no list
    '{"file_name": "1.png", "objects": [{"bbox": [0, 0, 1], "category": "a"}]}': "wrong type",  # three numbers
    '{"file_name": "1.png", "objects": [{"bbox": [0, 0, 1, "1"], "category": "a"}]}': "not a number",  # text
    '{"file_name": "1.png", "objects": [{"bbox": [0, 0, 1, NaN], "category": "a"}]}': "not a number",  # NaN
    '{"file_name": "1.png", "objects": [{"bbox": [0, 0, 1, 1e400], "category": "a"}]}': "not a number",  # infinite
    '{"file_name": "1.png", "objects": [{"bbox": [0, 0, 1, -1], "category": "a"}]}': "empty box",  # negative height
    '{"file_name": "1.png", "objects": [{"bbox": [0, 0, 1, 1], "category": {}}]}': "wrong type",  # an object for a name
    '{"file_name": "1.png", "objects": [{"bbox": [0, 0, 1, 1]}]}': "wrong type",  # no class
}


@pytest.mark.parametrize("line", BROKEN, ids=lambda line: line[:70])
def test_a_broken_line_is_reported_with_its_number(tmp_path: Path, line: str) -> None:
    paint(tmp_path / "1.png")
    (tmp_path / "sub").mkdir()
    (tmp_path / "metadata.jsonl").write_text(f"{line}\n")
    records, problems = read(tmp_path)
    assert [problem.kind for problem in problems.kept] == [BROKEN[line]]
    assert problems.kept[0].where.entry.startswith("line 1")
    assert all(not record.annotations for record in records)
    (tmp_path / "metadata.jsonl").write_text(f"{line}\n{SOUND}\n")
    assert "sound" in [caption for record in read(tmp_path)[0] for caption in record.captions]


# --- real captions ------------------------------------------------------------------------------------


def test_flickr8k_against_the_csv_module(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("flickr8k-100")
    assert imagefolder.READER.detect(folder)
    records, problems = read(folder)
    with (folder / "captions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    captions: dict[str, list[str]] = {}
    for row in rows:
        captions.setdefault(row["image_id"], []).append(row["caption"].strip())
    assert {record.id: list(record.captions) for record in records} == captions
    assert Counter(len(record.captions) for record in records) == {5: 100}
    assert all(os.path.samefile(record.image, folder / "images" / record.id) for record in records)
    assert not problems.counts


def test_unlabelled_photos_are_records_without_annotations(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("bsds500-images")
    assert not imagefolder.READER.detect(folder)
    records, _ = read(folder)
    assert {record.id for record in records} == {file.name for file in folder.glob("*.jpg")}
