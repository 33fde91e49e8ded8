"""The ``visual`` list in the forms that other people's programs read: what ``visual_format`` chooses from.

Every converter takes a whole list (class and category numbers count its labels) and the ``image`` list beside
it. Geometry comes in pixels of the submitted, EXIF-corrected image, x right and y down; each converter says what
it becomes. What a form has no place for is left out of it: documents stand in a message's ``annotations`` in
every format, and depth maps are in ``native`` and, without their unit, in ``roboflow``.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
from PIL import Image

from generalist.types import DepthMap, GeneralistError
from generalist.visual import PNG16_MAX, ImageInfo, Size, decode_png16
from generalist_serving.outlines import mask_bounds, svg_path, trace_outlines

Entry: TypeAlias = Mapping[str, Any]
Converted: TypeAlias = list[dict[str, Any]] | dict[str, Any]

GEMINI_SIDE = 1000


def to_format(name: str, visual: Sequence[Entry], image_infos: Sequence[ImageInfo]) -> Converted:
    """``visual`` in the format called ``name``; :class:`GeneralistError` when there is none of that name."""
    if name not in FORMATS:
        raise GeneralistError(f"there is no visual_format {name[:40]!r}; use one of {', '.join(FORMATS)}")
    return FORMATS[name](visual, {info["index"]: (info["width"], info["height"]) for info in image_infos})


def to_native(visual: Sequence[Entry], sizes: Mapping[int, Size]) -> list[dict[str, Any]]:
    """The list as it is; see :mod:`generalist.visual`."""
    return [dict(entry) for entry in visual]


def to_coco(visual: Sequence[Entry], sizes: Mapping[int, Size]) -> dict[str, Any]:
    """A COCO data set: ``images``, ``annotations``, ``categories``; pixels, ``bbox`` = [x, y, width, height].

    Image ids are the numbers of the submitted images; annotation and category ids count from 1. A mask is a
    compressed RLE in ``segmentation``, with ``iscrowd`` 0; a point is an annotation without extent and with one
    visible keypoint. ``score`` as in COCO's results, where it is known. Without depth and documents.
    """
    names = _labels(visual)
    drawn = [entry for entry in visual if entry["type"] in ("box", "point", "mask")]
    annotations = []
    for number, entry in enumerate(drawn, 1):
        x1, y1, x2, y2 = entry["point"] * 2 if entry["type"] == "point" else entry["box"]
        width, height = round(x2 - x1, 2), round(y2 - y1, 2)
        annotation = {
            "id": number,
            "image_id": entry["image"],
            "category_id": names.index(entry["label"]) + 1,
            "bbox": [x1, y1, width, height],
            "area": entry.get("area", round(width * height, 2)),
            "iscrowd": 0,
            "segmentation": dict(entry["rle"]) if entry["type"] == "mask" else [],
        }
        if entry["type"] == "point":
            annotation |= {"keypoints": [x1, y1, 2], "num_keypoints": 1}
        annotations.append(annotation | _if_known("score", entry))
    images = [{"id": i, "width": w, "height": h, "file_name": f"image_{i}"} for i, (w, h) in sizes.items()]
    categories = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(names, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def to_roboflow(visual: Sequence[Entry], sizes: Mapping[int, Size]) -> dict[str, Any]:
    """A response of Roboflow's Inference, of the image that is drawn on (the last one); pixels, x and y centres.

    ``confidence`` is 1 where no score is known, as the form demands a number. A mask is ``rle``; a point is a
    prediction without extent and with one keypoint. A depth map is ``normalized_depth``: base64 of a 16-bit
    PNG with 1 for the nearest and 0 for the farthest and the unknown, linear in 1 / distance; metres are lost.
    Without documents. supervision reads all masks of a response or none: ask for masks alone.
    """
    names = _labels(visual)
    predictions = []
    for entry in visual:
        if entry["type"] not in ("box", "point", "mask"):
            continue
        x1, y1, x2, y2 = entry["point"] * 2 if entry["type"] == "point" else entry["box"]
        same = {
            "confidence": 1.0 if entry["score"] is None else entry["score"],
            "class": entry["label"],
            "class_id": names.index(entry["label"]),
        }
        place = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "width": x2 - x1, "height": y2 - y1}
        prediction: dict[str, Any] = {**place, **same, "detection_id": str(entry["index"])}
        if entry["type"] == "mask":
            prediction["rle"] = dict(entry["rle"])
        if entry["type"] == "point":
            prediction["keypoints"] = [{"x": x1, "y": y1, **same, "class_id": 0}]
        predictions.append(prediction)
    width, height = sizes[max(sizes)] if sizes else (0, 0)
    result: dict[str, Any] = {"image": {"width": width, "height": height}, "predictions": predictions}
    depth = next((entry for entry in visual if entry["type"] == "depth"), None)
    return result if depth is None else {**result, "normalized_depth": _normalized_depth(depth)}


def to_gemini(visual: Sequence[Entry], sizes: Mapping[int, Size]) -> list[dict[str, Any]]:
    """Gemini's list: ``box_2d`` = [y0, x0, y1, x1] and ``point`` = [y, x], in 0-1000 of the image.

    Whole numbers as Gemini writes them; with two decimals where a whole one would be more than a pixel off. A
    mask is a PNG of 0 and 255 as a data URL, of the pixels that readers cut out for ``box_2d`` (rounded down), so
    that it fits them without resizing; the box is grown where the mask leaves it. ``confidence`` where a score is
    known. Without depth and documents.
    """
    converted = []
    for entry in visual:
        known = _if_known("confidence", entry)
        if entry["type"] == "point":
            (x, y), (width, height) = entry["point"], sizes[entry["image"]]
            point = [_thousandths(y, height), _thousandths(x, width)]
            converted.append({"point": point, "label": entry["label"], **known})
        elif entry["type"] in ("box", "mask"):
            converted.append({**_gemini_box(entry, sizes[entry["image"]]), "label": entry["label"], **known})
    return converted


def to_qwen(visual: Sequence[Entry], sizes: Mapping[int, Size]) -> list[dict[str, Any]]:
    """Qwen2.5-VL's list: ``bbox_2d`` = [x0, y0, x1, y1], ``point_2d`` = [x, y], whole pixels of the submitted image.

    Not Qwen3-VL's 0-1000, and not pixels of a resized image: read it with the submitted image's size as the input
    size (supervision's ``input_wh``). A mask becomes its box. Without scores, depth and documents.
    """
    converted = []
    for entry in visual:
        if entry["type"] == "point":
            converted.append({"point_2d": [round(v) for v in entry["point"]], "label": entry["label"]})
        elif entry["type"] in ("box", "mask"):
            converted.append({"bbox_2d": [round(v) for v in entry["box"]], "label": entry["label"]})
    return converted


def to_moondream(visual: Sequence[Entry], sizes: Mapping[int, Size]) -> dict[str, Any]:
    """The answers of Moondream's ``/detect``, ``/point`` and ``/segment`` in one: 0-1 of the image.

    ``objects`` = boxes, ``points``, ``segments`` = masks as :func:`moondream_segment` writes them; each with its
    ``label``, which Moondream leaves to the one who asked. Without scores, depth and documents.
    """
    result: dict[str, Any] = {"objects": [], "points": [], "segments": []}
    for entry in visual:
        label = {"label": entry["label"]}
        if entry["type"] == "box":
            result["objects"].append(moondream_region(entry["box"], sizes[entry["image"]]) | label)
        elif entry["type"] == "point":
            result["points"].append(moondream_point(entry["point"], sizes[entry["image"]]) | label)
        elif entry["type"] == "mask":
            result["segments"].append(moondream_segment([entry]) | label)
    return result


FORMATS: dict[str, Callable[[Sequence[Entry], Mapping[int, Size]], Converted]] = {
    "native": to_native,
    "coco": to_coco,
    "roboflow": to_roboflow,
    "gemini": to_gemini,
    "qwen": to_qwen,
    "moondream": to_moondream,
}


# --- Moondream's shapes ---------------------------------------------------------------------------------


def moondream_region(box: Sequence[float], size: Size) -> dict[str, float]:
    """``x_min``, ``y_min``, ``x_max``, ``y_max`` in 0-1 of a box in pixels."""
    names = ("x_min", "y_min", "x_max", "y_max")
    return {name: round(v / size[axis % 2], 6) for axis, (name, v) in enumerate(zip(names, box, strict=True))}


def moondream_point(point: Sequence[float], size: Size) -> dict[str, float]:
    """``x``, ``y`` in 0-1 of a point in pixels."""
    return {"x": round(point[0] / size[0], 6), "y": round(point[1] / size[1], 6)}


def moondream_segment(masks: Sequence[Entry]) -> dict[str, Any]:
    """``path`` and ``bbox`` of all pixels of masks of one image; "" and None when no pixel is set.

    ``bbox`` is the tight box in 0-1 of the image, and ``path`` an SVG path in 0-1 of ``bbox`` along the pixels'
    edges: Moondream's renderers draw it with ``translate(x_min, y_min) scale(width, height)`` of the box.
    """
    bitmap = np.zeros((1, 1), np.bool_)
    for mask in masks:  # one at a time: all masks of a large picture at once would take gigabytes
        bitmap = bitmap | _bitmap(mask)
    bounds = mask_bounds(bitmap)
    if bounds is None:
        return {"path": "", "bbox": None}
    height, width = bitmap.shape
    x1, y1, x2, y2 = bounds
    path = svg_path(trace_outlines(bitmap[y1:y2, x1:x2]), (0, 0, x2 - x1, y2 - y1))
    return {"path": path, "bbox": moondream_region(bounds, (width, height))}


# --- pieces ---------------------------------------------------------------------------------------------


def _labels(visual: Sequence[Entry]) -> list[str]:
    """The names of what is drawn as a shape, in the order of their first."""
    return list(dict.fromkeys(entry["label"] for entry in visual if entry["type"] in ("box", "point", "mask")))


def _if_known(name: str, entry: Entry) -> dict[str, float]:
    return {} if entry["score"] is None else {name: entry["score"]}


def _bitmap(entry: Entry) -> np.ndarray:
    """bool[H, W] of a mask entry."""
    from pycocotools import mask as coco

    rle = entry["rle"]
    return cast(np.ndarray, coco.decode({"size": rle["size"], "counts": rle["counts"].encode("ascii")})).astype(bool)


def _gemini_box(entry: Entry, size: Size) -> dict[str, Any]:
    width, height = size
    bitmap = _bitmap(entry) if entry["type"] == "mask" else None
    bounds = None if bitmap is None else mask_bounds(bitmap)
    left, top, right, bottom = bounds or (None,) * 4
    x1, y1, x2, y2 = entry["box"]
    x0, x1 = _thousandths(x1, width, not_after=left), _thousandths(x2, width, not_before=right)
    y0, y1 = _thousandths(y1, height, not_after=top), _thousandths(y2, height, not_before=bottom)
    box = {"box_2d": [y0, x0, y1, x1]}
    if bitmap is None:
        return box
    cut = bitmap[_pixel(y0, height) : _pixel(y1, height), _pixel(x0, width) : _pixel(x1, width)]
    picture = Image.fromarray((cut if cut.size else np.zeros((1, 1), np.bool_)).astype(np.uint8) * 255)
    return {**box, "mask": f"data:image/png;base64,{_png(picture)}"}


def _pixel(value: float, side: int) -> int:
    """Where readers of Gemini's boxes begin or end their cut."""
    return int(value * (side / GEMINI_SIDE))


def _thousandths(
    value: float, side: int, *, not_after: int | None = None, not_before: int | None = None
) -> int | float:
    """Pixels as 0-1000 of ``side``, read as a pixel that is not after or not before a given one."""
    whole = round(value * GEMINI_SIDE / side)
    while not_after is not None and whole > 0 and _pixel(whole, side) > not_after:
        whole -= 1
    while not_before is not None and whole < GEMINI_SIDE and _pixel(whole, side) < not_before:
        whole += 1
    if abs(whole * side / GEMINI_SIDE - value) <= 1:
        return whole
    edge = next((edge for edge in (not_after, not_before) if edge is not None), None)
    if edge is None:
        return round(value * GEMINI_SIDE / side, 2)
    return math.ceil(edge * 100 * GEMINI_SIDE / side) / 100  # up, so that readers who round down come to the edge


def _normalized_depth(entry: Entry) -> str:
    depth = DepthMap(values=decode_png16(base64.b64decode(entry["png16"]), entry["scale"]), unit=entry["unit"])
    known = depth.values > 0
    near = np.zeros(depth.values.shape, np.float64)
    # What is relative has no distance to take the inverse of.
    near[known] = 1 / depth.values[known] if depth.unit == "metre" else -depth.values[known].astype(np.float64)
    low, high = (near[known].min(), near[known].max()) if known.any() else (0.0, 0.0)
    share = (near - low) / (high - low) if high > low else 1.0
    levels = np.where(known, share, 0.0) * PNG16_MAX
    return _png(Image.fromarray(np.rint(levels).astype(np.uint16)))


def _png(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")
