"""LVIS: what it says beyond COCO, and the same care with what is broken."""

import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from generalist_datasets.readers import lvis
from generalist_datasets.readers.base import Options
from generalist_datasets.records import Problems, Record

URL = "http://images.cocodataset.org/val2017/000000000001.jpg"
CATEGORIES = [
    {"id": 1, "name": "aerosol_can", "synonyms": ["aerosol_can", "spray_can"], "def": "a can", "synset": "can.n.01"},
    {"id": 2, "name": "apple", "synonyms": ["apple"], "frequency": "f"},
    {"id": 3, "name": "apricot", "frequency": "r"},
]
POLYGON = [[1, 1, 30.5, 1, 30, 20]]


def place(folder: Path, **image: Any) -> Path:
    entry = {"id": 1, "coco_url": URL, "width": 64, "height": 48, "neg_category_ids": [3, 2]} | image
    annotation = {
        "id": 9,
        "image_id": 1,
        "category_id": 1,
        "segmentation": POLYGON,
        "bbox": [1, 1, 29.5, 19],
        "area": 9,
    }
    file = folder / "annotations/lvis_v1_val.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"annotations": [annotation], "images": [entry], "categories": CATEGORIES}))
    (folder / "val2017").mkdir()
    (folder / "val2017/000000000001.jpg").touch()
    return file


def read(path: Path) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False)
    return list(lvis.read(path, problems, Options())), problems


def test_a_record(tmp_path: Path) -> None:
    file = place(tmp_path, not_exhaustive_category_ids=[1])
    assert lvis.detect(tmp_path) and lvis.detect(file)
    [record], problems = read(tmp_path)
    assert not problems.kept
    assert (record.split, record.size, record.image) == ("val", (64, 48), tmp_path / "val2017/000000000001.jpg")
    facts = {key: json.loads(value) for key, value in record.facts.items()}
    assert facts == {
        "neg_category_ids": ["apricot", "apple"],
        "not_exhaustive_category_ids": ["aerosol_can"],
        "synonyms": {"aerosol_can": ["aerosol_can", "spray_can"]},
    }
    theirs = COCO(str(file)).anns[9]
    [ours] = record.annotations
    x, y, width, height = theirs["bbox"]
    assert (ours.label, ours.xyxy) == ("aerosol_can", (x, y, x + width, y + height))
    assert ours.segment == tuple(map(tuple, theirs["segmentation"]))


def test_detected_by_its_categories_where_images_come_in_the_middle(tmp_path: Path) -> None:
    annotations = [{"id": i, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]} for i in range(2000)]
    images = [{"id": i, "coco_url": URL, "neg_category_ids": []} for i in range(2000)]
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"annotations": annotations, "images": images, "categories": CATEGORIES}))
    assert lvis.detect(file)


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        ({"neg_category_ids": 7}, "wrong type"),
        ({"neg_category_ids": [[1]]}, "wrong type"),
        ({"neg_category_ids": [None]}, "missing field"),
        ({"neg_category_ids": [99]}, "unknown class"),
        ({"neg_category_ids": [float("nan")]}, "wrong type"),
        ({"not_exhaustive_category_ids": "1"}, "wrong type"),
        ({"coco_url": None}, "missing field"),  # and no file_name
        ({"coco_url": 5}, "missing field"),
        ({"coco_url": "http://host/000000000002.jpg"}, "missing image"),
        ({"coco_url": "//\0"}, "missing image"),
        ({"file_name": 5}, "wrong type"),
    ],
)
def test_a_broken_image_is_told(tmp_path: Path, broken: dict[str, Any], kind: str) -> None:
    records, problems = read(place(tmp_path, **broken))
    assert not records
    assert [(p.severity, p.kind, p.where.entry) for p in problems.kept] == [("error", kind, "images[0] (id 1)")]
