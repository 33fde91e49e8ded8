"""The outward format: pixels, round trips, and what other people's readers make of it."""

from __future__ import annotations

import base64
import io
import json
import warnings

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from generalist.types import Box, DepthMap, DocHit, GeneralistError, Grounded, Mask, Output, Point
from generalist.visual import (
    bitmap_prompt,
    box_prompt,
    decode_png16,
    encode_png16,
    from_visual,
    image_infos,
    point_prompt,
    to_visual,
)

SIZE = (200, 100)  # W, H


def grounded(output: Output, label: str = "dog", ref: int = 0, image: int = 0) -> Grounded:
    return Grounded(label=label, span=(4, 7), image=image, ref=ref, output=output)


def ellipse() -> tuple[np.ndarray, Mask]:
    y, x = np.mgrid[:100, :200]
    bitmap = ((x - 120) / 40) ** 2 + ((y - 50) / 30) ** 2 < 1
    rle = coco.encode(np.asfortranarray(bitmap.astype(np.uint8)))
    xyxy = (80 / 200, 20 / 100, 160 / 200, 80 / 100)
    return bitmap, Mask(size=(100, 200), counts=rle["counts"].decode(), xyxy=xyxy, score=0.88123456)


def test_the_entries_are_as_documented() -> None:
    bitmap, mask = ellipse()
    outputs = [
        Box(xyxy=(0.1, 0.2, 0.333333, 1.0), score=0.931234),
        Point(xy=(0.5, 0.25)),
        mask,
        DocHit(doc_id="d7", title="T", text="words", score=0.71),
        DocHit(doc_id="d8", text="more words", evidence=(5, 10)),
    ]
    entries = to_visual([grounded(o) for o in outputs], [SIZE])
    common = {"image": 0, "label": "dog", "span": [4, 7]}
    assert entries == [
        {"index": 0, "type": "box", **common, "box": [20.0, 20.0, 66.67, 100.0], "score": 0.9312},
        {"index": 1, "type": "point", **common, "point": [100.0, 25.0], "score": None},
        {
            **{"index": 2, "type": "mask", **common, "box": [80.0, 20.0, 160.0, 80.0], "score": 0.8812},
            **{"rle": {"size": [100, 200], "counts": mask.counts}, "area": int(bitmap.sum())},
        },
        {
            **{"index": 3, "type": "document", **common, "document_id": "d7", "title": "T", "text": "words"},
            **{"evidence": [{"text": "T", "span": None}], "score": 0.71},
        },
        {
            **{"index": 4, "type": "document", **common, "document_id": "d8", "title": "", "text": "more words"},
            **{"evidence": [{"text": "words", "span": [5, 10]}], "score": None},
        },
    ]
    json.loads(json.dumps(entries, allow_nan=False))
    assert image_infos([SIZE]) == [{"index": 0, "width": 200, "height": 100}]


def test_boxes_are_clipped_into_the_image() -> None:
    (entry,) = to_visual([grounded(Box(xyxy=(-0.5, -0.1, 1.5, 1.01)))], [SIZE])
    assert entry["box"] == [0.0, 0.0, 200.0, 100.0]


def test_pixels_are_those_of_the_output_s_own_image() -> None:
    (entry,) = to_visual([grounded(Point(xy=(0.5, 0.5)), image=1)], [SIZE, (10, 20)])
    assert entry["image"] == 1 and entry["point"] == [5.0, 10.0]


def test_a_document_without_an_image_names_none() -> None:
    (entry,) = to_visual([grounded(DocHit(doc_id="d"))], [])
    assert entry["image"] is None
    assert from_visual([entry], [])[0].output == DocHit(doc_id="d")


@pytest.mark.parametrize("score", [float("nan"), float("inf"), None])
def test_a_score_that_is_no_number_is_null(score: float | None) -> None:
    assert to_visual([grounded(Box(xyxy=(0, 0, 1, 1), score=score))], [SIZE])[0]["score"] is None


def test_round_trip() -> None:
    _, mask = ellipse()
    values = np.linspace(0.5, 40, 200, dtype=np.float32).reshape(10, 20)
    items = [
        grounded(Box(xyxy=(0.1, 0.2, 0.3, 0.4), score=0.5)),
        grounded(Box(xyxy=(0.5, 0.2, 0.9, 0.4), score=0.25), ref=1),
        grounded(Point(xy=(0.25, 0.75)), label="nose"),
        grounded(mask),
        grounded(DepthMap(values=values, score=0.5)),
    ]
    entries = json.loads(json.dumps(to_visual(items, [SIZE])))
    back = from_visual(entries, [SIZE])
    assert [g.ref for g in back] == [0, 1, 0, 2, 3]
    assert [(g.label, g.span, g.image) for g in back] == [(g.label, g.span, g.image) for g in items]
    assert [back[i].output for i in (0, 1, 2)] == [items[i].output for i in (0, 1, 2)]
    depth = back[4].output
    assert isinstance(depth, DepthMap) and np.abs(depth.values - values).max() <= 0.5 / 1000 + 1e-5
    assert to_visual(back, [SIZE]) == entries


