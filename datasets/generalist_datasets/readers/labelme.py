"""LabelMe: a JSON file of shapes for every picture.

Rectangles are boxes; polygons, circles (as polygons) and masks are areas with boxes; a point is a keypoint of its own.
Lines are no areas and are left out with a warning. Rectangles and polygons with one label and one ``group_id`` are
parts of one thing. The picture is the file at ``imagePath``; one that is only embedded (``imageData``) is missing.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from generalist.images import MAX_PIXELS
from generalist_datasets.readers.base import Options, Reader
from generalist_datasets.readers.fields import XYXY, as_number, as_object, as_text, box_of, show
from generalist_datasets.readers.json_stream import Defect
from generalist_datasets.readers.lines import read_head
from generalist_datasets.readers.pairs import (
    IMAGE_FOLDERS,
    picture_with_stem,
    read_text,
    record_id,
    split_of,
    walk,
)
from generalist_datasets.readers.paths import resolve_image
from generalist_datasets.records import Annotation, Keypoint, Polygons, Problems, Record, Rle, Where

_MOST_BYTES = 64 << 20  # the picture may be embedded
_LINES = ("line", "linestrip")
_CIRCLE_POINTS = 64
_PEEK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """An area. ``group``: what its other parts share with it, None when it has none."""

    label: str
    where: Where
    xyxy: XYXY
    rings: Polygons = ()
    mask: Rle | None = None
    group: tuple[str, str] | None = None


def detect(path: Path) -> bool:
    """A JSON file of shapes, or a folder with some."""
    if os.path.isfile(path):
        return path.suffix.lower() == ".json" and _looks_like_shapes(read_head(path))
    for folder, names in islice(walk(path, {".json"}), _PEEK):
        if any(_looks_like_shapes(read_head(folder / name)) for name in names[:_PEEK]):
            return True
    return False


def read(path: Path, problems: Problems, options: Options) -> Iterator[Record]:
    """One record a JSON file."""
    root = path.parent if os.path.isfile(path) else path
    files: Iterator[Path] = (folder / name for folder, names in walk(path, {".json"}) for name in names)
    found = False
    for file in [path] if os.path.isfile(path) else files:
        found = True
        record = _record(file, root, problems, options)
        if record is not None:
            yield record
    if not found:
        problems.error("nothing to read", Where(file=path), "no JSON files")


def _looks_like_shapes(head: str) -> bool:
    keys = ('"shapes"', '"imagePath"', '"imageData"', '"shape_type"')
    return head.lstrip().startswith("{") and sum(key in head for key in keys) >= (2 if len(head) > 4096 else 1)


def _record(file: Path, root: Path, problems: Problems, options: Options) -> Record | None:
    where = Where(file=file)
    text = read_text(file, problems, _MOST_BYTES)
    if text is None:
        return None
    try:
        loaded = as_object(json.loads(text))
    except Defect as defect:
        problems.error(defect.kind, where, str(defect))
        return None
    except (ValueError, RecursionError) as error:
        problems.error("not valid JSON", where, str(error)[:200] or type(error).__name__)
        return None
    shapes, name = loaded.get("shapes"), loaded.get("imagePath")
    if shapes is None and name is None:
        problems.warn("not a label file", where, "this JSON has neither shapes nor imagePath")
        return None
    if not isinstance(shapes, list):
        problems.error("missing field" if shapes is None else "wrong type", where, f"shapes is {show(shapes)}")
        return None
    image = _picture(name, file, options)
    if image is None:
        embedded = "; the picture is only embedded: save it as a file" if loaded.get("imageData") else ""
        problems.error("missing image", where, f"imagePath is {show(name)}{embedded}")
        return None
    size = _size(loaded, where, problems)
    return Record(
        id=record_id(image, root),
        images=(image,),
        where=where,
        split=split_of(file.parent.relative_to(root)),
        size=size,
        annotations=tuple(_annotations(shapes, file, size, problems)),
    )


def _picture(name: object, file: Path, options: Options) -> Path | None:
    """The picture that ``imagePath`` names, else the one with the stem of the JSON file."""
    folders = [options.images] if options.images else []
    folders += [file.parent, *(file.parent.parent / f for f in IMAGE_FOLDERS)]
    named = resolve_image(name, folders) if isinstance(name, str) else None
    return named or picture_with_stem(file.stem, folders)


def _size(loaded: dict[str, object], where: Where, problems: Problems) -> tuple[int, int] | None:
    """(W, H) that the file claims; None where it claims none, or a false one."""
    width, height = loaded.get("imageWidth"), loaded.get("imageHeight")
    if width is None and height is None:
        return None
    if type(width) is int and type(height) is int and width > 0 and height > 0 and width * height <= MAX_PIXELS:
        return width, height
    problems.warn("wrong picture size", where, f"imageWidth is {show(width)}, imageHeight is {show(height)}")
    return None


# --- shapes ---------------------------------------------------------------------------------------------


def _annotations(
    shapes: list[object], file: Path, size: tuple[int, int] | None, problems: Problems
) -> list[Annotation]:
    things: dict[object, list[_Shape]] = {}  # parts of one thing, in the order of their first ones
    points = []
    for number, shape in enumerate(shapes):
        where = Where(file=file, entry=f"shapes[{number}]")
        try:
            read = _shape(as_object(shape), where, size)
        except Defect as defect:
            (problems.warn if defect.kind == "not an area" else problems.error)(defect.kind, where, str(defect))
            continue
        if isinstance(read, Annotation):
            points.append(read)
        else:
            things.setdefault(read.group or number, []).append(read)
    return [*map(_thing, things.values()), *points]


def _thing(parts: list[_Shape]) -> Annotation:
    corners = list(zip(*(part.xyxy for part in parts), strict=True))
    xyxy = (min(corners[0]), min(corners[1]), max(corners[2]), max(corners[3]))
    rings: Polygons = ()
    if any(part.rings for part in parts):  # the rectangles among them are areas, too
        rings = tuple(ring for part in parts for ring in part.rings or (_rectangle(part.xyxy),))
    first = parts[0]
    return Annotation(label=first.label, where=first.where, xyxy=xyxy, segment=first.mask or rings or None)


def _rectangle(xyxy: XYXY) -> tuple[float, ...]:
    x1, y1, x2, y2 = xyxy
    return (x1, y1, x2, y1, x2, y2, x1, y2)


def _shape(shape: dict[str, object], where: Where, size: tuple[int, int] | None) -> _Shape | Annotation:
    label = as_text(shape.get("label"), "label")
    kind = shape.get("shape_type", "polygon")
    if kind in _LINES:
        raise Defect("not an area", f"a {kind} has no inside")
    points = _points(shape.get("points"))
    if kind == "point":
        _expect(points, 1, "point")
        return Annotation(label=label, where=where, keypoints=(Keypoint(name=label, xy=points[0]),))
    if kind == "mask":
        mask, xyxy = _mask(shape.get("mask"), points, size)
        return _Shape(label=label, where=where, xyxy=xyxy, mask=mask)
    group = shape.get("group_id")
    key = (label, str(group)) if type(group) in (int, str) else None
    if kind == "rectangle":
        _expect(points, 2, "rectangle")
        return _Shape(label=label, where=where, xyxy=_around(points), group=key)
    if kind == "circle":
        _expect(points, 2, "circle")
        ring = _circle(points[0], points[1])
        return _Shape(label=label, where=where, xyxy=box_of((ring,)), rings=(ring,))
    if kind != "polygon":
        raise Defect("wrong type", f"shape_type is {show(kind)}; use rectangle, polygon, circle, mask or point")
    if len(points) < 3:
        raise Defect("polygon with fewer than 3 points", str(len(points)))
    ring = tuple(number for point in points for number in point)
    return _Shape(label=label, where=where, xyxy=_around(points), rings=(ring,), group=key)


def _points(value: object) -> list[tuple[float, float]]:
    if not isinstance(value, list):
        raise Defect("missing field" if value is None else "wrong type", f"points is {show(value)}")
    points = []
    for point in value:
        if not isinstance(point, list) or len(point) != 2:
            raise Defect("wrong type", f"a point is {show(point)}; use [x, y]")
        points.append((as_number(point[0], "x"), as_number(point[1], "y")))
    return points


def _expect(points: list[tuple[float, float]], least: int, kind: str) -> None:
    if len(points) < least:
        raise Defect("missing field", f"a {kind} with {len(points)} points; it needs {least}")


def _around(points: list[tuple[float, float]]) -> XYXY:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def _circle(centre: tuple[float, float], edge: tuple[float, float]) -> tuple[float, ...]:
    """A ring through ``edge``. Its points include the four outermost ones of the circle."""
    radius = math.dist(centre, edge)
    angles = (2 * math.pi * i / _CIRCLE_POINTS for i in range(_CIRCLE_POINTS))
    ends = ((centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in angles)
    return tuple(number for end in ends for number in end)


def _mask(written: object, points: list[tuple[float, float]], size: tuple[int, int] | None) -> tuple[Rle, XYXY]:
    """A picture of the mask within its box; ``points`` are the first and the last pixel of that box."""
    _expect(points, 2, "mask")
    if size is None:
        raise Defect("missing field", "imageWidth and imageHeight, which say where a mask ends")
    if not isinstance(written, str):
        raise Defect("missing field" if written is None else "wrong type", f"mask is {show(written)}")
    left, top, right, bottom = map(round, _around(points))
    width, height = right - left + 1, bottom - top + 1
    try:
        with Image.open(io.BytesIO(base64.b64decode(written)), formats=("PNG",)) as picture:
            if picture.size != (width, height):
                raise Defect("wrong picture size", f"the mask has {picture.size}, its points span {(width, height)}")
            if picture.width * picture.height > MAX_PIXELS:
                raise Defect("wrong picture size", f"the mask has more than {MAX_PIXELS} pixels")
            inside = np.asarray(picture.convert("L")) > 0  # bool[height, width]
    except Defect:
        raise
    except Exception as error:  # base64 and PNG decoders raise many types on hostile bytes
        raise Defect("unreadable file", f"mask is not a PNG picture in base64 ({show(str(error))})") from error
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(right + 1, size[0]), min(bottom + 1, size[1])
    if x1 >= x2 or y1 >= y2 or not inside.any():
        raise Defect("box outside the image" if inside.any() else "empty box", f"mask at {(left, top, right, bottom)}")
    whole = np.zeros(size[::-1], np.uint8, order="F")  # [H, W], in the order that run lengths count in
    whole[y1:y2, x1:x2] = inside[y1 - top : y2 - top, x1 - left : x2 - left]
    counts = coco_mask.encode(whole)["counts"].decode()
    return Rle(size=(size[1], size[0]), counts=counts), (left, top, right + 1, bottom + 1)


READER = Reader(
    name="labelme",
    summary="LabelMe: a JSON file of shapes a picture",
    detect=detect,
    read=read,
)
