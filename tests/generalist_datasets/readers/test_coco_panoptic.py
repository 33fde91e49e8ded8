"""COCO panoptic against PIL, on real photographs, and broken in every way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from generalist.types import GeneralistError
from generalist_datasets.readers import coco_panoptic
from generalist_datasets.readers.base import Options
from generalist_datasets.records import PixelValues, Problems, Record

Json = dict[str, Any]


def read(path: Path, images: Path | None = None) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False, keep=1000)
    return list(coco_panoptic.read(path, problems, Options(images=images))), problems


def test_real_photographs(shared_data: Callable[[str], Path]) -> None:
    root = shared_data("coco128-train")
    reference = json.loads((root / "panoptic_train2017.json").read_text())
    names = {category["id"]: category for category in reference["categories"]}
    segments = {entry["image_id"]: entry for entry in reference["annotations"]}
    assert coco_panoptic.detect(root) and coco_panoptic.detect(root / "panoptic_train2017.json")

    records, problems = read(root)
    assert not problems.kept
    assert [record.id for record in records] == [f"train2017/{entry['id']}" for entry in reference["images"]]
    for number, (record, image) in enumerate(zip(records, reference["images"], strict=True)):
        entry = segments[image["id"]]
        assert record.image == root / "images" / image["file_name"]
        assert record.size == (image["width"], image["height"])
        assert len(record.annotations) == len(entry["segments_info"])
        for ours, theirs in zip(record.annotations, entry["segments_info"], strict=True):
            category = names[theirs["category_id"]]
            assert (ours.label, ours.stuff) == (category["name"], not category["isthing"])
            assert ours.crowd == bool(theirs["iscrowd"])
            assert ours.segment == PixelValues(file=root / "panoptic" / entry["file_name"], value=theirs["id"])
        if number % 10 == 0:  # decoding all of them takes seconds
            pixels = np.asarray(Image.open(root / "panoptic" / entry["file_name"]).convert("RGB"), np.int64)
            values = pixels @ [1, 256, 65536]
            assert values.shape[::-1] == record.size
            for ours, theirs in zip(record.annotations, entry["segments_info"], strict=True):
                assert isinstance(ours.segment, PixelValues) and ours.xyxy is not None
                mask = values == ours.segment.value
                assert mask.sum() == theirs["area"]
                rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
                assert np.abs(np.subtract(ours.xyxy, box)).max() <= 0.5


def segment(**fields: Any) -> Json:
    return {"id": 260, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 2, 2]} | fields


def entry(*segments: object, **fields: Any) -> Json:
    return {"image_id": 1, "file_name": "a.png", "segments_info": [*segments]} | fields


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., Path]:
    """Writes a set of one picture, whose segments lie in a folder named after the file."""

    def write(*entries: object, name: str = "annotations/panoptic_val2017.json") -> Path:
        file = tmp_path / name
        maps = file.with_suffix("")
        for folder in (maps, tmp_path / "val2017"):
            folder.mkdir(parents=True)
            Image.new("RGB", (2, 2), (4, 1, 0)).save(folder / "a.png")
        categories = [{"id": 1, "name": "cat", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}]
        images = [{"id": 1, "file_name": "a.png"}]
        file.write_text(json.dumps({"images": images, "annotations": entries, "categories": categories}))
        return tmp_path

    return write


def test_the_picture_and_its_segments_may_have_the_same_name(place: Callable[..., Path]) -> None:
    root = place(entry(segment(), segment(id=5, category_id=2, bbox=None, iscrowd=True)))
    [record], problems = read(root)
    assert not problems.kept and record.split == "val2017"
    assert record.image == root / "val2017/a.png"
    thing, sky = record.annotations
    assert thing.segment == PixelValues(file=root / "annotations/panoptic_val2017/a.png", value=260)
    assert (thing.stuff, thing.crowd, thing.xyxy) == (False, False, (0, 0, 2, 2))
    assert (sky.stuff, sky.crowd, sky.xyxy) == (True, True, None)
    assert sky.where.entry == "annotations[0] segments_info[1]"


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (7, "wrong type"),
        (None, "wrong type"),
        (segment(id=None), "missing field"),
        (segment(id="260"), "wrong type"),
        (segment(id=-1), "wrong type"),
        (segment(id=1 << 24), "wrong type"),  # no colour
        (segment(id=10**400), "wrong type"),
        (segment(id=float("nan")), "wrong type"),
        (segment(id=5), "duplicate id"),
        (segment(category_id=None), "missing field"),
        (segment(category_id=3), "unknown class"),
        (segment(category_id=[1]), "wrong type"),
        (segment(iscrowd=7), "wrong type"),
        (segment(bbox=[1, 2]), "wrong type"),
        (segment(bbox=[1, 2, float("inf"), 3]), "not a number"),
        (segment(bbox=[1, 2, -3, 3]), "empty box"),
    ],
)
def test_a_broken_segment_is_told_and_the_others_are_read(
    place: Callable[..., Path], broken: object, kind: str
) -> None:
    root = place(entry(segment(id=5), broken, segment(id=6)))
    [record], problems = read(root)
    assert [(p.severity, p.kind, p.where.entry) for p in problems.kept] == [
        ("error", kind, "annotations[0] segments_info[1]")
    ]
    assert len(record.annotations) == 2


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (7, "wrong type"),
        (entry(segment(), image_id=None), "missing field"),
        (entry(segment(), image_id=5), "unknown image id"),
        (entry(segment(), file_name=None), "missing field"),
        (entry(segment(), file_name=["a.png"]), "wrong type"),
        (entry(segment(), file_name="b.png"), "missing image"),
        (entry(segment(), file_name="a.png\0"), "missing image"),
        (entry(segments_info=None), "wrong type"),
        (entry(segments_info={"0": segment()}), "wrong type"),
    ],
)
def test_a_broken_annotation_is_told(place: Callable[..., Path], broken: object, kind: str) -> None:
    file = place(broken) / "annotations/panoptic_val2017.json"
    [record], problems = read(file)
    assert record.annotations == ()
    assert [(p.severity, p.kind, p.where.entry) for p in problems.kept] == [("error", kind, "annotations[0]")]
    with pytest.raises(GeneralistError, match=kind):
        list(coco_panoptic.read(file, Problems(), Options()))


def test_segments_given_twice(place: Callable[..., Path]) -> None:
    [record], problems = read(place(entry(segment()), entry(segment())))
    assert len(record.annotations) == 1
    assert [(p.kind, p.where.entry) for p in problems.kept] == [("duplicate id", "annotations[1]")]


def test_a_cut_file(place: Callable[..., Path]) -> None:
    root = place(entry(segment()))
    file = root / "annotations/panoptic_val2017.json"
    file.write_text(file.read_text()[:-20])
    records, problems = read(root)
    assert not records and [p.kind for p in problems.kept] == ["not valid JSON"]
