"""LabelMe against supervision, and what is said of broken files."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from generalist.types import GeneralistError
from generalist_datasets.readers import labelme
from generalist_datasets.readers.base import Options
from generalist_datasets.records import Annotation, Keypoint, Problems, Record, Rle

W, H = 80, 40


def shape(kind: str, points: Any, label: Any = "cat", **more: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


RECTANGLE = shape("rectangle", [[10, 20], [30, 5]])
TRIANGLE = shape("polygon", [[1, 2], [20.5, 2], [10, 30]], "dog")


def document(shapes: Any, **more: Any) -> dict[str, Any]:
    size = {"imageHeight": H, "imageWidth": W}
    return {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": "a.png", "imageData": None, **size, **more}


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (W, H), (90, 120, 30)).save(path)
    return path


def read(path: Path, options: Options | None = None) -> tuple[list[Record], Problems]:
    problems = Problems(strict=False)
    return list(labelme.read(path, problems, options or Options())), problems


def one(tmp_path: Path, *shapes: Any, **more: Any) -> tuple[tuple[Annotation, ...], Problems]:
    picture(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(json.dumps(document(list(shapes), **more)))
    records, problems = read(tmp_path)
    assert [r.id for r in records] == ["a"]
    return records[0].annotations, problems


def png(mask: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_generated_data_is_what_supervision_reads(tmp_path: Path) -> None:
    import supervision as sv

    parts = [shape("polygon", [[x, 5], [x + 8, 5], [x, 15]], "dog", group_id=3) for x in (2, 40)]
    box_of_dog = shape("rectangle", [[60, 30], [70, 35]], "dog", group_id=3)
    annotations, problems = one(tmp_path, RECTANGLE, parts[0], TRIANGLE, parts[1], box_of_dog)
    theirs = sv.DetectionDataset.from_labelme(str(tmp_path), str(tmp_path))
    (expected,) = theirs.annotations.values()
    assert not problems.counts
    assert [a.label for a in annotations] == [theirs.classes[c] for c in expected.class_id] == ["cat", "dog", "dog"]
    np.testing.assert_allclose([a.xyxy for a in annotations], expected.xyxy, atol=0.5)
    box, group, triangle = annotations
    assert box.segment is None
    assert group.segment == ((2, 5, 10, 5, 2, 15), (40, 5, 48, 5, 40, 15), (60, 30, 70, 30, 70, 35, 60, 35))
    assert triangle.segment == ((1, 2, 20.5, 2, 10, 30),)
    assert [a.where.entry for a in annotations] == ["shapes[0]", "shapes[1]", "shapes[2]"]


def test_circle_is_a_polygon_around_its_centre(tmp_path: Path) -> None:
    ((annotation,), _) = one(tmp_path, shape("circle", [[40, 20], [43, 24]]))
    assert annotation.xyxy == pytest.approx((35, 15, 45, 25))
    (ring,) = annotation.segment or ()
    distances = np.linalg.norm(np.reshape(ring, (-1, 2)) - (40, 20), axis=1)
    np.testing.assert_allclose(distances, 5)


@pytest.mark.parametrize(("left", "top"), [(10, 20), (-2, 35)])  # the second one reaches over two edges
def test_mask_is_pasted_at_its_box(tmp_path: Path, left: int, top: int) -> None:
    mask = np.random.default_rng(0).random((8, 6)) < 0.5
    points = [[left, top], [left + 5, top + 7]]
    ((annotation,), problems) = one(tmp_path, shape("mask", points, mask=png(mask)))
    whole = np.zeros((H + 20, W + 20), bool)
    whole[top + 10 : top + 18, left + 10 : left + 16] = mask
    assert isinstance(annotation.segment, Rle)
    decoded = coco_mask.decode({"size": list(annotation.segment.size), "counts": annotation.segment.counts})
    np.testing.assert_array_equal(decoded, whole[10:-10, 10:-10])
    assert annotation.xyxy == (left, top, left + 6, top + 8)
    assert not problems.counts


def test_point_is_a_keypoint_and_a_line_is_no_area(tmp_path: Path) -> None:
    line = shape("line", [[1, 1], [5, 5]])
    annotations, problems = one(tmp_path, line, shape("point", [[7, 8]], "eye"), RECTANGLE)
    assert [a.label for a in annotations] == ["cat", "eye"]
    assert annotations[1].keypoints == (Keypoint(name="eye", xy=(7, 8)),)
    assert [(p.severity, p.kind, p.where.entry) for p in problems.kept] == [("warning", "not an area", "shapes[0]")]


def test_split_folders_and_pictures_elsewhere(tmp_path: Path) -> None:
    picture(tmp_path / "photos/deep.png")
    for split in ("train", "test"):
        (tmp_path / "set" / split).mkdir(parents=True)
        text = json.dumps(document([RECTANGLE], imagePath="..\\photos\\deep.png"))
        (tmp_path / "set" / split / "x.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert labelme.detect(tmp_path / "set")
    records, problems = read(tmp_path / "set", Options(images=tmp_path / "photos"))
    assert [(r.split, r.image.name, r.size) for r in records] == [
        ("test", "deep.png", (W, H)),
        ("train", "deep.png", (W, H)),
    ]
    assert not problems.counts


def test_embedded_picture_is_used_only_as_a_file(tmp_path: Path) -> None:
    data = base64.b64encode(picture(tmp_path / "gone.png").read_bytes()).decode()
    (tmp_path / "gone.png").unlink()
    (tmp_path / "a.json").write_text(json.dumps(document([RECTANGLE], imagePath="gone.png", imageData=data)))
    assert labelme.detect(tmp_path)
    records, problems = read(tmp_path)
    assert not records
    (problem,) = problems.kept
    assert (problem.severity, problem.kind) == ("error", "missing image")
    assert "only embedded" in problem.detail
    with pytest.raises(GeneralistError, match="missing image"):
        list(labelme.read(tmp_path, Problems(), Options()))


def test_other_json_is_not_labelme(tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert not labelme.detect(tmp_path)
    assert not labelme.detect(tmp_path / "coco.json")
    assert dict(read(tmp_path)[1].counts) == {("warning", "not a label file"): 1}


POINTS = [[1, 1], [5, 5]]
MALFORMED_SHAPES: list[tuple[Any, str]] = [
    (None, "wrong type"),
    ([], "wrong type"),
    ({}, "missing field"),
    (shape("rectangle", POINTS, None), "missing field"),
    (shape("rectangle", POINTS, " \n"), "missing field"),
    (shape("rectangle", POINTS, 7), "wrong type"),
    (shape("rectangle", None), "missing field"),
    (shape("rectangle", "1 2 3 4"), "wrong type"),
    (shape("rectangle", [[1, 1]]), "missing field"),
    (shape("rectangle", [1, 1, 5, 5]), "wrong type"),
    (shape("rectangle", [[1, 1, 0], [5, 5, 0]]), "wrong type"),
    (shape("rectangle", [[1, "1"], [5, 5]]), "not a number"),
    (shape("rectangle", [[1, True], [5, 5]]), "not a number"),
    (shape("rectangle", [[1, float("nan")], [5, 5]]), "not a number"),
    (shape("rectangle", [[1, float("inf")], [5, 5]]), "not a number"),
    (shape("rectangle", [[1, 10**300], [5, 5]]), "not a number"),
    (shape("polygon", POINTS), "polygon with fewer than 3 points"),
    (shape("point", []), "missing field"),
    (shape("circle", [[1, 1]]), "missing field"),
    (shape("ellipsoid", POINTS), "wrong type"),
    (shape({"a": 1}, POINTS), "wrong type"),
    (shape("mask", POINTS), "missing field"),
    (shape("mask", POINTS, mask=[1]), "wrong type"),
    (shape("mask", POINTS, mask="!!!"), "unreadable file"),
    (shape("mask", POINTS, mask=png(np.ones((9, 9), bool))), "wrong picture size"),
    (shape("mask", POINTS, mask=png(np.zeros((5, 5), bool))), "empty box"),
    (shape("mask", [[500, 1], [504, 5]], mask=png(np.ones((5, 5), bool))), "box outside the image"),
]


@pytest.mark.parametrize(("written", "kind"), MALFORMED_SHAPES)
def test_malformed_shape(tmp_path: Path, written: Any, kind: str) -> None:
    annotations, problems = one(tmp_path, RECTANGLE, written, TRIANGLE)
    assert [a.where.entry for a in annotations] == ["shapes[0]", "shapes[2]"]
    (problem,) = problems.kept
    assert (problem.severity, problem.kind, problem.where.entry) == ("error", kind, "shapes[1]")
    assert "\n" not in str(problem)
    assert len(str(problem)) < 400


MALFORMED_FILES: list[tuple[bytes, str]] = [
    (b"", "not valid JSON"),
    (b"{", "not valid JSON"),
    (b'{"shapes": ' + b"[" * 100_000, "not valid JSON"),  # deeper than the stack
    (b'{"shapes": [' + b"9" * 5000 + b"]}", "not valid JSON"),  # more digits than Python reads
    (b"[]", "wrong type"),
    (b'{"imagePath": "a.png"}', "missing field"),
    (b'{"imagePath": "a.png", "shapes": {}}', "wrong type"),
    (b'{"shapes": [], "imagePath": "\\u0000"}', "missing image"),
    (b'{"shapes": [], "imagePath": ["a.png"]}', "missing image"),
    (b'{"shapes": [], "imagePath": "../../../../../../etc/hostname/x"}', "missing image"),
    (b"\xff\xfe\x00", "unreadable file"),
]


@pytest.mark.parametrize(("text", "kind"), MALFORMED_FILES)
def test_malformed_file(tmp_path: Path, text: bytes, kind: str) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(json.dumps(document([RECTANGLE])))
    (tmp_path / "broken.json").write_bytes(text)
    records, problems = read(tmp_path)
    assert [r.id for r in records] == ["a"]
    (problem,) = problems.kept
    assert (problem.severity, problem.kind, problem.where.file.name) == ("error", kind, "broken.json")
    assert "\n" not in str(problem)


@pytest.mark.parametrize(
    "size", [{"imageWidth": 0}, {"imageHeight": None}, {"imageWidth": "80"}, {"imageWidth": 10**9}]
)
def test_false_size(tmp_path: Path, size: dict[str, Any]) -> None:
    mask = shape("mask", POINTS, mask=png(np.ones((5, 5), bool)))
    annotations, problems = one(tmp_path, RECTANGLE, mask, **size)
    assert len(annotations) == 1  # a mask has no place without a size
    assert dict(problems.counts) == {("warning", "wrong picture size"): 1, ("error", "missing field"): 1}
