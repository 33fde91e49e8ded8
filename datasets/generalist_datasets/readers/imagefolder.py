"""Folders of images with the class as folder name, or with a metadata file beside them.

Hugging Face's ``imagefolder`` convention::

    train/dog/1.png                     class folders; a folder named like a split gives the split
    train/metadata.jsonl                {"file_name": "1.png", "text": "a dog"}, one line an image
    train/metadata.csv                  file_name,text

and captions tables as Flickr8k has them (``captions.csv`` or ``captions.txt``: an image column, a caption
column, one row a caption). Columns understood: ``file_name``; ``text``, ``caption``, ``captions``; ``label``,
``class``, ``category``; ``objects`` with ``bbox`` ([x, y, width, height] in pixels) and ``category`` or
``categories``, or a list of such objects.

A class without a place is an annotation with nothing but a label, and the fact "class".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from pathlib import Path
from typing import Any, TypeAlias

from generalist.images import IMAGE_SUFFIXES
from generalist.types import GeneralistError
from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.fields import as_object, read_box, show
from generalist_datasets.readers.json_stream import Defect
from generalist_datasets.readers.lines import csv_rows, json_lines, read_head
from generalist_datasets.readers.pairs import SPLITS, files_in, folders_in, split_of, walk
from generalist_datasets.readers.paths import resolve_image
from generalist_datasets.records import Annotation, Problems, Record, Where

TABLES = ("metadata.jsonl", "metadata.csv", "captions.csv", "captions.txt")

_IMAGE_COLUMNS = ("file_name", "filename", "image", "image_id", "image_name")
_CAPTION_COLUMNS = ("text", "caption", "captions", "comment")
_LABEL_COLUMNS = ("label", "class", "category")
_PICTURE_FOLDERS = ("images", "Images", "Flicker8k_Dataset", "flickr30k_images")
# What other formats call their parts: such a folder's name is not the class of what is in it.
_NOT_CLASSES = frozenset(
    ["images", "image", "imgs", "img", "jpegimages", "labels", "label", "masks", "mask", "annotations", "depth"],
)
_LABEL_SUFFIXES = frozenset([".json", ".xml", ".txt", ".npy", ".csv", ".jsonl", ".yaml", ".mat"])

Row: TypeAlias = tuple[Where, Mapping[str, Any]]


def _detect(path: Path) -> bool:
    if not os.path.isdir(path):
        return path.name in TABLES and _has_columns(path)
    tables = list(islice(_tables(path), 8))
    return any(map(_has_columns, tables)) if tables else _has_class_folders(path)


def _read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    if os.path.isfile(path):
        root, tables = path.parent, [path]
    elif os.path.isdir(path):
        root, tables = path, list(_tables(path))
    else:
        raise GeneralistError(f"{path}: no such folder; name a folder of images")
    if not tables:
        yield from _class_folders(root)
    for table in tables:
        yield from _table(table, root, problems, options)


READER = Reader(
    name="imagefolder",
    summary="class folders, or images with metadata.jsonl, metadata.csv or captions.csv",
    detect=_detect,
    read=_read,
)


# --- class folders ------------------------------------------------------------------------------------


def _class_folders(root: Path) -> Iterator[Record]:
    for folder, names in walk(root, IMAGE_SUFFIXES):
        inside = folder.relative_to(root)
        label = _class_of(inside.parts)
        for name in names:
            where = Where(file=folder / name)
            yield Record(
                id=(inside / name).as_posix(),
                images=(where.file,),
                where=where,
                split=split_of(inside),
                annotations=(Annotation(label=label, where=where),) if label else (),
                facts={"class": label} if label else {},
            )


def _class_of(parts: tuple[str, ...]) -> str:
    """The name of the image's own folder; "" where it is no class."""
    name = parts[-1] if parts else ""
    return "" if name.lower() in SPLITS or name.lower() in _NOT_CLASSES else name


def _has_class_folders(root: Path) -> bool:
    """Nothing but class folders, at least two, or splits of them; nothing but images in a class folder."""
    names = folders_in(root)
    if names and all(name.lower() in SPLITS for name in names):
        return any(_are_classes(root / name) for name in names[:8])
    return _are_classes(root)


def _are_classes(root: Path) -> bool:
    folders = [root / name for name in folders_in(root)[:64]]
    return len(folders) >= 2 and not files_in(root, IMAGE_SUFFIXES) and all(map(_is_class, folders))


def _is_class(folder: Path) -> bool:
    if folder.name.lower() in _NOT_CLASSES or folders_in(folder) or not files_in(folder, IMAGE_SUFFIXES):
        return False
    return not files_in(folder, _LABEL_SUFFIXES)