@pytest.mark.parametrize("change, says", [
    ({"type": "blob"}, "blob"),
    ({"box": [1, 2, 3]}, "unpack"),
    ({"box": None}, "None"),
    ({"span": 4}, "int"),
    ({"image": 9}, "index"),
    ({"score": "high"}, "float"),
])  # fmt: skip
def test_malformed_entries_are_named(change: dict[str, object], says: str) -> None:
    (entry,) = to_visual([grounded(Box(xyxy=(0, 0, 1, 1)))], [SIZE])
    with pytest.raises(GeneralistError, match=f"visual entry 0 .*{says}"):
        from_visual([{**entry, **change}], [SIZE])
    with pytest.raises(GeneralistError, match="lacks 'label'"):
        from_visual([{k: v for k, v in entry.items() if k != "label"}], [SIZE])


@pytest.mark.parametrize("top, unit, scale", [
    (8.4, "metre", 1000.0),
    (65.535, "metre", 1000.0),
    (100.0, "metre", 655.35),
    (1.0, "relative", 65535.0),
    (1e6, "relative", 0.065535),
])  # fmt: skip
def test_the_depth_scale_fits_16_bits(top: float, unit: str, scale: float) -> None:
    values = np.array([[top / 7, top]], np.float32)
    data, got = encode_png16(DepthMap(values=values, unit=unit))  # type: ignore[arg-type]
    assert got == pytest.approx(scale, rel=1e-6)
    assert np.asarray(Image.open(io.BytesIO(data))).dtype == np.uint16
    assert decode_png16(data, got) == pytest.approx(values, abs=0.51 / scale)


def test_unknown_depths_become_0_and_stay_out_of_the_range() -> None:
    values = np.array([[np.nan, np.inf, 2.0, 4.0]], np.float32)
    (entry,) = to_visual([grounded(DepthMap(values=values))], [SIZE])
    assert (entry["min"], entry["max"], entry["scale"], entry["unit"]) == (2.0, 4.0, 1000.0, "metre")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(entry["png16"]))))
    assert picture.tolist() == [[0, 0, 2000, 4000]]


def test_supervision_and_coco_read_our_masks() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import supervision as sv
    bitmap, mask = ellipse()
    (entry,) = to_visual([grounded(mask)], [SIZE])
    x1, y1, x2, y2 = entry["box"]
    place = {"x": (x1 + x2) / 2, "y": (y1 + y2) / 2, "width": x2 - x1, "height": y2 - y1}
    prediction = {**place, "confidence": entry["score"], "class": "dog", "class_id": 0, "rle": entry["rle"]}
    detections = sv.Detections.from_inference({"image": {"width": 200, "height": 100}, "predictions": [prediction]})
    assert np.array_equal(detections.mask[0], bitmap)
    assert detections.xyxy[0].tolist() == entry["box"]
    assert entry["area"] == int(coco.area({**entry["rle"], "counts": entry["rle"]["counts"].encode()}))


# --- what a user draws ---------------------------------------------------------------------------------


def test_pixels_become_relative() -> None:
    assert box_prompt((20, 10, 200, 100), SIZE).xyxy == (0.1, 0.1, 1.0, 1.0)
    assert point_prompt((100, 25), SIZE).xy == (0.5, 0.25)


@pytest.mark.parametrize("box, says", [
    ((-1, 0, 10, 10), "-1,0,10,10 is outside the image of 200x100"),
    ((0, 0, 201, 10), "outside"),
    ((0, 0, 10, 101), "outside"),
    ((300, 300, 400, 400), "outside"),
    ((50, 10, 40, 20), "50,10,40,20 is empty on an image of 200x100"),
    ((10, 20, 40, 20), "empty"),
    ((0, 0, float("nan"), 10), "outside"),
    ((0, 0, float("inf"), 10), "outside"),
    ((0, 0, 10), "3 numbers"),
])  # fmt: skip
def test_boxes_that_cannot_be_meant(box: tuple[float, ...], says: str) -> None:
    with pytest.raises(GeneralistError, match=says):
        box_prompt(box, SIZE)


@pytest.mark.parametrize("xy, says", [((201, 5), "201,5 is outside"), ((5, -1), "outside"), ((5,), "1 numbers")])
def test_points_that_cannot_be_meant(xy: tuple[float, ...], says: str) -> None:
    with pytest.raises(GeneralistError, match=says):
        point_prompt(xy, SIZE)


def test_bitmaps_must_have_the_image_s_size() -> None:
    bitmap = np.zeros((100, 200), bool)
    bitmap[3, 4] = True
    prompt = bitmap_prompt("mask", bitmap, SIZE)
    assert prompt.kind == "mask" and prompt.bitmap is not None and prompt.bitmap.sum() == 1
    with pytest.raises(GeneralistError, match="mask is 200x100 and the image 100x200"):
        bitmap_prompt("mask", bitmap, (100, 200))
    with pytest.raises(GeneralistError, match="nothing is drawn"):
        bitmap_prompt("scribble", ~bitmap & bitmap, SIZE)
