"""Pictures of answers: right size, something visible in the right place, files whole or absent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from generalist.draw import COLOURS, draw_overlay, save_depth, save_image
from generalist.types import Box, DepthMap, DocHit, GeneralistError, Grounded, Mask, Output, Point

GREY = (128, 128, 128)


def grounded(output: Output, label: str = "dog") -> Grounded:
    return Grounded(label=label, span=(0, 3), image=0, ref=0, output=output)


def half_mask(width: int, height: int) -> Mask:
    """The left half."""
    bitmap = np.zeros((height, width), np.uint8, order="F")
    bitmap[:, : max(1, width // 2)] = 1
    return Mask(size=(height, width), counts=coco.encode(bitmap)["counts"].decode(), xyxy=(0, 0, 0.5, 1), score=0.5)


def everything(width: int, height: int) -> list[Grounded]:
    depth = np.linspace(1, 9, width * height, dtype=np.float32).reshape(height, width)
    return [
        grounded(Box(xyxy=(0.2, 0.2, 0.8, 0.8), score=0.9)),
        grounded(Point(xy=(1.0, 1.0)), "a very long label " * 20),
        grounded(half_mask(width, height), "日本語 [red]"),
        grounded(DepthMap(values=depth)),
        grounded(DocHit(doc_id="d")),
        grounded(Box(xyxy=(0.5, 0.5, 0.5, 0.5)), ""),
    ]


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (320, 240), (20_000, 40)])
def test_an_overlay_has_the_size_of_its_image(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, GREY)
    drawn = draw_overlay(image, everything(*size))
    assert drawn.size == size and drawn.mode == "RGB"
    assert image.getpixel((0, 0)) == GREY  # the image itself is untouched


def test_nothing_to_draw_gives_the_image() -> None:
    image = Image.new("RGB", (40, 30), GREY)
    assert np.array_equal(draw_overlay(image, []), image)


def changed(image: Image.Image, drawn: Image.Image) -> np.ndarray:
    return np.asarray(drawn).astype(int).__sub__(np.asarray(image).astype(int)).any(axis=2)


def test_a_box_is_drawn_along_its_edges() -> None:
    image = Image.new("RGB", (400, 300), GREY)
    where = changed(image, draw_overlay(image, [grounded(Box(xyxy=(0.25, 0.5, 0.75, 1.0)))]))
    assert where[150:300, 100].all() and where[150:299, 300].all() and where[299, 100:300].all()
    assert not where[180:290, 120:280].any() and not where[:, :90].any()


def test_a_mask_is_tinted_and_a_point_is_marked() -> None:
    image = Image.new("RGB", (400, 300), GREY)
    where = changed(image, draw_overlay(image, [grounded(half_mask(400, 300))]))
    assert where[100:, 5:195].all() and not where[:, 210:].any()
    where = changed(image, draw_overlay(image, [grounded(Point(xy=(0.5, 0.5)))]))
    assert where[150, 200] and where.sum() < 400 * 300 / 20


def test_documents_are_named_in_the_corner_and_nowhere_else() -> None:
    image = Image.new("RGB", (400, 300), GREY)
    where = changed(image, draw_overlay(image, [grounded(DocHit(doc_id="d", title="A card", score=0.5))]))
    assert where[280:, :40].any() and not where[:250].any() and not where[:, 300:].any()
    two = changed(image, draw_overlay(image, [grounded(DocHit(doc_id=name)) for name in ("first", "second")]))
    rows = np.flatnonzero(two[:, :20].any(axis=1))
    assert len(rows) >= 1.8 * len(np.flatnonzero(where[:, :20].any(axis=1)))  # one above the other


def test_labels_have_a_colour_each() -> None:
    image = Image.new("RGB", (200, 100), GREY)
    items = [grounded(Box(xyxy=(x, 0.4, x + 0.2, 0.9)), label) for x, label in ((0.0, "a"), (0.4, "b"), (0.75, "a"))]
    drawn = draw_overlay(image, items)
    first, second, third = (drawn.getpixel((x, 60)) for x in (0, 80, 150))
    assert first == third != second


def test_depth_covers_the_image_with_near_and_far_colours() -> None:
    image = Image.new("RGB", (40, 30), GREY)
    values = np.tile(np.linspace(1, 9, 40, dtype=np.float32), (30, 1))
    for unit in ("metre", "relative"):
        drawn = np.asarray(draw_overlay(image, [grounded(DepthMap(values=values, unit=unit))]))  # type: ignore[arg-type]
        assert drawn[0, 1, 0] > drawn[0, 38, 0], unit  # near is warm
    flat = DepthMap(values=np.full((30, 40), np.nan, np.float32))
    assert draw_overlay(image, [grounded(flat)]).size == (40, 30)


def test_numbers_choose_the_colours_whatever_the_labels() -> None:
    image = Image.new("RGB", (400, 300), GREY)
    boxes = [grounded(Box(xyxy=(x, 0.2, x + 0.3, 0.8))) for x in (0.1, 0.6)]
    by_label, by_number = (np.asarray(draw_overlay(image, boxes, numbers=numbers)) for numbers in (None, [1, 18]))

    def shows(drawn: np.ndarray, index: int) -> bool:
        return bool((drawn == list(bytes.fromhex(COLOURS[index][1:]))).all(axis=2).sum() > 100)

    assert [shows(by_label, index) for index in (0, 1)] == [True, False]
    assert [shows(by_number, index) for index in (0, 1)] == [True, True]  # the 18th has the second colour again


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".bmp", ".tiff"])
def test_saving_by_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    save_image(Image.new("RGB", (40, 30), GREY), path)
    with Image.open(path) as back:
        assert back.size == (40, 30)
    assert os.listdir(tmp_path) == [path.name]


def test_saved_depth_is_16_bit(tmp_path: Path) -> None:
    scale = save_depth(DepthMap(values=np.array([[1.5, 60.0]], np.float32)), tmp_path / "d.png")
    with Image.open(tmp_path / "d.png") as back:
        assert np.asarray(back).dtype == np.uint16
        assert (np.asarray(back) / scale).tolist() == [[1.5, 60.0]]


@pytest.mark.parametrize("name, says", [
    ("out.xyz", "'.xyz'"),
    ("out", "type ''"),
    ("folder.png", "folder"),
    ("missing/out.png", "does not exist"),
    ("x" * 300 + ".png", "cannot write"),
])  # fmt: skip
def test_places_that_cannot_be_written(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(GeneralistError, match=says) as caught:
        save_image(Image.new("RGB", (4, 4)), tmp_path / name)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["folder.png"]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "out.webp"
    save_image(Image.new("RGB", (4, 4), GREY), path)
    before = path.read_bytes()
    with pytest.raises(GeneralistError, match=r"out\.webp: cannot write"):
        save_image(Image.new("RGB", (20_000, 4)), path)  # wider than WebP can be
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["out.webp"]


def test_depth_is_saved_as_png_only(tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match=r"\.png"):
        save_depth(DepthMap(values=np.ones((2, 2), np.float32)), tmp_path / "d.jpg")
