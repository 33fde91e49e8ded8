"""Pascal VOC: an XML file for every picture, with boxes, sometimes polygons, and masks of some pictures.

``Annotations/*.xml`` + ``JPEGImages/`` + ``ImageSets/Main/{train,val,test,trainval}.txt``; or XML files beside
pictures, in split folders or not. The picture has the XML's name, or the one that ``filename`` says.

Pixels are counted from 1 and both ends are inside, as VOC defines them: 1 is taken from ``xmin`` and ``ymin`` and from
the points of polygons, nothing from ``xmax`` and ``ymax``. (Tools that count from 0 write boxes that then begin at -1.)
Where ``segmented`` is 1, value n of ``SegmentationObject/*.png`` is the mask of object n; with only
``SegmentationClass/*.png``, every class in it is one more annotation.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from xml.etree.ElementTree import Element

from generalist.types import GeneralistError
from generalist_datasets.label_pictures import load_label_picture
from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.class_table import ClassTable, find_class_table
from generalist_datasets.readers.fields import FARTHEST_PIXEL, show
from generalist_datasets.readers.json_stream import Defect
from generalist_datasets.readers.lines import read_head
from generalist_datasets.readers.mask_folder import classes_in
from generalist_datasets.readers.pairs import (
    IMAGE_FOLDERS,
    folders_in,
    picture_with_stem,
    read_text,
    record_id,
    split_of,
    walk,
)
from generalist_datasets.readers.paths import resolve_image
from generalist_datasets.readers.xml_tree import read_xml
from generalist_datasets.records import Annotation, PixelValues, Polygons, Problems, Record, Where

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog",
    "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)  # fmt: skip
"""VOC's own classes: what 1 to 20 mean in SegmentationClass when no labelmap.txt says otherwise."""

_LIST_FILES = ("train", "val", "test", "trainval")  # the first that lists a picture says its split
_HEAD = re.compile(r"<annotation[\s>]")
_PEEK = 8  # folders that detection looks into
_MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Set:
    """A folder of XML files and what belongs to it. ``splits`` by the XML's stem; empty without ImageSets."""

    root: Path
    xmls: Path
    pictures: tuple[Path, ...]
    splits: dict[str, tuple[str, Where]]
    classes: ClassTable


def detect(path: Path) -> bool:
    """An annotation in XML, or a folder with some."""
    if os.path.isfile(path):
        return path.suffix.lower() == ".xml" and bool(_HEAD.search(read_head(path)))
    for root in _roots(path):
        for folder, names in islice(walk(_xml_folder(root), {".xml"}), _PEEK):
            if names:
                return bool(_HEAD.search(read_head(folder / names[0])))
    return False


def read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    """One record an XML file."""
    if os.path.isfile(path):
        record = _record(path, _open_set(path.parent, options, problems), problems)
        yield from [record] if record else []
        return
    found = False
    for root in _roots(path):
        opened = _open_set(root, options, problems)
        unread = dict(opened.splits)
        for folder, names in walk(opened.xmls, {".xml"}):
            for name in names:
                found = True
                unread.pop(os.path.splitext(name)[0], None)
                record = _record(folder / name, opened, problems)
                if record is not None:
                    yield record
        for stem, (split, where) in unread.items():
            problems.warn("missing label", where, f"{show(stem)} is in {split}; there is no {stem[:60]}.xml")
    if not found:
        problems.error("nothing to read", Where(file=path), "no XML files: Annotations/*.xml, or beside the pictures")


def _roots(path: Path) -> list[Path]:
    """The data sets in a folder: itself, or the years in VOCdevkit."""
    if os.path.isdir(path / "Annotations"):
        return [path]
    devkit = path / "VOCdevkit" if os.path.isdir(path / "VOCdevkit") else path
    years = [devkit / name for name in folders_in(devkit) if os.path.isdir(devkit / name / "Annotations")]
    return years or [path]


def _xml_folder(root: Path) -> Path:
    return root / "Annotations" if os.path.isdir(root / "Annotations") else root


def _open_set(folder: Path, options: Options, problems: Problems) -> _Set:
    """``folder``: the data set's root, or the folder of XML files."""
    root = folder.parent if folder.name == "Annotations" else folder
    pictures = [options.images] if options.images else []
    pictures += [base / name for base in (root, root.parent) for name in IMAGE_FOLDERS]
    table = find_class_table([root], problems)
    return _Set(
        root=root,
        xmls=_xml_folder(root),
        pictures=tuple(p for p in pictures if os.path.isdir(p)),
        splits=_listed_splits(root / "ImageSets" / "Main", problems),
        classes=table or ClassTable(by_value={0: "background", **dict(enumerate(CLASSES, 1))}),
    )


def _listed_splits(folder: Path, problems: Problems) -> dict[str, tuple[str, Where]]:
    splits: dict[str, tuple[str, Where]] = {}
    for split in _LIST_FILES:
        file = folder / f"{split}.txt"
        text = read_text(file, problems, _MOST_BYTES) if os.path.isfile(file) else None
        for number, line in enumerate((text or "").split("\n"), 1):
            if words := line.split():
                splits.setdefault(words[0], (split, Where(file=file, entry=f"line {number}")))
    return splits


