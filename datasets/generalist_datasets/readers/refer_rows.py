"""Rows of JSON, each a picture, a region of it and phrases for the region; ``refcoco`` tells which keys."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, TypeAlias

from generalist_datasets.readers.base import Options
from generalist_datasets.readers.coco_file import open_or_report
from generalist_datasets.readers.coco_layout import MOST_FILES, picture_folders, split_of
from generalist_datasets.readers.fields import (
    XYXY,
    as_number,
    as_object,
    as_size,
    as_text,
    box_of,
    read_box,
    read_segment,
    show,
)
from generalist_datasets.readers.json_stream import (
    LARGEST_ENTRY,
    SNIFF_BYTES,
    Defect,
    open_regular,
    parse_json,
    read_entry,
    stream_entries,
)
from generalist_datasets.readers.paths import resolve_image
from generalist_datasets.records import Annotation, Problems, Record, Where

_PICTURE = ("file_name", "image_path", "img_path", "image", "img")
_CORNERS = ("xyxy", "bbox_xyxy", "box")
_PHRASES = ("sentences", "phrases", "expressions", "referring_expressions", "expression", "referring_expression")
_PHRASE = ("sentence", "phrase", "sent", "answer")
_CLASS = ("category_name", "category", "class", "label")
_NO_CLASS = "object"

_TELLING = 8
"""So many boxes that all could be corners are corners: of x y width height, about three in four could not."""

Row: TypeAlias = dict[str, object]


@dataclass(slots=True)
class _Scan:
    """What one pass over the rows tells: ``places`` (entry, start, stop) of the rows of a (split, picture)."""

    places: dict[tuple[str, str], list[tuple[str, int, int]]] = field(default_factory=dict)
    boxes: int = 0
    not_corners: int = 0
    too_large: int = 0

    @property
    def corners(self) -> bool:
        return not self.not_corners and (self.too_large > 0 or self.boxes >= _TELLING)


def is_row_file(path: Path) -> bool:
    """Whether the first row of a file has a picture, a region and phrases."""
    if path.suffix.lower() not in (".json", ".jsonl"):
        return False
    try:
        with open_regular(path) as file:
            head = file.read(SNIFF_BYTES).decode("utf-8-sig", "replace").lstrip()
        if path.suffix.lower() == ".json" and not head.startswith("["):
            return False
        row, _ = json.JSONDecoder().raw_decode(head.removeprefix("[").lstrip())
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(row, dict):
        return False
    region = row.keys() & {*_CORNERS, "bbox", "segmentation"}
    # an answer alone may be to any question; RefCOCO's are lists of phrases
    spoken = row.keys() & {*_PHRASES, *_PHRASE} - {"answer"} or isinstance(row.get("answer"), list)
    return bool(region and spoken and row.keys() & set(_PICTURE))


def row_files(folder: Path) -> list[Path]:
    """Such files in a folder."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.lower().endswith((".json", ".jsonl")))
    except (OSError, ValueError):
        return []
    return [folder / name for name in names[:MOST_FILES] if is_row_file(folder / name)]


def read_rows(file: Path, root: Path, problems: Problems, options: Options) -> Iterator[Record]:
    """One record an image and split, whatever the order of the rows."""
    scan = _scan(file, split_of(file, root), problems)
    opened = open_or_report(file, problems) if scan else None
    if scan is None or opened is None:
        return
    folders: dict[str, list[Path]] = {}
    with opened:
        for (split, name), places in scan.places.items():
            where = Where(file=file, entry=places[0][0])
            if split not in folders:
                folders[split] = picture_folders(file, root, split, options)
            picture = resolve_image(name, folders[split])
            if picture is None:
                problems.error("missing image", where, show(name))
                continue
            size, things = _read_image(opened, file, places, scan.corners, problems)
            yield Record(
                id=f"{split}/{name}" if split else name,
                images=(picture,),
                where=where,
                split=split,
                size=size,
                annotations=things,
                facts={"bbox": "x1 y1 x2 y2"} if scan.corners else {},
            )


def _scan(file: Path, split: str, problems: Problems) -> _Scan | None:
    """Reads all rows once; those that cannot be used are reported and left out."""
    scan = _Scan()
    try:
        for place, start, stop, value in _rows(file):
            try:
                if isinstance(value, Defect):
                    raise value
                row = as_object(value)
                its_split = as_text(row["split"], "split") if row.get("split") else split
                scan.places.setdefault((its_split, _picture_name(row)), []).append((place, start, stop))
                _weigh(row, scan)
            except Defect as defect:
                problems.error(defect.kind, Where(file=file, entry=place), str(defect))
    except Defect as defect:
        problems.error(defect.kind, Where(file=file), str(defect))
        return None
    except OSError as error:
        problems.unreadable(file, error)
        return None
    return scan


