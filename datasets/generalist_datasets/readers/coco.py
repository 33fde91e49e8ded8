"""COCO json: instances, captions, keypoints, in whatever mixture the annotations hold.

Read as they are: one annotation file; a folder with ``annotations/*.json`` and picture folders; Roboflow's export
(``train/_annotations.coco.json`` beside the pictures, ``valid/``, ``test/``). Files about the same pictures, as
instances_train2017.json, person_keypoints_train2017.json and captions_train2017.json are, become one record an
image; the same annotation id in two of them is one thing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeAlias

from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.coco_file import Category, CocoFile, Id, index_file, open_or_report
from generalist_datasets.readers.coco_layout import annotation_files, detects, picture_folders, split_of
from generalist_datasets.readers.fields import (
    Warn,
    as_id,
    as_size,
    as_text,
    box_of,
    read_box,
    read_keypoints,
    read_segment,
    show,
)
from generalist_datasets.readers.json_stream import Defect
from generalist_datasets.readers.paths import resolve_image
from generalist_datasets.records import Annotation, Problems, Record, Where

_PART = re.compile(r"(instances|captions|person_keypoints|keypoints|stuff)_(.+)", re.IGNORECASE)
"""Names of files that may be parts of one data set: what they hold, and of which pictures."""

Numbered: TypeAlias = tuple[Id | None, Annotation]
"""A thing and its id in the file, which may be missing."""

Facts: TypeAlias = Callable[[dict[str, object], CocoFile, tuple[Annotation, ...]], dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file of a group, open."""

    index: CocoFile
    file: BinaryIO
    stuff: bool


def detect(path: Path) -> bool:
    return detects(path, "coco")


def read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    groups: dict[Path, list[Path]] = {}
    for file in annotation_files(path, "coco"):
        match = _PART.fullmatch(file.stem)
        groups.setdefault(file.with_name(match[2]) if match else file, []).append(file)
    for group in groups.values():
        yield from read_group(group, path, problems, options)


def read_group(
    files: list[Path], root: Path, problems: Problems, options: Options, facts: Facts | None = None
) -> Iterator[Record]:
    """The records of files about the same pictures. ``facts`` makes those of a record."""
    split = split_of(files[0], root)
    folders = picture_folders(files[0], root, split, options)
    with ExitStack() as stack:
        parts = []
        # what tells the things apart first, what adds to them after it
        for path in sorted(files, key=lambda file: "keypoints" in file.stem):
            index = index_file(path, problems)
            file = open_or_report(index.path, problems) if index else None
            if index and file:
                stack.enter_context(file)
                parts.append(Part(index=index, file=file, stuff=path.stem.lower().startswith("stuff_")))
        for number, part in enumerate(parts):
            for image_id in part.index.image_ids:
                if any(image_id in earlier.index for earlier in parts[:number]):
                    continue
                try:
                    yield _read_image(image_id, parts[number:], split, folders, problems, facts)
                except Defect as defect:
                    problems.error(defect.kind, part.index.place(image_id), str(defect))


def _read_image(
    image_id: Id, parts: list[Part], split: str, folders: list[Path], problems: Problems, facts: Facts | None
) -> Record:
    """``parts``: the files of the group from the first that has the image."""
    where = parts[0].index.place(image_id)
    entry = parts[0].index.image(parts[0].file, image_id)
    name = picture_name(entry)
    picture = resolve_image(name, folders)
    if picture is None:
        raise Defect("missing image", show(name))
    size = claimed_size(entry, where, problems)
    things: list[Numbered] = []
    captions: list[str] = []
    for part in parts:
        if part is parts[0] or _same_picture(part, image_id, name, problems):
            more, texts = read_annotations(part, image_id, size, problems)
            things = _merge(things, more)
            captions += texts
    annotations = tuple(thing for _, thing in things)
    return Record(
        id=f"{split}/{image_id}" if split else str(image_id),
        images=(picture,),
        where=where,
        split=split,
        size=size,
        annotations=annotations,
        captions=tuple(captions),
        facts=facts(entry, parts[0].index, annotations) if facts else {},
    )


