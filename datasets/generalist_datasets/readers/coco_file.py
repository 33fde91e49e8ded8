"""COCO's json layout, shared by the readers of its family: where each image's entries are, without their content.

A file is read once from end to end to note the places of its images and annotations (they may come in any order
and its lists too), so nothing of a file that turns out broken is used. Then the entries are read again, image by
image. What stays in memory is about 150 bytes an image and 32 an annotation, whatever they hold.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from generalist_datasets.readers.fields import as_id, as_object, as_text, show
from generalist_datasets.readers.json_stream import Defect, Entry, open_regular, read_entry, stream_entries
from generalist_datasets.records import Problems, Where

Id: TypeAlias = int | str

_NO_ID = -(1 << 63)  # in the array of annotation ids: none, or not a 64-bit integer


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A class: ``keypoints`` names of its parts; ``stuff``: without instances; ``synonyms`` (LVIS)."""

    name: str
    keypoints: tuple[str, ...] = ()
    stuff: bool = False
    synonyms: tuple[str, ...] = ()


class CocoFile:
    """The index of one file; made by :func:`index_file`.

    ``categories`` by id; ``image_ids`` in the order of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.categories: dict[Id, Category] = {}
        self.image_ids: list[Id] = []
        self._codes: dict[Id, int] = {}  # of every image id that occurs, small numbers in order of appearance
        self._images: dict[int, int] = {}  # code -> row of _image_spans
        self._image_spans = array("q")  # number, start, stop
        self._spans = array("q")  # of annotations: number, start, stop, id
        self._image_of = array("q")  # of annotations: code
        self._order = np.zeros(0, np.int64)  # annotations sorted by code
        self._first = np.zeros(1, np.int64)  # of a code: where its annotations begin in _order

    def __contains__(self, image_id: Id) -> bool:
        return self._codes.get(image_id) in self._images

    def place(self, image_id: Id) -> Where:
        """Where the entry of an image is."""
        return self._where("images", self._image_spans[3 * self._images[self._codes[image_id]]], image_id)

    def image(self, file: BinaryIO, image_id: Id) -> dict[str, object]:
        """The entry of an image; ``file`` is this file, open. A :class:`Defect` when it has changed since."""
        row = 3 * self._images[self._codes[image_id]]
        _, start, stop = self._image_spans[row : row + 3]
        return as_object(read_entry(file, start, stop))

    def annotations(self, file: BinaryIO, image_id: Id) -> Iterator[tuple[Where, dict[str, object]]]:
        """The entries that belong to an image, in the order of the file."""
        code = self._codes.get(image_id)
        if code is None:
            return
        for row in self._order[self._first[code] : self._first[code + 1]]:
            number, start, stop, own_id = self._spans[4 * row : 4 * row + 4]
            yield self._where("annotations", number, own_id), as_object(read_entry(file, start, stop))

    def _where(self, key: str, number: int, own_id: Id) -> Where:
        named = "" if own_id == _NO_ID else f" (id {show(own_id)})"
        return Where(file=self.path, entry=f"{key}[{number}]{named}")

    # --- making the index -----------------------------------------------------------------------------

    def add(self, entry: Entry) -> None:
        """Takes in one entry of the file; a :class:`Defect` when it cannot be used."""
        value = as_object(entry.value)
        if entry.key == "categories":
            self._add_category(value)
            return
        image_id = as_id(value.get("id" if entry.key == "images" else "image_id"), "image id")
        code = self._codes.setdefault(image_id, len(self._codes))
        if entry.key == "annotations":
            own_id = value.get("id")
            noted = own_id if isinstance(own_id, int) and abs(own_id) < -_NO_ID else _NO_ID
            self._spans.extend((entry.index, entry.start, entry.stop, noted))
            self._image_of.append(code)
        elif code in self._images:
            raise Defect("duplicate id", f"another image has the id {show(image_id)}")
        else:
            self._images[code] = len(self.image_ids)
            self.image_ids.append(image_id)
            self._image_spans.extend((entry.index, entry.start, entry.stop))

    def _add_category(self, value: dict[str, object]) -> None:
        own_id = as_id(value.get("id"), "category id")
        if own_id in self.categories:
            raise Defect("duplicate id", f"another category has the id {show(own_id)}")
        parts, synonyms = value.get("keypoints") or [], value.get("synonyms") or []
        if not isinstance(parts, list) or not isinstance(synonyms, list):
            raise Defect("wrong type", "keypoints and synonyms of a category are lists of names")
        self.categories[own_id] = Category(
            name=as_text(value.get("name"), "name of the category"),
            keypoints=tuple([as_text(part, "name of a keypoint") for part in parts]),
            stuff=value.get("isthing", 1) == 0,
            synonyms=tuple([as_text(synonym, "synonym") for synonym in synonyms]),
        )

    def finish(self, problems: Problems) -> None:
        """Sorts the annotations by image; reports those of no image and ids that occur twice."""
        codes = np.frombuffer(self._image_of, np.int64)
        self._order = np.argsort(codes, kind="stable")
        self._first = np.searchsorted(codes[self._order], np.arange(len(self._codes) + 1))
        rows = np.frombuffer(self._spans, np.int64).reshape(-1, 4)
        known = np.zeros(len(self._codes), bool)
        known[list(self._images)] = True
        ids = list(self._codes)
        for row in np.flatnonzero(~known[codes]):
            where = self._where("annotations", rows[row, 0], int(rows[row, 3]))
            problems.error("unknown image id", where, f"image_id {show(ids[codes[row]])} is none of the images")
        order = np.argsort(rows[:, 3], kind="stable")
        again = (rows[order[1:], 3] == rows[order[:-1], 3]) & (rows[order[1:], 3] != _NO_ID)
        for row in np.sort(order[1:][again]):
            problems.warn("duplicate id", self._where("annotations", rows[row, 0], int(rows[row, 3])))


def index_file(path: Path, problems: Problems) -> CocoFile | None:
    """Reads a file through; None, and an error in ``problems``, when nothing of it can be used."""
    index, seen = CocoFile(path), set()
    try:
        for entry in stream_entries(path, ("images", "annotations", "categories")):
            seen.add(entry.key)
            try:
                index.add(entry)
            except Defect as defect:
                problems.error(defect.kind, Where(file=path, entry=_place(entry)), str(defect))
    except Defect as bad:
        problems.error(bad.kind, Where(file=path), str(bad))
        return None
    except OSError as error:
        problems.unreadable(path, error)
        return None
    if "images" not in seen:
        problems.error("missing field", Where(file=path), 'no images: a COCO file has a list "images"')
        return None
    index.finish(problems)
    for category in index.categories.values():
        problems.declare(category.name, Where(file=path, entry="categories"))
    return index


def _place(entry: Entry) -> str:
    own_id = entry.value.get("id") if isinstance(entry.value, dict) else None
    named = f" (id {own_id})" if type(own_id) is int and abs(own_id) < -_NO_ID else ""
    return f"{entry.key}[{entry.index}]{named}"


def open_or_report(path: Path, problems: Problems) -> BinaryIO | None:
    """The file, open; None, and an error in ``problems``, when it cannot be read."""
    try:
        return open_regular(path)
    except OSError as error:
        problems.unreadable(path, error)
        return None