# --- tables -------------------------------------------------------------------------------------------


def _tables(root: Path, depth: int = 2) -> Iterator[Path]:
    """The first of TABLES in ``root``, and in the folders below it that are called ``data`` or like a split."""
    if found := next((root / name for name in TABLES if os.path.isfile(root / name)), None):
        yield found
    for name in folders_in(root):
        if depth and (name.lower() in SPLITS or name == "data"):
            yield from _tables(root / name, depth - 1)


def _has_columns(table: Path) -> bool:
    head = read_head(table).partition("\n")[0]
    return any(name in head for name in _IMAGE_COLUMNS)


def _table(table: Path, root: Path, problems: Problems, options: Options) -> Iterator[Record]:
    rows: Iterator[Row] = json_lines(table, problems) if table.suffix == ".jsonl" else csv_rows(table, problems)
    folders = [options.images or table.parent]
    if options.images is None:
        folders += [table.parent / name for name in _PICTURE_FOLDERS]
    split = split_of(table.parent.relative_to(root))
    seen: set[str] = set()
    for name, group in groupby(_named(rows, problems), key=lambda named: named[0]):
        same = [row for _, row in group]  # Flickr8k has five rows an image, one below the other
        where, first = same[0]
        image = resolve_image(name, folders)
        if image is None:
            problems.error("missing image", where, show(name))
            continue
        if name in seen:
            problems.warn("duplicate id", where, f"{show(name)} is described further up, too")
        label = _label(first)
        yield Record(
            id=f"{name} ({where.entry})" if name in seen else name,
            images=(image,),
            where=where,
            split=split or _word(first.get("split")),
            annotations=(
                *((Annotation(label=label, where=where),) if label else ()),
                *(thing for place, row in same for thing in _objects(row.get("objects"), place, problems)),
            ),
            captions=tuple(caption for place, row in same for caption in _captions(row, place, problems)),
            facts={"class": label} if label else {},
        )
        seen.add(name)


def _named(rows: Iterable[Row], problems: Problems) -> Iterator[tuple[str, Row]]:
    """Rows with the name of their image."""
    for where, row in rows:
        name = next((row[column] for column in _IMAGE_COLUMNS if row.get(column) is not None), None)
        if name is None:
            problems.error("missing field", where, "file_name")
        elif not isinstance(name, str):
            problems.error("wrong type", where, f"file_name is {show(name)}")
        else:
            yield name.strip(), (where, row)


def _captions(row: Mapping[str, Any], where: Where, problems: Problems) -> Iterator[str]:
    for column in _CAPTION_COLUMNS:
        value = row.get(column)
        for caption in value if isinstance(value, list) else [value]:
            if isinstance(caption, str):
                if caption.strip():
                    yield caption.strip()
            elif caption is not None:
                problems.error("wrong type", where, f"{column} is {show(caption)}")


def _label(row: Mapping[str, Any]) -> str:
    return next((text for column in _LABEL_COLUMNS if (text := _word(row.get(column)))), "")


def _word(value: object) -> str:
    """A name, or a class number as text; "" for anything else."""
    if isinstance(value, str):
        return " ".join(value.split())
    return str(value) if type(value) is int and abs(value) < 1 << 32 else ""


def _objects(value: object, where: Where, problems: Problems) -> Iterator[Annotation]:
    """Boxes of one row: ``{"bbox": [...], "category": [...]}`` or ``[{"bbox": ..., "category": ...}]``."""
    try:
        pairs = _pairs(value)
    except Defect as defect:
        problems.error(defect.kind, where, str(defect))
        return
    for number, (box, label) in enumerate(pairs):
        place = Where(file=where.file, entry=f"{where.entry}, object {number}")
        try:
            if not (name := _word(label)):
                raise Defect("wrong type", f"category is {show(label)}, not a name or a number")
            yield Annotation(label=name, where=place, xyxy=read_box(box))
        except Defect as defect:
            problems.error(defect.kind, place, str(defect))


def _pairs(value: object) -> list[tuple[object, object]]:
    """(bbox, category) of every object."""
    if value is None:
        return []
    if isinstance(value, list):
        entries = [as_object(entry) for entry in value]
        return [(entry.get("bbox"), entry.get("category", entry.get("label"))) for entry in entries]
    columns = as_object(value)
    boxes = columns.get("bbox")
    labels = next((columns[key] for key in ("category", "categories", "label", "labels") if key in columns), None)
    if not isinstance(boxes, list) or not isinstance(labels, list) or len(boxes) != len(labels):
        raise Defect("wrong type", "objects need a list bbox and a list category of the same length")
    return list(zip(boxes, labels, strict=True))
