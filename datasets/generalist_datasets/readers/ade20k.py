"""ADE20K as scene parsing comes: ``images/{training,validation}`` and ``annotations/{training,validation}``.

A pixel's value is its class, from 1; 0 is unlabelled. Names come from ``objectInfo150.txt`` (or ``.csv``) where it is
there, of which the first synonym is taken; otherwise value 7 is "class 7". ``sceneCategories.txt`` gives each picture's
scene as a fact. Masks of the full ADE20K, which hold colours and parts, are another format.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path

from generalist.types import GeneralistError
from generalist_datasets.label_pictures import load_label_picture
from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.class_table import ClassTable
from generalist_datasets.readers.mask_folder import classes_in
from generalist_datasets.readers.pairs import Folders, holds, pair_files, read_text, record_id
from generalist_datasets.records import Problems, Record, Where

_LABELS = "annotations"
_SPLITS = ("training", "validation")
_NAMES = ("objectInfo150.txt", "objectInfo150.csv")
_SCENES = "sceneCategories.txt"
_UNLABELLED = 0
_MOST_BYTES = 16 << 20


def detect(path: Path) -> bool:
    """Pictures and PNG annotations in folders called "training" or "validation"."""
    return any(os.path.isdir(path / "images" / split) and holds(path / _LABELS / split, {".png"}) for split in _SPLITS)


def read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    """One record a picture that has a mask."""
    images = options.images or path / "images"
    if not holds(path / _LABELS, {".png"}):
        problems.error("nothing to read", Where(file=path), f"no {_LABELS}/ with PNG files")
        return
    table = _table(path, problems)
    scenes = _scenes(path / _SCENES, problems)
    for pair in pair_files(Folders(images=images, labels=path / _LABELS), {".png"}, problems):
        try:
            picture = load_label_picture(pair.label)
        except GeneralistError as error:
            problems.unreadable(pair.label, error)
            continue
        scene = scenes.get(pair.image.stem)
        yield Record(
            id=record_id(pair.image, images),
            images=(pair.image,),
            where=Where(file=pair.label),
            split=pair.split,
            size=picture.size,
            annotations=tuple(classes_in(picture, pair.label, table, problems, void=_UNLABELLED)),
            facts={"scene": scene} if scene else {},
        )


def _table(root: Path, problems: Problems) -> ClassTable:
    """Names of the values; a row is Idx, Ratio, Train, Val, Stuff, Name, and a name lists its synonyms."""
    file = next((root / name for name in _NAMES if os.path.isfile(root / name)), None)
    text = read_text(file, problems, _MOST_BYTES) if file else None
    if file is None or text is None:
        return ClassTable()
    names: dict[int, str] = {}
    lines = text.splitlines()
    rows = csv.reader(lines, delimiter="\t" if file.suffix == ".txt" else ",")
    try:
        for row in rows:
            name = " ".join(re.split("[,;]", row[-1])[0].split()) if len(row) >= 2 else ""
            if name and re.fullmatch(r"\s*[0-9]{1,9}\s*", row[0]):
                names[int(row[0])] = name
    except csv.Error as error:
        problems.error("unreadable file", Where(file=file, entry=f"line {rows.line_num}"), str(error))
    if not names:
        problems.error("missing field", Where(file=file), "no rows with a number and a name")
    for name in names.values():
        problems.declare(name, Where(file=file))
    return ClassTable(by_value=names)


def _scenes(file: Path, problems: Problems) -> dict[str, str]:
    """Scenes by the pictures' stems; a line is "ADE_train_00000001 airport_terminal"."""
    if not os.path.isfile(file) or (text := read_text(file, problems, _MOST_BYTES)) is None:
        return {}
    rows = (line.split() for line in text.splitlines())
    return {row[0]: row[1].replace("_", " ") for row in rows if len(row) == 2}


READER = Reader(
    name="ade20k",
    summary="ADE20K scene parsing: images/ and annotations/ with training and validation",
    detect=detect,
    read=read,
)
