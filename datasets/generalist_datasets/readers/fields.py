"""Values found in annotation files -> boxes, masks, keypoints, ids, texts; each either sound or a Defect."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from pycocotools import mask as coco_mask

from generalist.images import MAX_PIXELS
from generalist_datasets.readers.json_stream import Defect
from generalist_datasets.records import Keypoint, Polygons, Rle

XYXY: TypeAlias = tuple[float, float, float, float]
Warn: TypeAlias = Callable[[str, str], None]
"""Takes a kind and a detail, as ``Problems.warn`` does."""

FARTHEST_PIXEL = 1 << 24
"""Coordinates beyond are no pixels of any picture (and would make mask code allocate without end)."""

_LONGEST_ID = 256


def show(value: object) -> str:
    """A value in a message: one line, short, printable."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply; an integer of more than 4300 digits
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."


def as_object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Defect("wrong type", f"expected an object, found {show(value)}")
    return value


def as_number(value: object, what: str) -> float:
    """A finite coordinate."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= FARTHEST_PIXEL:
        return float(value)
    raise Defect("not a number", f"{what} is {show(value)}")


def as_id(value: object, what: str) -> int | str:
    """An id: an integer of 64 bits (3.0 counts as 3) or a short printable text. A missing one is a defect too."""
    if value is None:
        raise Defect("missing field", what)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63:
        return value
    if isinstance(value, str) and len(value) <= _LONGEST_ID and value.isprintable():
        return value
    raise Defect("wrong type", f"{what} is {show(value)}")


def as_text(value: object, what: str) -> str:
    """One line of printable text that is not empty."""
    if value is None or value == "":
        raise Defect("missing field", what)
    if not isinstance(value, str):
        raise Defect("wrong type", f"{what} is {show(value)}")
    text = " ".join(value.encode("utf-8", "replace").decode().split())  # JSON may hold half surrogate pairs
    if not text:
        raise Defect("missing field", f"{what} is blank")
    return text


def as_size(entry: dict[str, object]) -> tuple[int, int] | None:
    """(W, H) that an image entry claims, None where it claims nothing."""
    width, height = entry.get("width"), entry.get("height")
    if width is None and height is None:
        return None
    sides = as_number(width, "width"), as_number(height, "height")
    if not all(side >= 1 and side == int(side) for side in sides):
        raise Defect("wrong type", f"width is {show(width)}, height is {show(height)}")
    return int(sides[0]), int(sides[1])


def read_box(value: object) -> XYXY:
    """COCO's [x, y, width, height] in pixels -> xyxy."""
    if not isinstance(value, list) or len(value) != 4:
        raise Defect("wrong type", f"bbox is {show(value)}, not [x, y, width, height]")
    x, y, width, height = (as_number(number, "a value of bbox") for number in value)
    if width < 0 or height < 0:
        raise Defect("empty box", f"width {width:g}, height {height:g}")
    return x, y, x + width, y + height


def read_segment(value: object, size: tuple[int, int] | None, warn: Warn) -> Polygons | Rle | None:
    """COCO's ``segmentation`` of an image of ``size`` (W, H): polygons or run lengths; None where it is empty.

    A ring that is no area is dropped with a warning where others remain.
    """
    if value is None or value == []:
        return None
    if isinstance(value, dict):
        return _read_rle(value, size)
    if not isinstance(value, list):
        raise Defect("wrong type", f"segmentation is {show(value)}")
    rings = value if isinstance(value[0], list) else [value]  # some writers leave out the outer list
    sound = [ring for ring in map(_read_ring, rings) if ring]
    if not sound:
        raise Defect("polygon with fewer than 3 points", f"segmentation is {show(value)}")
    if len(sound) < len(rings):
        warn("polygon with fewer than 3 points", f"{len(rings) - len(sound)} of {len(rings)} rings left out")
    return tuple(sound)


def _read_ring(ring: object) -> tuple[float, ...]:
    """x1 y1 x2 y2 ...; () where it has fewer than three points."""
    if not isinstance(ring, list):
        raise Defect("wrong type", f"a polygon is {show(ring)}")
    if len(ring) % 2:
        raise Defect("wrong type", f"a polygon of {len(ring)} values: an x without its y")
    if not _all_sound(ring):
        for number in ring:
            as_number(number, "a value of segmentation")  # says which
    return tuple(map(float, ring)) if len(ring) >= 6 else ()


