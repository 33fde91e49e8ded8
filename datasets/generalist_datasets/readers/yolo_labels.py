"""A label file of YOLO -> annotations. Every line is a class and a shape, in shares of the picture's sides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from generalist.images import oriented_size, read_header
from generalist_datasets.readers.fields import show
from generalist_datasets.readers.json_stream import Defect
from generalist_datasets.readers.pairs import read_text
from generalist_datasets.records import Annotation, Keypoint, Problems, Where

_MOST_BYTES = 16 << 20
_MOST_CLASSES = 100_000  # of a set that does not name them
_FARTHEST = 2.0  # shares of a side: a box may lie half outside, but values beyond are pixels
_FLIPS = {2: (True, False), 3: (True, True), 4: (False, True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """``names`` by number; empty when any number is a class. ``keypoints`` as in ``DataYaml``."""

    names: Mapping[int, str]
    keypoints: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What shares become pixels of: ``size`` = (W, H), and the axes that are counted from the other end.

    Labels are drawn on the upright picture. Its size is claimed where it differs from the stored one (a quarter turn);
    where EXIF only mirrors the picture or turns it upside down, the labels are mirrored to the stored one.
    """

    size: tuple[int, int]
    flip: tuple[bool, bool] = (False, False)

    @classmethod
    def of(cls, image: Path) -> Frame:
        """From the header of the picture; :class:`generalist.types.GeneralistError` when it cannot be read."""
        header = read_header(image)
        size = oriented_size(header.size, header.orientation)
        return cls(size=size, flip=_FLIPS.get(header.orientation, (False, False)))

    def pixels(self, x: float, y: float) -> tuple[float, float]:
        x, y = (1 - v if flip else v for v, flip in zip((x, y), self.flip, strict=True))
        return x * self.size[0], y * self.size[1]


def read_labels(file: Path, frame: Frame, classes: Classes, problems: Problems) -> tuple[Annotation, ...] | None:
    """The annotations of a picture, without the lines that are reported; None for a file that is no text."""
    text = read_text(file, problems, _MOST_BYTES)
    if text is None:
        return None
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words:
            continue
        where = Where(file=file, entry=f"line {number}")
        try:
            found.append(_annotation(words, where, frame, classes))
        except Defect as defect:
            problems.error(defect.kind, where, str(defect))
    return tuple(found)


def looks_like_labels(head: str) -> bool:
    """Whether the first line of a file is a class and a shape. (An empty file may be labels, or anything.)"""
    words = head.lstrip().partition("\n")[0].split()
    try:
        _class_number(words[0] if words else "")
        return len(words) >= 5 and all(0 <= _number(word) <= 1 for word in words[1:5])
    except Defect:
        return False


def _annotation(words: list[str], where: Where, frame: Frame, classes: Classes) -> Annotation:
    label = _label(words[0], classes)
    numbers = [_number(word) for word in words[1:]]
    count, width = classes.keypoints or (0, 0)
    if count and len(numbers) == 4 + count * width:
        points = _keypoints(numbers[4:], width, frame)
        return Annotation(label=label, where=where, xyxy=_box(numbers[:4], frame), keypoints=points)
    if len(numbers) in (4, 5):  # a fifth is the confidence of a detector that wrote the file
        return Annotation(label=label, where=where, xyxy=_box(numbers[:4], frame))
    if len(numbers) < 6 or len(numbers) % 2:
        detail = f"{len(words)}; a box has 5 (class, centre, width, height), a polygon 7 or more (class, x y x y ...)"
        raise Defect("line with the wrong number of values", detail)
    _check_near(numbers, "point outside the image")
    corners = [frame.pixels(x, y) for x, y in zip(numbers[0::2], numbers[1::2], strict=True)]
    return Annotation(
        label=label,
        where=where,
        xyxy=_around(corners),
        segment=(tuple(v for corner in corners for v in corner),),
    )


def _label(word: str, classes: Classes) -> str:
    number = _class_number(word)
    if number in classes.names:
        return classes.names[number]
    if classes.names or not 0 <= number < _MOST_CLASSES:
        listed = f"; classes are {min(classes.names)} to {max(classes.names)}" if classes.names else ""
        raise Defect("unknown class", f"{show(word)}{listed}")
    return f"class {number}"


def _class_number(word: str) -> int:
    number = _number(word)  # some writers put 1.000000 there
    if number != int(number):
        raise Defect("unknown class", f"{show(word)} is no whole number")
    return int(number)


def _number(word: str) -> float:
    try:
        number = math.nan if "_" in word else float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Defect("not a number", show(word))
    return number


def _box(numbers: list[float], frame: Frame) -> tuple[float, float, float, float]:
    x, y, width, height = numbers
    _check_near(numbers, "box outside the image")
    if width < 0 or height < 0:
        raise Defect("empty box", f"width {width:g}, height {height:g}")
    return _around([frame.pixels(x + side * width / 2, y + side * height / 2) for side in (-1, 1)])


def _keypoints(numbers: list[float], width: int, frame: Frame) -> tuple[Keypoint, ...]:
    """x y, or x y v: v 0 (or both zero, without a v) is not labelled and left out, 1 is hidden, 2 visible."""
    found = []
    for i in range(0, len(numbers), width):
        x, y, *seen = numbers[i : i + width]
        if seen == [0.0] or (not seen and x == y == 0):
            continue
        _check_near([x, y], "point outside the image")
        name = f"keypoint {i // width + 1}"
        found.append(Keypoint(name=name, xy=frame.pixels(x, y), visible=not seen or seen[0] >= 2))
    return tuple(found)


def _check_near(numbers: list[float], kind: str) -> None:
    far = next((n for n in numbers if not 1 - _FARTHEST <= n <= _FARTHEST), None)
    if far is not None:
        raise Defect(kind, f"{far:g}; values are shares of the picture's sides, from 0 to 1")


def _around(corners: list[tuple[float, float]]) -> tuple[float, float, float, float]:
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)
