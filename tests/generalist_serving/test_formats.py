"""The formats of ``visual_format``, read by the programs they are for."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import warnings
from typing import Any, cast

import numpy as np
import pytest
import resvg_py
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from generalist.types import Box, DepthMap, DocHit, GeneralistError, Grounded, Mask, Output, Point
from generalist.visual import image_infos, to_visual
from generalist_serving.formats import FORMATS, to_format

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import supervision as sv

SIZE = (200, 100)  # W, H
LISTS = ("native", "gemini", "qwen")
BOX = Box(xyxy=(0.1, 0.2, 0.6, 0.95), score=0.9)


def visual(*outputs: Output, size: tuple[int, int] = SIZE, label: str = "dog") -> list[dict[str, Any]]:
    grounded = [Grounded(label=label, span=(4, 7), image=0, ref=i, output=o) for i, o in enumerate(outputs)]
    return to_visual(grounded, [size])


def convert(name: str, *outputs: Output, size: tuple[int, int] = SIZE) -> Any:
    return to_format(name, visual(*outputs, size=size), image_infos([size]))


def as_mask(bitmap: np.ndarray, xyxy: tuple[float, float, float, float] | None = None) -> Mask:
    """With the tight box of the set pixels, unless another is given."""
    height, width = bitmap.shape
    counts = coco_mask.encode(np.asfortranarray(bitmap, np.uint8))["counts"].decode()
    if xyxy is None:
        y, x = np.nonzero(bitmap)
        xyxy = (x.min() / width, y.min() / height, (x.max() + 1) / width, (y.max() + 1) / height)
    return Mask(size=(height, width), counts=counts, xyxy=xyxy, score=0.8)


def ellipse(width: int, height: int) -> np.ndarray:
    """With a hole, and touching no border."""
    y, x = np.mgrid[:height, :width]
    far = ((x - width * 0.6) / (width * 0.3)) ** 2 + ((y - height * 0.45) / (height * 0.35)) ** 2
    return (far < 1) & (far > 0.1)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """1 for two empty masks."""
    return float((one & other).sum() / (one | other).sum()) if (one | other).any() else 1.0


def seen_by_supervision(bitmap: np.ndarray) -> tuple[slice, slice]:
    """All of bool[H, W] but the last row or column, where 1000 / 1000 of a Gemini box is rounded to before it."""
    height, width = (int(1000 * (side / 1000)) for side in bitmap.shape)
    return slice(height), slice(width)


def read_gemini(items: list[dict[str, Any]], size: tuple[int, int]) -> sv.Detections:
    return sv.Detections.from_vlm(sv.VLM.GOOGLE_GEMINI_2_5, json.dumps(items), resolution_wh=size)


def render(segment: dict[str, Any], size: tuple[int, int], rule: str = "nonzero") -> np.ndarray:
    """bool[H, W] of Moondream's path and box, drawn by a program for SVG."""
    box = segment["bbox"]
    scale = f"scale({box['x_max'] - box['x_min']}, {box['y_max'] - box['y_min']})"
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1" preserveAspectRatio="none" '
        f'width="{size[0]}" height="{size[1]}"><rect width="1" height="1"/><path fill="white" fill-rule="{rule}" '
        f'transform="translate({box["x_min"]}, {box["y_min"]}) {scale}" d="{segment["path"]}"/></svg>'
    )
    with Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))) as picture:
        return np.asarray(picture.convert("L")) > 127


@st.composite
def bitmaps(draw: st.DrawFn) -> np.ndarray:
    """Pictures of 1 to 2400 pixels a side with a few rectangles set and a few cleared; not empty."""
    height, width = draw(st.integers(1, 40)), draw(st.one_of(st.integers(1, 60), st.integers(900, 2400)))
    if draw(st.booleans()):
        height, width = width, height
    bitmap = np.zeros((height, width), np.bool_)
    for is_set in [*draw(st.lists(st.booleans(), max_size=5)), True]:
        x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        bitmap[y : y + draw(st.integers(1, height)), x : x + draw(st.integers(1, width))] = is_set
    return bitmap