def _rows(file: Path) -> Iterator[tuple[str, int, int, object]]:
    """(place, start, stop, value) of each row; the value of a broken line is its :class:`Defect`."""
    if file.suffix.lower() == ".json":
        for entry in stream_entries(file, ("",)):
            yield f"[{entry.index}]", entry.start, entry.stop, entry.value
        return
    with open_regular(file) as opened:
        number, start = 0, 0
        while line := opened.readline(LARGEST_ENTRY):
            number += 1
            value: object
            if len(line) == LARGEST_ENTRY and not line.endswith(b"\n"):
                while line and not line.endswith(b"\n"):
                    line = opened.readline(LARGEST_ENTRY)
                value = Defect("not valid JSON", f"a line of more than {LARGEST_ENTRY >> 20} MiB")
            elif not line.strip():
                start = opened.tell()
                continue
            else:
                try:
                    value = parse_json(line)
                except Defect as defect:
                    value = defect
            yield f"line {number}", start, start + len(line), value
            start = opened.tell()


def _picture_name(row: Row) -> str:
    for key in _PICTURE:
        value = row.get(key)
        if isinstance(value, dict):  # an image of Hugging Face's datasets
            value = value.get("path")
        if isinstance(value, str):
            return value
    found = sorted(row.keys() & set(_PICTURE))
    raise Defect("wrong type" if found else "missing field", f"{' or '.join(found or _PICTURE)} should name a picture")


def _weigh(row: Row, scan: _Scan) -> None:
    """Counts what speaks for and against ``bbox`` being corners."""
    bbox = row.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4:
        return
    try:
        x, y, right, bottom = (as_number(number, "a value of bbox") for number in bbox)
        size = as_size(row)
    except Defect:  # told when the row is read
        return
    scan.boxes += 1
    scan.not_corners += right <= x or bottom <= y
    scan.too_large += size is not None and (x + right > size[0] + 1 or y + bottom > size[1] + 1)


def _read_image(
    opened: BinaryIO, file: Path, places: list[tuple[str, int, int]], corners: bool, problems: Problems
) -> tuple[tuple[int, int] | None, tuple[Annotation, ...]]:
    """The size of an image, as its rows claim it, and its regions; rows of the same region are one thing."""
    size: tuple[int, int] | None = None
    things: dict[Annotation, tuple[Where, dict[str, None]]] = {}  # without place and phrases
    nowhere = Where(file=file)
    for place, start, stop in places:
        where = Where(file=file, entry=place)
        try:
            row = as_object(read_entry(opened, start, stop))
            size = size or as_size(row)
            thing = _read_row(row, where, size, corners, problems)
            spoken = things.setdefault(replace(thing, where=nowhere), (where, {}))[1]
            spoken.update(dict.fromkeys(_row_phrases(row)))
        except Defect as defect:
            problems.error(defect.kind, where, str(defect))
    return size, tuple(
        replace(thing, where=where, phrases=tuple(spoken)) for thing, (where, spoken) in things.items() if spoken
    )


def _read_row(row: Row, where: Where, size: tuple[int, int] | None, corners: bool, problems: Problems) -> Annotation:
    segment = read_segment(row.get("segmentation"), size, lambda kind, detail: problems.warn(kind, where, detail))
    box: XYXY | None = None
    for key in (*_CORNERS, "bbox"):
        if row.get(key) is not None:
            box = _corners(row[key]) if corners or key != "bbox" else read_box(row[key])
            break
    if box is None and segment is None:
        raise Defect("missing field", "neither bbox nor segmentation")
    name = next((row[key] for key in _CLASS if isinstance(row.get(key), str)), _NO_CLASS)
    crowd = row.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise Defect("wrong type", f"iscrowd is {show(crowd)}, not 0 or 1")
    return Annotation(
        label=as_text(name, "class"),
        where=where,
        xyxy=box or (box_of(segment) if segment else None),
        segment=segment,
        crowd=bool(crowd),
    )


def _corners(value: object) -> XYXY:
    if not isinstance(value, list) or len(value) != 4:
        raise Defect("wrong type", f"a box is {show(value)}, not [x1, y1, x2, y2]")
    x1, y1, x2, y2 = (as_number(number, "a value of the box") for number in value)
    if x2 < x1 or y2 < y1:
        raise Defect("empty box", f"corners {x1:g} {y1:g} and {x2:g} {y2:g}")
    return x1, y1, x2, y2


def _row_phrases(row: Row) -> list[str]:
    for key in (*_PHRASES, *_PHRASE):
        if row.get(key) is not None:
            return read_phrases(row[key])
    raise Defect("missing field", "no phrases (expression, sentences ...)")


def read_phrases(value: object) -> list[str]:
    """Phrases: a text, or a list of texts or of REFER's objects, whose text is ``sent`` (or ``raw``)."""
    if isinstance(value, list):
        if not value:
            raise Defect("missing field", "the list of phrases is empty")
        return [as_text(_sentence(one), "phrase") for one in value]
    return [as_text(value, "phrase")]


def _sentence(value: object) -> object:
    return value.get("sent") or value.get("raw") if isinstance(value, dict) else value
