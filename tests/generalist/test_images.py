"""Every kind of picture people have: the right pixels, or one line that says what is wrong."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from generalist.images import (
    MAX_PIXELS,
    list_images,
    load_bitmap,
    load_image,
    load_oriented,
    oriented_size,
    read_header,
)
from generalist.types import GeneralistError

from ..pictures import noise

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def two_colours(width: int = 8, height: int = 4) -> Image.Image:
    """Left half red, right half blue."""
    picture = Image.new("RGB", (width, height), RED)
    picture.paste(BLUE, (width // 2, 0, width, height))
    return picture


def close(picture: Image.Image, xy: tuple[int, int], colour: tuple[int, ...], by: int = 3) -> bool:
    return bool(np.abs(np.subtract(picture.getpixel(xy), colour)).max() <= by)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP", "PPM", "GIF"])
def test_formats_keep_the_pixels(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    picture = load_image(encoded(two_colours(), form, **options))
    assert picture.mode == "RGB" and picture.size == (8, 4)
    assert picture.getpixel((0, 0)) == RED and picture.getpixel((7, 3)) == BLUE


@pytest.mark.parametrize("orientation, size, first", [
    (1, (8, 4), RED), (2, (8, 4), BLUE), (3, (8, 4), BLUE), (4, (8, 4), RED),
    (5, (4, 8), RED), (6, (4, 8), RED), (7, (4, 8), BLUE), (8, (4, 8), BLUE),
])  # fmt: skip
def test_exif_orientation_is_applied(orientation: int, size: tuple[int, int], first: tuple[int, ...]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for form in ("PNG", "TIFF"):
        picture = load_image(encoded(two_colours(), form, exif=exif))
        assert picture.size == size
        assert picture.getpixel((0, 0)) == first
        assert np.array_equal(load_image(picture), picture), "loading again must not turn it again"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_header_tells_the_stored_size_and_the_orientation(tmp_path: Path, form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "a"
    file.write_bytes(encoded(two_colours(), form, exif=exif))
    header, (picture, applied) = read_header(file), load_oriented(file)
    assert header.size == (8, 4) and header.orientation == applied == orientation
    assert oriented_size(header.size, orientation) == picture.size
    assert oriented_size(picture.size, orientation) == header.size


def test_a_header_is_read_where_the_pixels_are_missing(tmp_path: Path) -> None:
    whole = encoded(noise(200, 100), "PNG")
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    assert read_header(tmp_path / "cut.png").size == (200, 100)
    with pytest.raises(GeneralistError, match="truncated"):
        load_image(tmp_path / "cut.png")


def test_what_has_no_header_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for name, said in (("text.png", "not a readable image"), ("none.png", "no such file"), (".", "a folder")):
        with pytest.raises(GeneralistError, match=said):
            read_header(tmp_path / name)


def test_damaged_exif_does_not_hide_sound_pixels() -> None:
    data = encoded(two_colours(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\0\0", quality=95)
    assert load_image(data).size == (8, 4)


def test_transparency_lies_on_white() -> None:
    picture = two_colours().convert("RGBA")
    picture.putpixel((0, 0), (0, 0, 0, 0))
    picture.putpixel((1, 0), (0, 0, 0, 128))
    loaded = load_image(picture)
    assert loaded.getpixel((0, 0)) == WHITE
    assert close(loaded, (1, 0), (127, 127, 127)) and loaded.getpixel((2, 0)) == RED


@pytest.mark.parametrize("mode", ["LA", "PA", "La", "RGBa"])
def test_other_alpha_modes(mode: str) -> None:
    picture = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    picture.putpixel((1, 0), (0, 0, 0, 255))
    converted = picture.convert("LA").convert(mode) if mode == "La" else picture.convert(mode)
    loaded = load_image(converted)
    assert loaded.getpixel((0, 0)) == WHITE and loaded.getpixel((1, 0)) == (0, 0, 0)


def test_palette_with_a_transparent_colour() -> None:
    picture = Image.new("P", (2, 1), 0)
    picture.putpalette([0, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    loaded = load_image(encoded(picture, "PNG", transparency=0))
    assert loaded.getpixel((0, 0)) == WHITE and loaded.getpixel((1, 0)) == BLUE


def test_cmyk_jpeg_keeps_its_colours() -> None:
    loaded = load_image(encoded(two_colours(32, 16).convert("CMYK"), "JPEG", quality=98))
    assert close(loaded, (4, 8), RED, 12) and close(loaded, (28, 8), BLUE, 12)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_not_clipped(form: str) -> None:
    ramp = np.array([[0, 257 * 100, 65535]], np.uint16)
    loaded = np.asarray(load_image(encoded(Image.fromarray(ramp), form)))
    assert loaded[0, :, 0].tolist() == [0, 100, 255]


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), c) for c in (RED, BLUE)]
    for form in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if form == "WEBP" else {}
        loaded = load_image(encoded(frames[0], form, save_all=True, append_images=frames[1:], **options))
        assert loaded.getpixel((0, 0)) == RED, form


@pytest.mark.parametrize("size", [(1, 1), (20_000, 3), (3, 20_000)])
def test_extreme_sizes(size: tuple[int, int]) -> None:
    assert load_image(encoded(Image.new("L", size, 7), "PNG")).size == size


@pytest.mark.parametrize("array, pixel", [
    (np.full((2, 3), True), (255, 255, 255)),
    (np.full((2, 3), 9, np.uint8), (9, 9, 9)),
    (np.full((2, 3, 1), 9, np.uint8), (9, 9, 9)),
    (np.full((2, 3, 3), 9, np.uint8), (9, 9, 9)),
    (np.zeros((2, 3, 4), np.uint8), WHITE),
    (np.full((2, 3), 65535, np.uint16), (255, 255, 255)),
    (np.full((2, 3, 3), 0.4, np.float32), (102, 102, 102)),
    (np.full((2, 3), np.nan), (0, 0, 0)),
])  # fmt: skip
def test_arrays(array: np.ndarray, pixel: tuple[int, ...]) -> None:
    picture = load_image(array)
    assert picture.size == (3, 2) and picture.getpixel((0, 0)) == pixel


def test_a_loaded_pil_image_is_a_copy() -> None:
    source = two_colours()
    load_image(source).putpixel((0, 0), WHITE)
    assert source.getpixel((0, 0)) == RED


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_truncated_file_is_an_error_even_when_a_library_allows_it(
    form: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(NOISE, form)
    with pytest.raises(GeneralistError) as caught:
        load_image(data[: int(len(data) * share)])
    assert "\n" not in str(caught.value)
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def bomb() -> bytes:
    """A small PNG that claims 60,000 x 60,000 pixels."""
    data = bytearray(encoded(Image.new("1", (1, 1)), "PNG"))
    data[16:24] = (60_000).to_bytes(4) * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4)
    return bytes(data)


@pytest.mark.parametrize("content, says", [
    (b"", "empty"),
    (b"hello, this is text", "not a readable image"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a readable image"),
    (b"\x89PNG\r\n\x1a\n", "not a readable image"),
    (bomb(), "megapixels"),
])  # fmt: skip
def test_bad_content(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(GeneralistError, match=says) as caught:
        load_image(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("source, says", [
    ("missing.png", "no such file"),
    (".", "folder"),
    ("x" * 5000 + ".png", "cannot read"),
    ("nul\0byte.png", "cannot read"),
    ("line\nbreak.png", "no such file"),
    (7, "int"),
    (np.zeros((0, 3)), "shape"),
    (np.zeros((2, 2, 5), np.uint8), "shape"),
    (np.zeros((2, 2), complex), "dtype"),
    (Image.new("RGB", (0, 4)), "0x4"),
])  # fmt: skip
def test_bad_sources(source: object, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GeneralistError, match=says) as caught:
        load_image(source)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_the_limit_holds_when_pillow_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(GeneralistError, match="megapixels"):
        load_image(bomb())
    assert MAX_PIXELS > 20_000 * 8_000


def test_list_images_is_sorted_and_skips_the_rest(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [p.name for p in list_images(tmp_path)] == ["a.jpg", "b.PNG"]


@pytest.mark.parametrize("name, says", [("empty", "no images"), ("missing", "cannot list")])
def test_folders_without_images(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(GeneralistError, match=says):
        list_images(tmp_path / name)


def drawn(mode: str, ink: object, paper: object) -> Image.Image:
    picture = Image.new(mode, (4, 2), paper)
    picture.putpixel((1, 0), ink)
    return picture


@pytest.mark.parametrize("picture", [
    drawn("L", 255, 0), drawn("L", 1, 0), drawn("1", 1, 0), drawn("RGB", (0, 255, 0), 0), drawn("I;16", 3, 0),
    drawn("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)), drawn("LA", (0, 255), (255, 0)),
    drawn("RGBA", (255, 255, 255, 255), (0, 0, 0, 255)),
])  # fmt: skip
def test_bitmaps_hold_what_was_drawn(picture: Image.Image) -> None:
    assert np.argwhere(load_bitmap(picture)).tolist() == [[0, 1]]


def test_an_empty_bitmap_is_an_error() -> None:
    with pytest.raises(GeneralistError, match="nothing is drawn"):
        load_bitmap(Image.new("L", (4, 4), 0))