# --- all formats ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_drawn_is_a_valid_answer(name: str) -> None:
    converted = to_format(name, [], [])
    assert (converted == []) == (name in LISTS)
    json.dumps(converted)


@pytest.mark.parametrize("name", FORMATS)
def test_every_kind_can_be_sent_as_json(name: str) -> None:
    outputs = (BOX, Point(xy=(0.5, 0.5)), as_mask(ellipse(*SIZE)), DepthMap(values=np.ones((100, 200), np.float32)))
    converted = convert(name, *outputs, DocHit(doc_id="d7", title="T", text="words"))
    assert json.loads(json.dumps(converted)) == converted


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(GeneralistError, match=r"'yolo'; use one of native, coco, roboflow, gemini, qwen, moondream"):
        to_format("yolo", [], [])


def test_native_is_the_list_itself() -> None:
    entries = visual(BOX, DocHit(doc_id="d7"))
    assert to_format("native", entries, image_infos([SIZE])) == entries


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "native"])
def test_a_document_has_no_place_elsewhere(name: str) -> None:
    assert "d7" not in json.dumps(convert(name, BOX, DocHit(doc_id="d7")))


@given(bitmap=bitmaps(), box=st.tuples(*[st.floats(0, 1)] * 4))
@settings(max_examples=30, deadline=None)
def test_boxes_come_back_within_a_pixel(bitmap: np.ndarray, box: tuple[float, float, float, float]) -> None:
    height, width = bitmap.shape
    xs, ys = sorted(box[::2]), sorted(box[1::2])
    given_box = Box(xyxy=(xs[0], ys[0], xs[1], ys[1]), score=0.5)
    expected = np.array([visual(given_box, size=(width, height))[0]["box"]])
    size = (width, height)
    roboflow = sv.Detections.from_inference(convert("roboflow", given_box, size=size))
    gemini = read_gemini(convert("gemini", given_box, size=size), size)
    moondream = sv.Detections.from_vlm(sv.VLM.MOONDREAM, convert("moondream", given_box, size=size), resolution_wh=size)
    qwen = json.dumps(convert("qwen", given_box, size=size))
    qwen_read = sv.Detections.from_vlm(sv.VLM.QWEN_2_5_VL, qwen, input_wh=size, resolution_wh=size)
    x, y, w, h = convert("coco", given_box, size=size)["annotations"][0]["bbox"]
    for read in (roboflow.xyxy, gemini.xyxy, moondream.xyxy, qwen_read.xyxy, np.array([[x, y, x + w, y + h]])):
        np.testing.assert_allclose(read, expected, atol=1)


@given(bitmap=bitmaps())
@settings(max_examples=30, deadline=None)
def test_masks_come_back_pixel_by_pixel(bitmap: np.ndarray) -> None:
    mask, size, seen = as_mask(bitmap), bitmap.shape[::-1], seen_by_supervision(bitmap)
    box = np.array(visual(mask, size=size)[0]["box"])
    roboflow = sv.Detections.from_inference(convert("roboflow", mask, size=size))
    gemini = read_gemini(convert("gemini", mask, size=size), size)
    for read in (roboflow, gemini):
        assert read.mask is not None and iou(cast(np.ndarray, read.mask[0])[seen], bitmap[seen]) == 1
        np.testing.assert_allclose(read.xyxy[0], box, atol=1)
    annotation = convert("coco", mask, size=size)["annotations"][0]
    assert iou(coco_mask.decode(annotation["segmentation"]).astype(bool), bitmap) == 1
    for rule in ("nonzero", "evenodd"):
        assert iou(render(convert("moondream", mask, size=size)["segments"][0], size, rule), bitmap) >= 0.98


