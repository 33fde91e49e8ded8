"""Boxes in a CSV table: the reader to copy when you add a format of your own.

The format: a folder with ``boxes.csv`` in it, and the pictures beside it or in ``images/``. One row a box, in
pixels, the rows of a picture one below the other::

    image,label,x1,y1,x2,y2
    street.jpg,car,34,50,120,98.5
    street.jpg,dog,5,60,33,97

Try it::

    generalist data check my_boxes
    generalist data check my_boxes/boxes.csv --format csv

To add another format: copy this file, change ``_detect`` and ``_read``, and add its name to ``_MODULES`` in
``readers/__init__.py``. Checking, previews, training and conversion work with it from then on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.fields import as_number, show
from generalist_datasets.readers.lines import csv_rows, read_head
from generalist_datasets.readers.paths import resolve_image
from generalist_datasets.records import Annotation, Problems, Record, Where

NAME = "boxes.csv"
COLUMNS = ("image", "label", "x1", "y1", "x2", "y2")


def _detect(path: Path) -> bool:
    """Cheap, and sure: look at names and at the beginnings of files, and never raise.

    ``os.path`` says False of a name that no file can have, where methods of ``Path`` raise.
    """
    file = path / NAME if os.path.isdir(path) else path
    return file.name == NAME and read_head(file).splitlines()[:1] == [",".join(COLUMNS)]


def _read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    """One record a picture, as soon as its rows have been read: memory does not grow with the file.

    What is wrong is reported with its place, and the next row is tried. Where ``problems`` is strict, the first
    error raises; a reader need not know. Pictures are found but not opened: checking does that.
    """
    file = path / NAME if os.path.isdir(path) else path
    # --images says where the pictures are, when they are somewhere else
    folders = [options.images] if options.images else [file.parent, file.parent / "images"]
    for name, group in groupby(csv_rows(file, problems), key=lambda row: row[1].get("image", "")):
        rows = list(group)
        where = rows[0][0]
        image = resolve_image(name, folders)  # a name comes from outside: this refuses what is none
        if image is None:
            problems.error("missing image", where, show(name))
            continue
        boxes = (_annotation(row, place, problems) for place, row in rows)
        yield Record(id=name, images=(image,), where=where, annotations=tuple(box for box in boxes if box))


def _annotation(row: Mapping[str, str], where: Where, problems: Problems) -> Annotation | None:
    corners = [row.get(column, "") for column in COLUMNS[2:]]
    try:
        x1, y1, x2, y2 = (as_number(float(corner), "a corner") for corner in corners)  # no NaN, no 1e400
    except ValueError:  # a Defect is one, too
        problems.error("not a number", where, f"the corners are {show(corners)}")
        return None
    # Boxes that are empty or outside the picture are for the check, which looks for them in all formats.
    label = " ".join(row.get("label", "").split())
    return Annotation(label=label, where=where, xyxy=(x1, y1, x2, y2))


READER = Reader(name="csv", summary="boxes.csv with image, label, x1, y1, x2, y2", detect=_detect, read=_read)
