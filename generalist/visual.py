"""Pixels at the edge: typed outputs <-> the ``visual`` list, and what a user drew -> prompts.

Inside, geometry is 0-1; outside, it is in absolute pixels of the submitted, EXIF-corrected image,
x right and y down. Shapes: W, H the image's width and height; ``sizes`` are (W, H) of every image.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, TypedDict

import numpy as np
from PIL import Image

from generalist.images import ImageSource, load_bitmap
from generalist.types import Box, DepthMap, DocHit, GeneralistError, Grounded, Mask, Output, Point, VisualPrompt

Size: TypeAlias = tuple[int, int]

PNG16_MAX = 65535
DEPTH_SCALE = 1000.0
"""Levels a unit in a 16-bit depth picture, unless the farthest value needs a smaller scale."""


class ImageInfo(TypedDict):
    """One submitted image, after EXIF correction."""

    index: int
    width: int
    height: int


class _Entry(TypedDict):
    """What every visual has. ``image`` is None for a document that no image was given for."""

    index: int
    image: int | None
    label: str
    span: list[int]
    score: float | None


class BoxVisual(_Entry):
    """``box`` = [x1, y1, x2, y2] in pixels."""

    type: Literal["box"]
    box: list[float]


class PointVisual(_Entry):
    """``point`` = [x, y] in pixels."""

    type: Literal["point"]
    point: list[float]


class Rle(TypedDict):
    """COCO's compressed run-length encoding; ``size`` = [H, W]."""

    size: list[int]
    counts: str


class MaskVisual(_Entry):
    """``area`` in pixels."""

    type: Literal["mask"]
    box: list[float]
    rle: Rle
    area: int


class DepthVisual(_Entry):
    """``png16``: base64 of a 16-bit grey PNG; value / ``scale`` is the depth in ``unit``, 0 is unknown."""

    type: Literal["depth"]
    unit: Literal["metre", "relative"]
    png16: str
    scale: float
    min: float
    max: float


class Evidence(TypedDict):
    """Words that name a document. ``span`` = [start, stop) in its text, in characters; None for its title."""

    text: str
    span: list[int] | None


class DocumentVisual(_Entry):
    """A document of an index."""

    type: Literal["document"]
    document_id: str
    title: str
    text: str
    evidence: list[Evidence]


Visual: TypeAlias = BoxVisual | PointVisual | MaskVisual | DepthVisual | DocumentVisual


def to_visual(grounded: Sequence[Grounded], sizes: Sequence[Size]) -> list[dict[str, Any]]:
    """The ``visual`` list of typed outputs, in their order; each entry is one of :data:`Visual`."""
    return [_entry(index, item, sizes) for index, item in enumerate(grounded)]


