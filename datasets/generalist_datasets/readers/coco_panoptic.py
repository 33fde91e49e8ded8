"""COCO panoptic: a json of segments and, for each image, a PNG whose colours (R + 256 G + 65536 B) are segment ids.

The PNGs are looked for in a folder named after the json file (panoptic_train2017/), or in panoptic/, beside it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.coco import claimed_size, picture_name
from generalist_datasets.readers.coco_file import CocoFile, Id, index_file, open_or_report
from generalist_datasets.readers.coco_layout import annotation_files, detects, picture_folders, split_of
from generalist_datasets.readers.fields import as_id, as_object, read_box, show
from generalist_datasets.readers.json_stream import Defect
from generalist_datasets.readers.paths import resolve_image
from generalist_datasets.records import Annotation, PixelValues, Problems, Record, Where


def detect(path: Path) -> bool:
    return detects(path, "coco_panoptic")


def read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    for file in annotation_files(path, "coco_panoptic"):
        split = split_of(file, path)
        index = index_file(file, problems)
        opened = open_or_report(index.path, problems) if index else None
        if not index or not opened:
            continue
        pictures, maps = picture_folders(file, path, split, options), _map_folders(file, split)
        with opened:
            for image_id in index.image_ids:
                where = index.place(image_id)
                try:
                    entry = index.image(opened, image_id)
                    name = picture_name(entry)
                    picture = resolve_image(name, pictures)
                    if picture is None:
                        raise Defect("missing image", show(name))
                    found = list(index.annotations(opened, image_id))
                    yield Record(
                        id=f"{split}/{image_id}" if split else str(image_id),
                        images=(picture,),
                        where=where,
                        split=split,
                        size=claimed_size(entry, where, problems),
                        annotations=_read_segments(found, image_id, index, maps, problems),
                    )
                except Defect as defect:
                    problems.error(defect.kind, where, str(defect))


def _map_folders(file: Path, split: str) -> list[Path]:
    """Existing folders where the PNGs may be. Not those of the pictures, which may be PNGs of the same names."""
    names = (file.stem, f"panoptic_{split}", f"panoptic/{split}", "panoptic", f"annotations/panoptic_{split}")
    candidates = [base / name for base in (file.parent, file.parent.parent) for name in names]
    return [folder for folder in dict.fromkeys([*candidates, file.parent]) if os.path.isdir(folder)]


def _read_segments(
    found: list[tuple[Where, dict[str, object]]], image_id: Id, index: CocoFile, maps: list[Path], problems: Problems
) -> tuple[Annotation, ...]:
    if not found:
        return ()
    for where, _ in found[1:]:
        problems.error("duplicate id", where, f"the segments of image {show(image_id)} are given already")
    where, entry = found[0]
    try:
        name, segments = picture_name(entry), entry.get("segments_info")
        label_map = resolve_image(name, maps)
        if label_map is None:
            raise Defect("missing image", f"the segments of image {show(image_id)} are in {show(name)}")
        if not isinstance(segments, list):
            raise Defect("wrong type", f"segments_info is {show(segments)}, not a list")
    except Defect as defect:
        problems.error(defect.kind, where, str(defect))
        return ()
    things, values = [], set()
    for number, segment in enumerate(segments):
        place = Where(file=where.file, entry=f"{where.entry} segments_info[{number}]")
        try:
            thing, value = _read_segment(segment, place, index, label_map)
        except Defect as defect:
            problems.error(defect.kind, place, str(defect))
            continue
        if value in values:
            problems.error("duplicate id", place, f"another segment of the image has the id {value}")
            continue
        values.add(value)
        things.append(thing)
    return tuple(things)


def _read_segment(value: object, where: Where, index: CocoFile, label_map: Path) -> tuple[Annotation, int]:
    segment = as_object(value)
    pixel = as_id(segment.get("id"), "id of the segment")
    if not isinstance(pixel, int) or not 0 <= pixel < 1 << 24:
        raise Defect("wrong type", f"the id of the segment is {show(pixel)}, no colour of a picture")
    category_id = as_id(segment.get("category_id"), "category_id")
    category = index.categories.get(category_id)
    if category is None:
        raise Defect("unknown class", f"category_id {show(category_id)} is none of the categories")
    if segment.get("iscrowd", 0) not in (0, 1):
        raise Defect("wrong type", f"iscrowd is {show(segment['iscrowd'])}, not 0 or 1")
    bbox = segment.get("bbox")
    thing = Annotation(
        label=category.name,
        where=where,
        xyxy=None if bbox is None else read_box(bbox),
        segment=PixelValues(file=label_map, value=pixel),
        crowd=bool(segment.get("iscrowd")),
        stuff=category.stuff,
    )
    return thing, pixel


READER = Reader(name="coco_panoptic", summary="COCO panoptic json with PNGs of segment ids", detect=detect, read=read)