def _merge(things: list[Numbered], more: list[Numbered]) -> list[Numbered]:
    """Joins what two files say of an image: one thing where id and label agree, as persons with keypoints do."""
    places = {(own_id, thing.label): i for i, (own_id, thing) in enumerate(things) if own_id is not None}
    merged = list(things)
    for own_id, thing in more:
        place = places.get((own_id, thing.label)) if own_id is not None else None
        if place is None:
            merged.append((own_id, thing))
            continue
        first = merged[place][1]
        merged[place] = (
            own_id,
            replace(
                first,
                xyxy=first.xyxy or thing.xyxy,
                segment=first.segment or thing.segment,
                keypoints=first.keypoints or thing.keypoints,
            ),
        )
    return merged


def picture_name(entry: dict[str, object]) -> str:
    """The file name in an image entry; LVIS has only the address that the picture came from."""
    name = entry.get("file_name")
    if name is None and isinstance(url := entry.get("coco_url"), str):
        name = "/".join(url.split("/")[-2:])  # .../train2017/000000000009.jpg
    if name is None:
        raise Defect("missing field", "file_name")
    if not isinstance(name, str):
        raise Defect("wrong type", f"file_name is {show(name)}")
    return name


def claimed_size(entry: dict[str, object], where: Where, problems: Problems) -> tuple[int, int] | None:
    """(W, H) of an image entry; what is no size is a warning, since the picture itself will tell."""
    try:
        return as_size(entry)
    except Defect as defect:
        problems.warn(defect.kind, where, str(defect))
        return None


def _same_picture(part: Part, image_id: Id, name: str, problems: Problems) -> bool:
    """Whether a file of the group means the same picture by an id; that of another name is an error."""
    if image_id not in part.index:
        return False
    try:
        if (other := picture_name(part.index.image(part.file, image_id))) != name:
            raise Defect("duplicate id", f"{show(other)} here, {show(name)} in another file")
    except Defect as defect:
        problems.error(defect.kind, part.index.place(image_id), str(defect))
        return False
    return True


def read_annotations(
    part: Part, image_id: Id, size: tuple[int, int] | None, problems: Problems
) -> tuple[list[Numbered], list[str]]:
    """The things of an image with their ids, and its captions, as one file has them."""
    things: list[Numbered] = []
    captions: list[str] = []
    for where, entry in part.index.annotations(part.file, image_id):
        try:
            if "caption" in entry:
                captions.append(as_text(entry["caption"], "caption"))
            else:
                own_id = entry.get("id")
                thing = read_thing(entry, where, part.index.categories, size, problems)
                things.append((own_id if isinstance(own_id, (int, str)) else None, thing))
        except Defect as defect:
            problems.error(defect.kind, where, str(defect))
    if part.stuff:
        things = [(own_id, replace(thing, stuff=True)) for own_id, thing in things]
    return things, captions


def read_thing(
    entry: dict[str, object],
    where: Where,
    categories: dict[Id, Category],
    size: tuple[int, int] | None,
    problems: Problems,
) -> Annotation:
    """One annotation of an instances or keypoints file; its box is that of its mask where it has none."""
    category_id = as_id(entry.get("category_id"), "category_id")
    category = categories.get(category_id)
    if category is None:
        raise Defect("unknown class", f"category_id {show(category_id)} is none of the categories")
    warn: Warn = lambda kind, detail: problems.warn(kind, where, detail)  # noqa: E731
    segment = read_segment(entry.get("segmentation"), size, warn)
    keypoints = read_keypoints(entry.get("keypoints"), category.keypoints)
    bbox = entry.get("bbox")
    box = read_box(bbox) if bbox not in (None, []) else box_of(segment) if segment else None
    if box is None and not keypoints:
        raise Defect("missing field", "neither bbox nor segmentation nor keypoints")
    if entry.get("iscrowd", 0) not in (0, 1):
        raise Defect("wrong type", f"iscrowd is {show(entry['iscrowd'])}, not 0 or 1")
    return Annotation(
        label=category.name,
        where=where,
        xyxy=box,
        segment=segment,
        keypoints=keypoints,
        crowd=bool(entry.get("iscrowd")),
        stuff=category.stuff,
    )


READER = Reader(name="coco", summary="COCO json: instances, captions, keypoints", detect=detect, read=read)
