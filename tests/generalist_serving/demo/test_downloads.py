"""Files of an answer: right pixels, forms that other programs read, and names that no label can bend."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from generalist.types import Box, DepthMap, GeneralistError, Grounded, Mask, Point
from generalist.visual import decode_png16, to_visual
from generalist_serving.demo.downloads import Download, download_files, safe_name, zip_files
from generalist_serving.demo.stage import colour

W, H = 64, 48
HOSTILE = "../../etc/pass\u202ewd\x00 <b>.png"


def left_half() -> np.ndarray:
    bitmap = np.zeros((H, W), bool)
    bitmap[:, : W // 2] = True
    return bitmap


@pytest.fixture
def visual() -> list[dict]:
    counts = coco.encode(np.asfortranarray(left_half().astype(np.uint8)))["counts"].decode()
    depth = DepthMap(values=np.linspace(1, 9, W * H, dtype=np.float32).reshape(H, W))
    mask = Mask(size=(H, W), counts=counts, xyxy=(0, 0, 0.5, 1), score=0.8)
    outputs = [
        ("dog", 0, Box(xyxy=(0.5, 0.25, 0.75, 0.5), score=0.9)),
        (HOSTILE, 0, mask),
        ("far", 0, depth),
        ("tip", 0, Point(xy=(0.5, 0.5))),
        ("other", 1, Box(xyxy=(0, 0, 1, 1))),
    ]
    grounded = [Grounded(label=name, span=(0, 1), image=i, ref=0, output=output) for name, i, output in outputs]
    return to_visual(grounded, [(W, H), (200, 100)])


def files_of(visual: list[dict], name: str = "street.jpg", **options: int) -> dict[str, Download]:
    size = (200, 100) if options else (W, H)
    files = download_files(Image.new("RGB", size, "grey"), visual, name=name, **options)
    assert len({file.name for file in files}) == len(files)
    return {file.kind: file for file in files}


def test_a_mask_is_a_grey_png_of_the_pictures_size(visual: list[dict]) -> None:
    picture = Image.open(io.BytesIO(files_of(visual)["mask"].data))
    assert picture.mode == "L" and np.array_equal(np.asarray(picture), left_half() * 255)


def test_depth_is_the_png_that_was_sent_with_its_scale_in_the_name(visual: list[dict]) -> None:
    file = files_of(visual)["depth"]
    assert file.name == "street_depth_3_metre_x1000.png"
    assert decode_png16(file.data, 1000.0)[-1, -1] == pytest.approx(9)


def test_coco_holds_what_is_drawn_on_this_picture(visual: list[dict]) -> None:
    data = json.loads(files_of(visual)["coco"].data)
    assert data["images"] == [{"id": 0, "width": W, "height": H, "file_name": "street.jpg"}]
    assert [a["bbox"] for a in data["annotations"]] == [[32, 12, 16, 12], [0, 0, 32, 48], [32, 24, 0, 0]]
    assert coco.area(data["annotations"][1]["segmentation"]) == W * H / 2


def test_files_of_another_picture_hold_its_own_drawings_only(visual: list[dict]) -> None:
    files = files_of(visual, image_index=1)
    assert set(files) == {"overlay", "coco"}
    assert [a["bbox"] for a in json.loads(files["coco"].data)["annotations"]] == [[0, 0, 200, 100]]


def test_the_overlay_has_the_colour_of_the_unit_on_the_page(visual: list[dict]) -> None:
    second = [visual[0], {**visual[0], "index": 5, "box": [4, 20, 20, 40]}]
    pixels = np.asarray(Image.open(io.BytesIO(files_of(second)["overlay"].data)))
    for index in (0, 5):
        assert (pixels == list(bytes.fromhex(colour(index)[1:]))).all(axis=2).sum() > 20
    assert not (pixels == list(bytes.fromhex(colour(1)[1:]))).all(axis=2).any()


def test_nothing_drawn_is_the_picture_and_an_empty_data_set() -> None:
    files = files_of([])
    assert set(files) == {"overlay", "coco"} and json.loads(files["coco"].data)["annotations"] == []


def test_hostile_names_stay_in_the_folder(visual: list[dict]) -> None:
    files = download_files(Image.new("RGB", (W, H)), visual, name=HOSTILE)
    with zipfile.ZipFile(io.BytesIO(zip_files(files))) as archive:
        names = archive.namelist()
    assert names == [file.name for file in files]
    assert not any(set(name) & set("/\\\u202e\x00<> ") or name.startswith(".") for name in names)
    coco_file = next(file for file in files if file.kind == "coco")
    assert "/" not in json.loads(coco_file.data)["images"][0]["file_name"]


@pytest.mark.parametrize("name", ["..", ".", "a/..", "..\\..", ""])
def test_no_name_of_a_picture_is_a_folder(name: str, visual: list[dict]) -> None:
    assert json.loads(files_of(visual, name=name)["coco"].data)["images"][0]["file_name"] == "picture"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Red mug", "Red_mug"),
        ("собака", "собака"),
        ("...", "x"),
        ("", "x"),
        ("/etc/passwd", "etc_passwd"),
        ("a\nb\tc", "a_b_c"),
        ("\u202egpj.exe", "gpj.exe"),
        ("日" * 100, "日" * 20),
        ("\udcff lone", "lone"),
    ],
)
def test_safe_names(text: str, expected: str) -> None:
    assert safe_name(text, "x") == expected


def test_a_broken_entry_is_one_line(visual: list[dict]) -> None:
    with pytest.raises(GeneralistError, match="visual entry 0"):
        files_of([{**visual[0], "box": [1]}])
