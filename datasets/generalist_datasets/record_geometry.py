"""Pixels of annotations -> 0-1 of the upright picture.

Annotations refer to the picture as it is stored: labelling tools ignore EXIF. Where their claimed size is that of
the upright picture and not of the stored one, the tool has turned it already, and nothing is turned again.
Shapes: W, H of the upright picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from generalist.images import MAX_PIXELS, load_oriented, oriented_size
from generalist.types import GeneralistError, Mask
from generalist_datasets.depth import load_depth
from generalist_datasets.label_pictures import load_label_picture
from generalist_datasets.records import Annotation, DepthFile, PixelValues, Polygons, Record, Rle

Encoded = dict[str, Any]
"""A mask as pycocotools has it: ``size`` [H, W], ``counts`` bytes."""

XY = tuple[float, float]
XYXY = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A record's first picture, decoded, and how its annotations lie on it.

    ``image`` is upright RGB; ``frame`` = (W, H) that coordinates of annotations count in; ``orientation`` is the
    EXIF orientation that turns the frame into the upright picture.
    """

    image: Image.Image
    frame: tuple[int, int]
    orientation: int
    labels: dict[Path, np.ndarray] = field(default_factory=dict)

    @classmethod
    def load(cls, record: Record) -> Picture:
        """Decode; :class:`GeneralistError` when the picture is unreadable or has another shape than is claimed."""
        image, orientation = load_oriented(record.image)
        stored = oriented_size(image.size, orientation)
        frame = record.size or stored
        if frame == image.size and frame != stored:
            orientation = 1
        elif not same_shape(frame, stored):
            raise GeneralistError(
                f"{record.where}: the annotations are for {frame[0]}x{frame[1]} pixels and {record.image} has "
                f"{stored[0]}x{stored[1]}; use the picture that was labelled"
            )
        return cls(image=image, frame=frame, orientation=orientation)

    def point(self, xy: XY) -> XY:
        """A point in 0-1; outside of it where it is outside the picture."""
        return _turned((xy[0] / self.frame[0], xy[1] / self.frame[1]), self.orientation)

    def box(self, xyxy: XYXY) -> XYXY | None:
        """A box in 0-1, clipped into the picture; None when nothing of it is inside."""
        corners = (self.point(xyxy[:2]), self.point(xyxy[2:]))
        (x1, x2), (y1, y2) = (sorted(min(max(c[axis], 0.0), 1.0) for c in corners) for axis in range(2))
        return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None

    def mask(self, annotation: Annotation) -> Mask | None:
        """The segment of an annotation at the size of the upright picture; None when no pixel is set."""
        segment = annotation.segment
        rle: Encoded | None
        if isinstance(segment, PixelValues):
            rle = _encode(self._upright(self._label_values(segment.file) == segment.value, segment.file))
        elif isinstance(segment, Rle):
            rle = self._run_lengths(segment, annotation)
        else:
            rle = self._polygons(segment or ())
        return None if rle is None or not coco.area(rle) else _mask(rle)

    def depth(self, depth: DepthFile) -> np.ndarray:
        """Metres, float32 [h, w], upright; NaN where unknown. It may be coarser or finer than the picture."""
        metres = load_depth(depth)
        stored = oriented_size(self.image.size, self.orientation)
        # A depth camera knows no EXIF, and its map is turned when the photograph is.
        return _turn(metres, self.orientation) if same_shape(metres.shape[::-1], stored) else metres

    @property
    def _as_stored(self) -> bool:
        return self.orientation == 1 and self.frame == self.image.size

    def _label_values(self, file: Path) -> np.ndarray:
        if file not in self.labels:
            self.labels[file] = load_label_picture(file).values
        return self.labels[file]

    def _upright(self, bitmap: np.ndarray, source: object) -> np.ndarray:
        """A bitmap of the frame, bool [h, w] at any scale, as bool [H, W]."""
        size = (bitmap.shape[1], bitmap.shape[0])
        if same_shape(size, self.frame):
            bitmap = _turn(bitmap, self.orientation)
        elif not same_shape(size, self.image.size):
            raise GeneralistError(
                f"{source}: this mask has {size[0]}x{size[1]} pixels and its picture "
                f"{self.frame[0]}x{self.frame[1]}; use masks of the picture's own size"
            )
        if bitmap.shape == (self.image.height, self.image.width):
            return bitmap
        scaled = Image.fromarray(bitmap.astype(np.uint8)).resize(self.image.size, Image.Resampling.NEAREST)
        return np.asarray(scaled, np.bool_)

    def _run_lengths(self, segment: Rle, annotation: Annotation) -> Encoded:
        rle: Encoded = {"size": list(segment.size), "counts": segment.counts.encode("ascii")}
        if self._as_stored and segment.size == (self.image.height, self.image.width):
            return rle
        if segment.size[0] * segment.size[1] > MAX_PIXELS:
            raise GeneralistError(f"{annotation.where}: a mask of {segment.size} pixels is too large; check its size")
        return _encode(self._upright(np.asarray(coco.decode(rle), np.bool_), annotation.where))

    def _polygons(self, polygons: Polygons) -> Encoded | None:
        rings = [self._ring(np.reshape(ring, (-1, 2))) for ring in polygons if len(ring) >= 6]
        if not rings:
            return None
        merged: Encoded = coco.merge(coco.frPyObjects(rings, self.image.height, self.image.width))
        return merged

    def _ring(self, points: np.ndarray) -> list[float]:
        """x1 y1 x2 y2 ... in pixels of the upright picture, of float64 [n, 2] in the frame."""
        size = np.array(self.image.size, np.float64)
        if not self._as_stored:  # dividing and multiplying again would round
            points = np.array([self.point((float(x), float(y))) for x, y in points]) * size
        # The rasteriser walks along every edge pixel by pixel, so a corner must not be a million pixels away.
        return [float(v) for v in np.clip(points, -size, 2 * size).ravel()]


def same_shape(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether one (W, H) is the other one scaled, up to the rounding of a pixel."""
    return min(*a, *b) > 0 and abs(a[0] * b[1] - b[0] * a[1]) <= max(*a, *b)


def _turned(xy: XY, orientation: int) -> XY:
    """Where a point in 0-1 of the stored picture is in the upright one."""
    x, y = xy
    return {
        2: (1 - x, y), 3: (1 - x, 1 - y), 4: (x, 1 - y), 5: (y, x), 6: (1 - y, x), 7: (1 - y, 1 - x), 8: (y, 1 - x),
    }.get(orientation, xy)  # fmt: skip


def _turn(values: np.ndarray, orientation: int) -> np.ndarray:
    """An array [h, w] of the stored picture as it lies on the upright one."""
    if orientation >= 5:
        values = values.T
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values[:, ::-1] if orientation in (2, 3, 6, 7) else values


def _encode(bitmap: np.ndarray) -> Encoded:
    encoded: Encoded = coco.encode(np.asfortranarray(bitmap, np.uint8))
    return encoded


def _mask(rle: Encoded) -> Mask:
    height, width = rle["size"]
    x, y, w, h = (float(v) for v in coco.toBbox(rle))
    xyxy = (x / width, y / height, (x + w) / width, (y + h) / height)
    return Mask(size=(height, width), counts=rle["counts"].decode("ascii"), xyxy=xyxy)
