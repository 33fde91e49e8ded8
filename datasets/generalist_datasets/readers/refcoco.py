"""Referring expressions: RefCOCO, RefCOCO+ and RefCOCOg in their original layout, and rows of JSON.

The original layout is a folder with ``instances.json`` and ``refs(unc).p`` (or .json). Of several partitions of
the same pictures unc is read, else umd, else google; name the file for another. A record holds all annotations
of an image; those that are referred to have phrases.

Rows are a .jsonl file, or a .json file of one list, each row an object with a picture (image, file_name,
image_path, img_path), a box or a segmentation, and phrases (expression, sent, sentences ...). ``box`` and
``xyxy`` are corners. ``bbox`` is x y width height in some sets and corners in others, and nothing says which, so
the whole file is looked at: it is corners when all of its boxes could be corners, and either one would be
too large for its image as width and height, or there are at least eight boxes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from generalist.types import GeneralistError
from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.coco import Part, claimed_size, picture_name, read_annotations
from generalist_datasets.readers.coco_file import CocoFile, Id, index_file, open_or_report
from generalist_datasets.readers.coco_layout import picture_folders
from generalist_datasets.readers.fields import as_id, as_object, as_text, show
from generalist_datasets.readers.json_stream import Defect, stream_entries
from generalist_datasets.readers.paths import resolve_image
from generalist_datasets.readers.refer_pickle import read_plain_pickle
from generalist_datasets.readers.refer_rows import is_row_file, read_phrases, read_rows, row_files
from generalist_datasets.records import Problems, Record, Where

_REFS = re.compile(r"refs(?:\((\w+)\))?\.(?:p|pkl|pickle|json)", re.IGNORECASE)
_PARTITIONS = ("unc", "umd", "google")
_MOST_PHRASES = 10_000_000

Spoken: TypeAlias = dict[Id, dict[str, None]]
"""Of each annotation of an image its phrases, each once, in order."""


def detect(path: Path) -> bool:
    if os.path.isfile(path):
        return bool(_REFS.fullmatch(path.name)) or is_row_file(path)
    return bool(_refs_files(path)) or bool(row_files(path))


def read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    if os.path.isfile(path):
        refs = [path] if _REFS.fullmatch(path.name) else []
        rows = [] if refs else [path]
    else:
        refs = _refs_files(path)[:1]
        rows = [] if refs else row_files(path)
    if not refs and not rows:
        raise GeneralistError(f"{path}: no referring expressions there; name the refs(...).p, .json or .jsonl file")
    for file in refs:
        yield from _read_refer(file, problems, options)
    for file in rows:
        yield from read_rows(file, path, problems, options)


def _refs_files(folder: Path) -> list[Path]:
    """Files of references in a folder, that to be read first."""
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []
    found = [(match[1] or "", name) for name in names if (match := _REFS.fullmatch(name))]
    order = {partition: i for i, partition in enumerate(_PARTITIONS)}
    # of the same partition .json comes before .p in the alphabet
    return [folder / name for partition, name in sorted(found, key=lambda pair: order.get(pair[0], len(order)))]


def _read_refer(file: Path, problems: Problems, options: Options) -> Iterator[Record]:
    index = index_file(file.with_name("instances.json"), problems)
    opened = open_or_report(index.path, problems) if index else None
    if not index or not opened:
        return
    with opened:
        part = Part(index=index, file=opened, stuff=False)
        for split, images in _read_refs(file, index, problems).items():
            folders = _picture_folders(file, split, options)
            for image_id, spoken in images.items():
                try:
                    yield _read_image(part, image_id, split, spoken, folders, problems)
                except Defect as defect:
                    problems.error(defect.kind, index.place(image_id), str(defect))


def _read_image(
    part: Part, image_id: Id, split: str, spoken: Spoken, folders: list[Path], problems: Problems
) -> Record:
    where = part.index.place(image_id)
    entry = part.index.image(part.file, image_id)
    name = picture_name(entry)
    picture = resolve_image(name, folders)
    if picture is None:
        raise Defect("missing image", show(name))
    size = claimed_size(entry, where, problems)
    things, _ = read_annotations(part, image_id, size, problems)
    missing = spoken.keys() - {own_id for own_id, _ in things}
    for own_id in missing:
        problems.error("unknown annotation id", where, f"ann_id {show(own_id)} of the references is not in this image")
    return Record(
        id=f"{split}/{image_id}" if split else str(image_id),
        images=(picture,),
        where=where,
        split=split,
        size=size,
        annotations=tuple(
            replace(thing, phrases=tuple(spoken.get(own_id, ())) if own_id is not None else ())
            for own_id, thing in things
        ),
    )


def _read_refs(file: Path, index: CocoFile, problems: Problems) -> dict[str, dict[Id, Spoken]]:
    """The phrases of a file by split and image; references that cannot be used are reported and left out."""
    found: dict[str, dict[Id, Spoken]] = {}
    count = 0
    try:
        for number, value in _refs(file):
            where = Where(file=file, entry=f"[{number}]")
            try:
                ref = as_object(value)
                image_id, own_id = as_id(ref.get("image_id"), "image_id"), as_id(ref.get("ann_id"), "ann_id")
                if image_id not in index:
                    raise Defect("unknown image id", f"image_id {show(image_id)} is not in {index.path.name}")
                split = as_text(ref.get("split", "train"), "split")
                texts = read_phrases(ref.get("sentences"))
            except Defect as defect:
                problems.error(defect.kind, where, str(defect))
                continue
            count += len(texts)
            if count > _MOST_PHRASES:
                raise Defect("unreadable file", f"more than {_MOST_PHRASES} phrases")
            spoken = found.setdefault(split, {}).setdefault(image_id, {})
            spoken.setdefault(own_id, {}).update(dict.fromkeys(texts))
    except Defect as defect:
        problems.error(defect.kind, Where(file=file), str(defect))
        return {}
    except OSError as error:
        problems.unreadable(file, error)
        return {}
    return found


def _picture_folders(file: Path, split: str, options: Options) -> list[Path]:
    """The pictures are those of COCO train2014, usually in a folder that several sets share."""
    if options.images is not None:
        candidates = [options.images / "train2014"]
    else:
        homes = ("train2014", "images/train2014", "images/mscoco/images/train2014", "coco/train2014", "images")
        bases = (file.parent, file.parent.parent, file.parent.parent.parent)
        candidates = [base / home for base in bases for home in homes]
    found = [*picture_folders(file, file.parent, split, options), *filter(os.path.isdir, candidates)]
    return list(dict.fromkeys(found))


def _refs(file: Path) -> Iterator[tuple[int, object]]:
    if file.suffix.lower() == ".json":
        yield from ((entry.index, entry.value) for entry in stream_entries(file, ("",)))
        return
    refs = read_plain_pickle(file)
    if not isinstance(refs, list):
        raise Defect("wrong type", f"the file should be a list of references, found {type(refs).__name__}")
    yield from enumerate(refs)


READER = Reader(name="refcoco", summary="RefCOCO, RefCOCO+, RefCOCOg: referring expressions", detect=detect, read=read)
