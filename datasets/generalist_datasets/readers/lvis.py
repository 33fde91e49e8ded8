"""LVIS: COCO json in which each image also lists classes that are known to be absent, or not fully labelled.

Those are facts of a record, as JSON text: "neg_category_ids" and "not_exhaustive_category_ids" are lists of class
names, "synonyms" gives other names for each class of its annotations. Pictures are found by ``coco_url`` where
there is no ``file_name`` (train2017/ or val2017/, or the file alone).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.coco import read_group
from generalist_datasets.readers.coco_file import CocoFile
from generalist_datasets.readers.coco_layout import annotation_files, detects
from generalist_datasets.readers.fields import as_id, show
from generalist_datasets.readers.json_stream import Defect
from generalist_datasets.records import Annotation, Problems, Record


def detect(path: Path) -> bool:
    return detects(path, "lvis")


def read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    for file in annotation_files(path, "lvis"):
        yield from read_group([file], path, problems, options, _facts)


def _facts(entry: dict[str, object], index: CocoFile, annotations: tuple[Annotation, ...]) -> dict[str, str]:
    facts: dict[str, object] = {}
    for key in ("neg_category_ids", "not_exhaustive_category_ids"):
        ids = entry.get(key, [])
        if not isinstance(ids, list):
            raise Defect("wrong type", f"{key} is {show(ids)}, not a list")
        facts[key] = [_name(index, category_id, key) for category_id in ids]
    labels = {annotation.label for annotation in annotations}
    categories = index.categories.values()
    facts["synonyms"] = {c.name: c.synonyms for c in categories if c.name in labels and c.synonyms}
    return {key: json.dumps(value) for key, value in facts.items() if value}


def _name(index: CocoFile, category_id: object, key: str) -> str:
    category = index.categories.get(as_id(category_id, f"an id of {key}"))
    if category is None:
        raise Defect("unknown class", f"{key} holds {show(category_id)}, none of the categories")
    return category.name


READER = Reader(name="lvis", summary="LVIS json: COCO with classes known to be absent", detect=detect, read=read)