def from_visual(entries: Sequence[Mapping[str, Any]], sizes: Sequence[Size]) -> tuple[Grounded, ...]:
    """What :func:`to_visual` was given, up to its rounding; :class:`GeneralistError` names a wrong entry."""
    seen: dict[tuple[Any, ...], int] = {}
    result: list[Grounded] = []
    for at, entry in enumerate(entries):
        try:
            start, stop = entry["span"]
            image = 0 if entry["image"] is None else int(entry["image"])
            key = (image, entry["label"], start, stop)
            ref = seen[key] = seen.get(key, -1) + 1
            output = _output(entry, image, sizes)
        except (KeyError, TypeError, ValueError, IndexError, OSError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
            raise GeneralistError(f"visual entry {at} is not valid ({reason}); use the form of to_visual") from error
        span = (int(start), int(stop))
        result.append(Grounded(label=str(entry["label"]), span=span, image=image, ref=ref, output=output))
    return tuple(result)


def image_infos(sizes: Sequence[Size]) -> list[ImageInfo]:
    """The ``image`` list that stands beside ``visual``."""
    return [ImageInfo(index=index, width=width, height=height) for index, (width, height) in enumerate(sizes)]


def box_pixels(xyxy: Sequence[float], size: Size) -> list[float]:
    """A 0-1 box as [x1, y1, x2, y2] in pixels, clipped into the image, 2 decimals."""
    return [round(min(max(v, 0.0), 1.0) * size[axis % 2], 2) for axis, v in enumerate(xyxy)]


# --- depth as a 16-bit picture ---------------------------------------------------------------------


def encode_png16(depth: DepthMap) -> tuple[bytes, float]:
    """A 16-bit grey PNG of ``depth`` and its scale (levels a unit); what is not finite or below 0 becomes 0."""
    values = np.nan_to_num(depth.values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(values.max(initial=0.0))
    scale = DEPTH_SCALE if depth.unit == "metre" and top * DEPTH_SCALE <= PNG16_MAX else PNG16_MAX / max(top, 1e-9)
    levels = np.clip(np.rint(values * scale), 0, PNG16_MAX).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "PNG")
    return buffer.getvalue(), scale


def decode_png16(data: bytes, scale: float) -> np.ndarray:
    """float32 [H, W] of what :func:`encode_png16` made."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
        return np.asarray(picture, np.float32) / np.float32(scale)


# --- what a user drew ---------------------------------------------------------------------------------


def box_prompt(xyxy: Sequence[float], size: Size) -> VisualPrompt:
    """A box in pixels of an image of ``size`` (W, H); :class:`GeneralistError` when it is not inside."""
    if len(xyxy) != 4:
        raise GeneralistError(f"box {_shown(xyxy)} has {len(xyxy)} numbers; use x1,y1,x2,y2 in pixels")
    _check_inside("box", xyxy, size)
    x1, y1, x2, y2 = xyxy
    if x2 <= x1 or y2 <= y1:
        raise GeneralistError(
            f"box {_shown(xyxy)} is empty on an image of {_by(size)}; use x1,y1,x2,y2 with x1 < x2 and y1 < y2"
        )
    return VisualPrompt(kind="box", xyxy=(x1 / size[0], y1 / size[1], x2 / size[0], y2 / size[1]))


def point_prompt(xy: Sequence[float], size: Size, *, excludes: bool = False) -> VisualPrompt:
    """A point in pixels of an image of ``size`` (W, H); :class:`GeneralistError` when it is not inside.

    ``excludes``: it lies on what is not meant.
    """
    if len(xy) != 2:
        raise GeneralistError(f"point {_shown(xy)} has {len(xy)} numbers; use x,y in pixels")
    _check_inside("point", xy, size)
    return VisualPrompt(kind="point", xy=(xy[0] / size[0], xy[1] / size[1]), excludes=excludes)


def bitmap_prompt(kind: Literal["mask", "scribble"], source: ImageSource, size: Size) -> VisualPrompt:
    """A painted picture of the image's own ``size`` (W, H); see :func:`~generalist.images.load_bitmap`."""
    bitmap = load_bitmap(source)
    if bitmap.shape[::-1] != size:
        name = f" {source}" if isinstance(source, str) else ""
        raise GeneralistError(f"the {kind}{name} is {_by(bitmap.shape[::-1])} and the image {_by(size)}; use one size")
    return VisualPrompt(kind=kind, bitmap=bitmap)


def _check_inside(kind: str, values: Sequence[float], size: Size) -> None:
    if not all(math.isfinite(v) and 0 <= v <= size[axis % 2] for axis, v in enumerate(values)):
        raise GeneralistError(
            f"{kind} {_shown(values)} is outside the image of {_by(size)}; use pixels with 0 <= x <= {size[0]} "
            f"and 0 <= y <= {size[1]}"
        )


# --- entries ------------------------------------------------------------------------------------------


def _entry(index: int, item: Grounded, sizes: Sequence[Size]) -> dict[str, Any]:
    output = item.output
    score = None if output.score is None or not math.isfinite(output.score) else round(output.score, 4)
    image = item.image if item.image < len(sizes) else None
    common = {"image": image, "label": item.label, "span": list(item.span)}
    if isinstance(output, DocHit):
        own: dict[str, Any] = {"document_id": output.doc_id, "title": output.title, "text": output.text}
        return {"index": index, "type": "document", **common, **own, "evidence": _evidence(output), "score": score}
    if isinstance(output, DepthMap):
        return {"index": index, "type": "depth", **common, **_depth_fields(output), "score": score}
    size = sizes[item.image]
    if isinstance(output, Box):
        return {"index": index, "type": "box", **common, "box": box_pixels(output.xyxy, size), "score": score}
    if isinstance(output, Point):
        return {"index": index, "type": "point", **common, "point": box_pixels(output.xy, size), "score": score}
    rle = {"size": list(output.size), "counts": output.counts}
    own = {"box": box_pixels(output.xyxy, size), "rle": rle, "area": mask_area(output)}
    return {"index": index, "type": "mask", **common, **own, "score": score}


def _evidence(found: DocHit) -> list[Evidence]:
    if found.evidence is None:
        return [Evidence(text=found.title, span=None)] if found.title else []
    start, stop = found.evidence
    return [Evidence(text=found.text[start:stop], span=[start, stop])]


def mask_area(mask: Mask) -> int:
    """Pixels of a mask."""
    from pycocotools import mask as coco

    return int(coco.area({"size": list(mask.size), "counts": mask.counts.encode()}))


def mask_bitmap(mask: Mask) -> np.ndarray:
    """bool [H, W] of a mask."""
    from pycocotools import mask as coco

    return np.asarray(coco.decode({"size": list(mask.size), "counts": mask.counts.encode()}), np.bool_)


def _depth_fields(depth: DepthMap) -> dict[str, Any]:
    png, scale = encode_png16(depth)
    known = depth.values[np.isfinite(depth.values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    text = base64.b64encode(png).decode("ascii")
    return {"unit": depth.unit, "png16": text, "scale": scale, "min": round(low, 4), "max": round(high, 4)}


def _output(entry: Mapping[str, Any], image: int, sizes: Sequence[Size]) -> Output:
    score = None if entry["score"] is None else float(entry["score"])
    if entry["type"] == "document":
        doc_id, title, text = (str(entry[name]) for name in ("document_id", "title", "text"))
        spans = [one["span"] for one in entry.get("evidence", ()) if one["span"] is not None]
        named = (int(spans[0][0]), int(spans[0][1])) if spans else None
        return DocHit(doc_id=doc_id, title=title, text=text, score=score, evidence=named)
    if entry["type"] == "depth":
        values = decode_png16(base64.b64decode(entry["png16"], validate=True), float(entry["scale"]))
        if entry["unit"] not in ("metre", "relative"):
            raise ValueError(f"unit is {entry['unit']!r}")
        return DepthMap(values=values, unit=entry["unit"], score=score)
    size = sizes[image]
    if entry["type"] == "box":
        return Box(xyxy=_relative_box(entry["box"], size), score=score)
    if entry["type"] == "point":
        x, y = entry["point"]
        return Point(xy=(x / size[0], y / size[1]), score=score)
    if entry["type"] == "mask":
        height, width = entry["rle"]["size"]
        counts = str(entry["rle"]["counts"])
        return Mask(size=(height, width), counts=counts, xyxy=_relative_box(entry["box"], size), score=score)
    raise ValueError(f"type is {entry['type']!r}")


def _relative_box(box: Sequence[float], size: Size) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    return (x1 / size[0], y1 / size[1], x2 / size[0], y2 / size[1])


def _shown(values: Sequence[float]) -> str:
    return ",".join(f"{v:g}" for v in values)


def _by(size: Sequence[int]) -> str:
    return f"{size[0]}x{size[1]}"