# --- one XML file ---------------------------------------------------------------------------------------


def _record(file: Path, opened: _Set, problems: Problems) -> Record | None:
    root = read_xml(file, problems)
    if root is None:
        return None
    where = Where(file=file)
    if root.tag != "annotation":
        problems.error("wrong type", where, f"the root is <{root.tag[:40]}>, not <annotation>")
        return None
    folders = [*opened.pictures, file.parent]
    image = picture_with_stem(file.stem, folders) or resolve_image(_text(root, "filename"), folders)
    if image is None:
        problems.error("missing image", where, f"{show(_text(root, 'filename') or file.stem)} is nowhere")
        return None
    annotations: list[Annotation] = []
    for number, thing in enumerate(root.findall("object"), 1):
        place = Where(file=file, entry=f"object {number}")
        try:
            annotations.append(_annotation(thing, place))
        except Defect as defect:
            problems.error(defect.kind, place, str(defect))
    if _text(root, "segmented") == "1":
        annotations = _with_masks(annotations, file.stem, opened, problems)
    return Record(
        id=record_id(image, opened.root),
        images=(image,),
        where=where,
        split=opened.splits[file.stem][0] if file.stem in opened.splits else split_of(_inside(file, opened.xmls)),
        size=_size(root, where, problems),
        annotations=tuple(annotations),
    )


def _inside(file: Path, folder: Path) -> Path:
    return file.parent.relative_to(folder) if file.is_relative_to(folder) else Path()


def _annotation(thing: Element, where: Where) -> Annotation:
    label = " ".join(_text(thing, "name").split())
    if not label:
        raise Defect("missing field", "name")
    rings = tuple(_ring(polygon) for polygon in thing.findall("polygon"))
    box = thing.find("bndbox")
    if box is not None:
        xs = sorted(_number(box, tag) for tag in ("xmin", "xmax"))
        ys = sorted(_number(box, tag) for tag in ("ymin", "ymax"))
        xyxy = (xs[0] - 1, ys[0] - 1, xs[1], ys[1])
    elif rings:
        xs = [x for ring in rings for x in ring[0::2]]
        ys = [y for ring in rings for y in ring[1::2]]
        xyxy = (min(xs), min(ys), max(xs), max(ys))
    else:
        raise Defect("missing field", "bndbox")
    segment: Polygons | None = rings or None
    return Annotation(label=label, where=where, xyxy=xyxy, segment=segment)


def _ring(polygon: Element) -> tuple[float, ...]:
    """<x1>, <y1>, <x2>, <y2>, ... or <pt><x>, <y></pt>, ..."""
    numbers = [_finite(e.text, e.tag) - 1 for e in polygon.iter() if re.fullmatch(r"[xy][0-9]*", e.tag)]
    if len(numbers) < 6 or len(numbers) % 2:
        raise Defect("polygon with fewer than 3 points", f"{len(numbers)} values")
    return tuple(numbers)


def _text(parent: Element, tag: str) -> str:
    return (parent.findtext(tag) or "").strip()


def _number(box: Element, tag: str) -> float:
    found = box.find(tag)
    if found is None:
        raise Defect("missing field", tag)
    return _finite(found.text, tag)


def _finite(text: str | None, tag: str) -> float:
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not abs(number) <= FARTHEST_PIXEL:
        raise Defect("not a number", f"{tag} is {show(text)}")
    return number


def _size(root: Element, where: Where, problems: Problems) -> tuple[int, int] | None:
    """(W, H) that the file claims; None where it claims none, or a false one."""
    element = root.find("size")
    if element is None:
        return None
    sides = [_text(element, tag) for tag in ("width", "height")]
    if all(re.fullmatch(r"[0-9]{1,7}", side) and int(side) > 0 for side in sides):
        return int(sides[0]), int(sides[1])
    problems.warn("wrong picture size", where, f"width is {show(sides[0])}, height is {show(sides[1])}")
    return None


def _with_masks(found: list[Annotation], stem: str, opened: _Set, problems: Problems) -> list[Annotation]:
    """The annotations with what the label pictures of the same name add."""
    things = opened.root / "SegmentationObject" / f"{stem}.png"
    classes = opened.root / "SegmentationClass" / f"{stem}.png"
    file = things if os.path.isfile(things) else classes
    if not os.path.isfile(file):
        return found
    try:
        picture = load_label_picture(file)
    except GeneralistError as error:
        problems.unreadable(file, error)
        return found
    if file == classes:
        return [*found, *classes_in(picture, file, opened.classes, problems)]
    values = set(picture.distinct())
    return [_with_mask(annotation, file, values) for annotation in found]


def _with_mask(annotation: Annotation, file: Path, values: set[int]) -> Annotation:
    number = int(annotation.where.entry.removeprefix("object "))
    return replace(annotation, segment=PixelValues(file=file, value=number)) if number in values else annotation


READER = Reader(
    name="voc",
    summary="Pascal VOC: an XML file of boxes a picture",
    detect=detect,
    read=read,
)