@given(bitmap=bitmaps(), data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_mask_that_fills_its_rounded_box_keeps_every_pixel(bitmap: np.ndarray, data: st.DataObject) -> None:
    """As the decoder makes them: the box lies anywhere within half a pixel of the mask's bounds."""
    height, width = bitmap.shape
    tight = np.array(as_mask(bitmap).xyxy) * (width, height, width, height)
    moved = tight + data.draw(st.tuples(*[st.floats(-0.5, 0.5)] * 4))
    x1, y1, x2, y2 = np.clip(moved / (width, height, width, height), 0, 1).tolist()
    mask = as_mask(bitmap, (x1, y1, max(x1, x2), max(y1, y2)))
    read = read_gemini(convert("gemini", mask, size=(width, height)), (width, height))
    seen = seen_by_supervision(bitmap)
    assert read.mask is not None and iou(read.mask[0][seen], bitmap[seen]) == 1
    np.testing.assert_allclose(read.xyxy[0], visual(mask, size=(width, height))[0]["box"], atol=1)


# --- COCO -----------------------------------------------------------------------------------------------


def test_coco_is_read_by_pycocotools() -> None:
    size, bitmap = (640, 480), ellipse(640, 480)
    entries = visual(as_mask(bitmap), size=size, label="cat") + visual(BOX, size=size)
    data = to_format("coco", entries, image_infos([(32, 32), size]))
    dataset = COCO()
    dataset.dataset = data
    with contextlib.redirect_stdout(io.StringIO()):
        dataset.createIndex()
    cat, dog = dataset.loadAnns(dataset.getAnnIds(imgIds=[0]))
    assert iou(dataset.annToMask({**cat, "image_id": 1}).astype(bool), bitmap) == 1
    assert cat["area"] == bitmap.sum() and cat["score"] == 0.8
    assert dog["bbox"] == [64, 96, 320, 360] and dog["area"] == 320 * 360
    assert [c["name"] for c in dataset.loadCats(dataset.getCatIds())] == ["cat", "dog"]
    assert [(i["width"], i["height"]) for i in dataset.loadImgs([0, 1])] == [(32, 32), size]


def test_a_point_is_a_keypoint_in_coco() -> None:
    (point,) = convert("coco", Point(xy=(0.25, 0.5)))["annotations"]
    assert point["keypoints"] == [50, 50, 2] and point["num_keypoints"] == 1 and point["bbox"] == [50, 50, 0, 0]
    assert "score" not in point


# --- Roboflow -------------------------------------------------------------------------------------------


def test_roboflow_names_and_scores() -> None:
    entries = visual(as_mask(ellipse(*SIZE)), label="cat") + visual(BOX) + visual(Box(xyxy=(0, 0, 1, 1)), label="cat")
    read = sv.Detections.from_inference(to_format("roboflow", entries, image_infos([SIZE])))
    assert list(read.data["class_name"]) == ["cat", "dog", "cat"]
    assert read.class_id is not None and list(read.class_id) == [0, 1, 0]
    assert read.confidence is not None and list(read.confidence) == [0.8, 0.9, 1.0]


def test_points_are_read_as_key_points() -> None:
    result = convert("roboflow", Point(xy=(0.25, 0.5), score=0.75), Point(xy=(1, 0)))
    read = sv.KeyPoints.from_inference(result)
    np.testing.assert_allclose(read.xy[:, 0], [[50, 50], [200, 0]])


@pytest.mark.parametrize("unit", ["metre", "relative"])
def test_depth_is_read_with_the_nearest_as_one(unit: Any) -> None:
    values = np.linspace(1, 8, 200, dtype=np.float32).repeat(100).reshape(200, 100).T.copy()
    values[0, 0] = np.nan
    read = sv.DepthMap.from_inference(convert("roboflow", DepthMap(values=values, unit=unit)))
    near = 1 / values if unit == "metre" else -values
    expected = (near - np.nanmin(near)) / (np.nanmax(near) - np.nanmin(near))
    expected[0, 0] = 0  # unknown
    np.testing.assert_allclose(read.values, expected, atol=2e-3)


def test_depth_without_any_distance() -> None:
    flat = sv.DepthMap.from_inference(convert("roboflow", DepthMap(values=np.full((100, 200), 3, np.float32))))
    unknown = sv.DepthMap.from_inference(convert("roboflow", DepthMap(values=np.zeros((100, 200), np.float32))))
    assert (flat.values == 1).all() and (unknown.values == 0).all()


# --- Gemini, Qwen, Moondream ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(640, 480), (1000, 1000), (1920, 1080), (37, 4000)])
def test_gemini_masks_and_boxes(size: tuple[int, int]) -> None:
    bitmap = ellipse(*size)
    items = convert("gemini", as_mask(bitmap), size=size)
    read = read_gemini(items, size)
    assert read.mask is not None and iou(read.mask[0], bitmap) >= 0.98
    assert list(read.data["class_name"]) == ["dog"] and read.confidence is not None and read.confidence[0] == 0.8
    url = re.fullmatch(r"data:image/png;base64,(.+)", items[0]["mask"])
    assert url is not None
    with Image.open(io.BytesIO(base64.b64decode(url[1]))) as picture:
        assert picture.mode == "L" and set(np.unique(np.asarray(picture))) <= {0, 255}


def test_gemini_writes_whole_numbers_where_they_are_exact_enough() -> None:
    box = Box(xyxy=(0.12345, 0.2, 0.6, 0.98765))
    assert convert("gemini", box, size=(1000, 800)) == [{"box_2d": [200, 123, 988, 600], "label": "dog"}]
    (large,) = convert("gemini", box, size=(8000, 6000))
    assert large["box_2d"] == [200, 123.45, 987.65, 600]


def test_gemini_points_are_y_then_x() -> None:
    points = convert("gemini", Point(xy=(0.25, 0.5), score=0.5))
    assert points == [{"point": [500, 250], "label": "dog", "confidence": 0.5}]


def test_an_empty_mask_stays_empty() -> None:
    nothing = as_mask(np.zeros((100, 200), np.bool_), (0.5, 0.5, 0.5, 0.5))
    read = read_gemini(convert("gemini", nothing), SIZE)
    assert read.mask is not None and not read.mask.any()
    assert convert("moondream", nothing)["segments"] == [{"path": "", "bbox": None, "label": "dog"}]


def test_qwen_is_in_whole_pixels_of_the_submitted_image() -> None:
    converted = convert("qwen", BOX, Point(xy=(0.251, 0.5)), as_mask(ellipse(*SIZE), (0.3, 0.1, 0.9, 0.8)))
    assert converted == [
        {"bbox_2d": [20, 20, 120, 95], "label": "dog"},
        {"point_2d": [50, 50], "label": "dog"},
        {"bbox_2d": [60, 10, 180, 80], "label": "dog"},
    ]


def test_moondream_is_in_parts_of_the_image() -> None:
    bitmap = np.zeros((100, 200), np.bool_)
    bitmap[20:60, 50:150] = True
    converted = convert("moondream", BOX, Point(xy=(0.25, 0.5)), as_mask(bitmap))
    assert converted == {
        "objects": [{"x_min": 0.1, "y_min": 0.2, "x_max": 0.6, "y_max": 0.95, "label": "dog"}],
        "points": [{"x": 0.25, "y": 0.5, "label": "dog"}],
        "segments": [
            {
                "path": converted["segments"][0]["path"],
                "bbox": {"x_min": 0.25, "y_min": 0.2, "x_max": 0.75, "y_max": 0.6},
                "label": "dog",
            }
        ],
    }
    path = converted["segments"][0]["path"]
    assert re.fullmatch(r"M [01] [01]( L [01] [01]){3} Z", path), path