def _all_sound(ring: list[object]) -> bool:
    """What ``as_number`` asks of each, at the speed of C: most of a data set's bytes are in its polygons."""
    if not ring or not set(map(type, ring)) <= {int, float}:
        return False
    numbers: list[float] = ring  # type: ignore[assignment]
    return min(numbers) >= -FARTHEST_PIXEL and max(numbers) <= FARTHEST_PIXEL and not math.isnan(sum(numbers))


def _read_rle(value: dict[str, object], size: tuple[int, int] | None) -> Rle:
    shape, counts = value.get("size"), value.get("counts")
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(side) is int and side > 0 for side in shape):
        raise Defect("wrong type", f"size of the run lengths is {show(shape)}, not [height, width]")
    height, width = shape
    if size is not None and size != (width, height):
        raise Defect("size differs from the file", f"run lengths for {width}x{height}, image {size[0]}x{size[1]}")
    if height * width > MAX_PIXELS:
        raise Defect("wrong type", f"run lengths for {width}x{height}: more than {MAX_PIXELS} pixels")
    if isinstance(counts, str):
        runs = _decode_counts(counts)
    elif isinstance(counts, list) and all(type(run) is int and 0 <= run <= MAX_PIXELS for run in counts):
        runs = np.array(counts, np.int64)
    else:
        raise Defect("wrong type", f"counts of the run lengths are {show(counts)}")
    # pycocotools writes past its arrays for counts that do not fit, so nothing else may reach it
    if not len(runs) or runs.min() < 0 or runs.max() > MAX_PIXELS or runs.sum() != height * width:
        raise Defect("wrong type", f"the run lengths do not add up to {width}x{height} pixels")
    if isinstance(counts, list):
        counts = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"].decode()
    assert isinstance(counts, str)
    return Rle(size=(height, width), counts=counts)


def _decode_counts(text: str) -> np.ndarray:
    """COCO's compressed counts -> int64 run lengths. Six bits a character: five of value, one "goes on"."""
    data = np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int64) - 48
    if not len(data) or data.min() < 0 or data.max() > 63 or data[-1] & 0x20:
        raise Defect("wrong type", f"counts of the run lengths are {show(text)}")
    last = np.flatnonzero(data & 0x20 == 0)  # last character of each number
    first = np.concatenate([[0], last[:-1] + 1])
    length = last - first + 1
    if length.max() > 7:
        raise Defect("wrong type", f"counts of the run lengths are {show(text)}")
    digit = np.arange(len(data)) - np.repeat(first, length)
    runs = np.add.reduceat((data & 0x1F) << 5 * digit, first)
    runs -= (data[last] & 0x10 > 0) * (1 << 5 * length)  # sign
    runs[1::2] = runs[1::2].cumsum()  # from the fourth on, each is the difference to the one before the last
    runs[2::2] = runs[2::2].cumsum()
    return runs


def box_of(segment: Polygons | Rle) -> XYXY:
    """The box around a mask."""
    if isinstance(segment, Rle):
        x, y, width, height = coco_mask.toBbox({"size": list(segment.size), "counts": segment.counts.encode()})
        return float(x), float(y), float(x + width), float(y + height)
    xs = [x for ring in segment for x in ring[0::2]]
    ys = [y for ring in segment for y in ring[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def read_keypoints(value: object, names: tuple[str, ...]) -> tuple[Keypoint, ...]:
    """COCO's x y v triples; v 0 is not labelled and left out, 1 is hidden, 2 visible."""
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) % 3 or (names and len(value) != 3 * len(names)):
        count = len(value) if isinstance(value, list) else show(value)
        raise Defect("wrong type", f"keypoints hold {count} values; the {len(names)} names need {3 * len(names)}")
    numbers = [as_number(number, "a value of keypoints") for number in value]
    if any(flag not in (0, 1, 2) for flag in numbers[2::3]):
        raise Defect("wrong type", "a visibility of keypoints is not 0, 1 or 2")
    named = names or tuple(f"keypoint {i + 1}" for i in range(len(numbers) // 3))
    triples = zip(named, numbers[0::3], numbers[1::3], numbers[2::3], strict=True)
    return tuple(Keypoint(name=name, xy=(x, y), visible=flag == 2) for name, x, y, flag in triples if flag)
